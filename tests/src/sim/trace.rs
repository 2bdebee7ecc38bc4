//! The log as people read it: one line an entry, names instead of types around numbers.

use std::fmt;

use ganger_common::TaskOptions;

use super::log::{At, Entry};

/// What stands before a number or an id in the plain rendering, what stands there in a trace, and how many
/// characters of what follows are kept: enough of an id to tell it from the others of a run.
const NAMES: &[(&str, &str, usize)] = &[
    ("TaskId(", "", 8),
    ("WorkerId(", "", 8),
    ("WorkerNo(", "w", 8),
    ("ClientNo(", "c", 8),
    ("ConnId(", "#", 20),
    ("Digest(", "~", 10),
    ("Attempt(", "", 10),
    ("Epoch(", "", 20),
    ("Revision(", "", 20),
    ("Life(", "", 10),
];

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:3}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, short(&format!("{:?}", self.event)))
    }
}

/// Leaves out what a reader knows.
fn short(plain: &str) -> String {
    let no_options = format!("{:?}", TaskOptions::default());
    let mut rest = plain.replace(&no_options, "default");
    let mut text = String::with_capacity(rest.len());
    while !rest.is_empty() {
        let found = NAMES.iter().find_map(|(before, name, kept)| {
            let inside = rest.strip_prefix(before)?;
            let end = inside.find(')')?;
            Some((*name, inside[..end.min(*kept)].to_owned(), before.len() + end + 1))
        });
        match found {
            Some((name, kept, length)) => {
                text.push_str(name);
                text.push_str(&kept);
                rest.drain(..length);
            }
            None => {
                let next = rest.find(|letter: char| letter.is_ascii_uppercase()).filter(|at| *at > 0);
                // Up to the next letter with which a name could begin.
                let length = next
                    .unwrap_or_else(|| rest[1..].find(char::is_uppercase).map_or(rest.len(), |at| at + 1));
                text.push_str(&rest[..length]);
                rest.drain(..length);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_cut_and_numbers_stand_alone() {
        let plain = "Cut { worker: WorkerNo(3), task: TaskId(0123456789-ab), at: Some(Revision(7)) }";
        assert_eq!(short(plain), "Cut { worker: w3, task: 01234567, at: Some(7) }");
        let none = format!("Submitted {{ options: {:?} }}", TaskOptions::default());
        assert_eq!(short(&none), "Submitted { options: default }");
        assert_eq!(short("Quiet"), "Quiet");
    }
}
