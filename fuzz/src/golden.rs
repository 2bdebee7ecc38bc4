//! The worked examples of `docs/protocol.md`, as bytes.

use std::sync::LazyLock;

const PAGE: &str = include_str!("../../docs/protocol.md");

/// One example.
#[derive(Debug)]
pub struct Example {
    /// Its direction.
    pub direction: Direction,
    /// Its title in the page.
    pub title: &'static str,
    /// The message.
    pub bytes: Vec<u8>,
}

/// Who says it to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The names say it.
pub enum Direction {
    FromClient,
    ToClient,
    FromWorker,
    ToWorker,
    Publish,
}

/// Every example, in the order of the page.
pub static EXAMPLES: LazyLock<Vec<Example>> = LazyLock::new(|| {
    let mut lines = PAGE.lines();
    let mut examples = Vec::new();
    while let Some(line) = lines.next() {
        let Some(title) = line.strip_prefix("```golden ") else { continue };
        let block = lines.by_ref().take_while(|line| *line != "```");
        let digits: Vec<u8> = block
            .filter(|line| line.starts_with('='))
            .flat_map(str::bytes)
            .filter_map(|digit| char::from(digit).to_digit(16).map(|digit| digit as u8))
            .collect();
        let bytes = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        examples.push(Example { direction: direction(title), title, bytes });
    }
    examples
});

fn direction(title: &str) -> Direction {
    match title.split(' ').next() {
        Some("FromClient") => Direction::FromClient,
        Some("ToClient") => Direction::ToClient,
        Some("FromWorker") => Direction::FromWorker,
        Some("ToWorker") => Direction::ToWorker,
        _ => Direction::Publish,
    }
}

/// The examples of one direction.
pub fn of(direction: Direction) -> impl Iterator<Item = &'static [u8]> + Clone {
    EXAMPLES.iter().filter(move |example| example.direction == direction).map(|example| &*example.bytes)
}
