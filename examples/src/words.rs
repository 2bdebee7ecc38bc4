//! Counting words: what is cut, counted and merged, whoever does it.
//!
//! ```text
//! files ─cut─► pieces ─count (map)─► counts ─┐
//!              pieces ─count (map)─► counts ─┴─merge (reduce)─► counts
//! ```
//! A piece travels as plain text, counts travel as a MessagePack map from word to number. Pieces end
//! between words, so the counts do not depend on where the cuts fell.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// How often each word occurs, in the order of the words.
pub type Counts = BTreeMap<String, u64>;

/// Endings of the files that a folder is searched for.
const TEXT_ENDINGS: [&str; 3] = ["txt", "md", "rs"];

/// Counts the words of a text: runs of letters and digits, in lower case.
pub fn count(text: &str) -> Counts {
    let mut counts = Counts::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}

/// Adds the second counts to the first.
pub fn merge(into: &mut Counts, from: Counts) {
    for (word, number) in from {
        *into.entry(word).or_default() += number;
    }
}

/// Cuts a text between words into pieces of about `target_bytes`; together they are the text.
pub fn pieces(text: &str, target_bytes: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, later) = rest.split_at(piece_end(rest, target_bytes));
        rest = later;
        Some(piece)
    })
}

/// The first place at or after `target_bytes` that is not inside a word.
fn piece_end(text: &str, target_bytes: usize) -> usize {
    let from = text.char_indices().map(|(at, _)| at).find(|at| *at >= target_bytes.max(1));
    let Some(from) = from else { return text.len() };
    text[from..].find(|c: char| !c.is_alphanumeric()).map_or(text.len(), |found| from + found)
}

/// The text files that a list of files and folders names, sorted, each once. Hidden folders and `target`
/// are left out.
///
/// # Errors
/// When a path does not exist or a folder cannot be read.
pub fn text_files(paths: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !std::fs::metadata(path).map_err(|error| named(path, &error))?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let walk =
            WalkDir::new(path).into_iter().filter_entry(|entry| entry.depth() == 0 || !is_left_out(entry));
        for entry in walk {
            let entry = entry.map_err(io::Error::from)?;
            if entry.file_type().is_file() && has_text_ending(entry.path()) {
                files.push(entry.into_path());
            }
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// Reads a file as text; what is no UTF-8 becomes a replacement character.
///
/// # Errors
/// When it cannot be read; the error names it.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = std::fs::read(path).map_err(|error| named(path, &error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The words that occur most often, the most frequent first.
pub fn most_frequent(counts: &Counts, how_many: usize) -> Vec<(&str, u64)> {
    let mut words: Vec<(&str, u64)> = counts.iter().map(|(word, number)| (word.as_str(), *number)).collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    words.truncate(how_many);
    words
}

fn is_left_out(entry: &walkdir::DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    entry.file_type().is_dir() && (name.starts_with('.') || name == "target")
}

fn has_text_ending(path: &Path) -> bool {
    path.extension().is_some_and(|ending| TEXT_ENDINGS.iter().any(|known| ending == *known))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits_in_lower_case() {
        let counts = count("The quick fox, the QUICK fox — Öl öl 42!");
        let expected = [("42", 1), ("fox", 2), ("quick", 2), ("the", 2), ("öl", 2)];
        assert_eq!(counts, expected.map(|(word, number)| (word.to_owned(), number)).into());
    }

    #[test]
    fn counts_do_not_depend_on_the_cuts() {
        let text = "alpha beta gamma, αλφα βήτα alpha.".repeat(50);
        for target in [0, 1, 2, 3, 7, 64, 1_000, 1_000_000] {
            assert_eq!(pieces(&text, target).collect::<String>(), text);
            let mut merged = Counts::new();
            for piece in pieces(&text, target) {
                merge(&mut merged, count(piece));
            }
            assert_eq!(merged, count(&text), "pieces of {target} bytes");
        }
    }

    #[test]
    fn a_folder_gives_its_text_files_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.md", "a.txt", "picture.png", "sub/c.rs", ".git/hidden.txt", "target/built.txt"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "text").unwrap();
        }
        let asked = [folder.path().to_path_buf(), folder.path().join("a.txt")];
        let found = text_files(&asked).unwrap();
        let names: Vec<_> = found.iter().map(|path| path.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!(names, ["a.txt", "b.md", "sub/c.rs"].map(Path::new));
    }

    #[test]
    fn a_missing_path_is_named() {
        let error = text_files(&[PathBuf::from("no/such/place")]).unwrap_err().to_string();
        assert!(error.starts_with("no/such/place: "), "{error}");
    }
}
