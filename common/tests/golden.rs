//! Holds `docs/protocol.md` and the messages together.
//!
//! The page's worked examples stand in blocks marked `golden`: the example's name in the opening line, then
//! its readable form, then its bytes in lines that begin with `=`. After a change of the messages, rewrite
//! them in place with
//!
//! ```text
//! GANGER_GOLDEN=write cargo test -p ganger-common --test golden
//! ```
//!
//! and read the difference: within one major version nothing may change that was there.

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use ganger_common::ErrorCode;
use ganger_common::limits::*;
use ganger_common::message::{FromClient, FromWorker, ToClient, ToWorker};
use support::readable::{hex, keys, readable};
use support::{Example, examples};

const OPENING: &str = "```golden ";
const CLOSING: &str = "```";
const BYTES_A_LINE: usize = 40;

fn page_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md")
}

fn page() -> String {
    std::fs::read_to_string(page_path()).expect("docs/protocol.md can be read")
}

/// One worked example as the page has it.
struct Block {
    title: String,
    readable: String,
    bytes: Vec<u8>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(title) = line.strip_prefix(OPENING) else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != CLOSING).collect();
        let (bytes, text): (Vec<&str>, Vec<&str>) = body.into_iter().partition(|line| line.starts_with('='));
        let digits: String = bytes.concat().chars().filter(char::is_ascii_hexdigit).collect();
        blocks.push(Block { title: title.to_owned(), readable: text.join("\n"), bytes: unhex(&digits) });
    }
    blocks
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn render(example: &Example) -> String {
    let bytes = example.said.encode();
    let mut block = format!("{OPENING}{}\n{}\n", example.title, readable(&bytes));
    for line in bytes.chunks(BYTES_A_LINE) {
        writeln!(block, "= {}", hex(line)).unwrap();
    }
    block + CLOSING
}

/// The page with every block that names an example rewritten.
fn rewritten(page: &str) -> String {
    let examples = examples();
    let mut out = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let title = line.strip_prefix(OPENING);
        match title.and_then(|title| examples.iter().find(|example| example.title == title)) {
            Some(example) => {
                lines.by_ref().take_while(|line| *line != CLOSING).for_each(drop);
                out += &render(example);
            }
            None => out += line,
        }
        out.push('\n');
    }
    out
}

#[test]
fn every_worked_example_is_what_the_codec_makes_of_it() {
    if std::env::var_os("GANGER_GOLDEN").is_some_and(|how| how == "write") {
        std::fs::write(page_path(), rewritten(&page())).expect("docs/protocol.md can be written");
    }
    let page = page();
    let blocks = blocks(&page);
    let examples = examples();
    for block in &blocks {
        let known = examples.iter().any(|example| example.title == block.title);
        assert!(known, "the page has an example {:?} that this test does not know", block.title);
    }
    for Example { title, said } in &examples {
        let found: Vec<&Block> = blocks.iter().filter(|block| block.title == *title).collect();
        assert_eq!(found.len(), 1, "the page has {} examples {title:?}", found.len());
        let block = found[0];
        let rewrite = "see the head of this test for how to rewrite the page";
        assert_eq!(hex(&said.encode()), hex(&block.bytes), "{title}: encoding; {rewrite}");
        assert_eq!(said.is(&block.bytes), Ok(true), "{title}: decoding");
        assert_eq!(readable(&block.bytes), block.readable, "{title}: the readable form; {rewrite}");
    }
}

#[test]
fn every_message_type_has_a_worked_example() {
    let titles: Vec<String> = blocks(&page()).into_iter().map(|block| block.title).collect();
    let directions = [
        ("FromClient", FromClient::KINDS),
        ("ToClient", ToClient::KINDS),
        ("FromWorker", FromWorker::KINDS),
        ("ToWorker", ToWorker::KINDS),
    ];
    for (direction, kinds) in directions {
        for kind in kinds {
            let prefix = format!("{direction} {kind}");
            let is_it = |title: &String| *title == prefix || title.starts_with(&format!("{prefix} "));
            assert!(titles.iter().any(is_it), "no worked example of {prefix}");
        }
    }
}

/// Catches a field that was added to a message and to its example, but to no table.
#[test]
fn every_field_of_every_example_stands_in_a_table() {
    let page = page();
    let tables: String = page.lines().filter(|line| line.starts_with('|')).collect();
    // Keys that are chosen by somebody, not by the protocol.
    let free: BTreeSet<&str> = ["tasks_accepted", "tasks_succeeded"].into();
    for Example { title, said } in examples().iter().filter(|example| !example.title.starts_with("Pub")) {
        for key in keys(&said.encode()) {
            let stands = free.contains(key.as_str()) || tables.contains(&format!("`{key}`"));
            assert!(stands, "{title}: no table names the field `{key}`");
        }
    }
}

#[test]
fn every_error_code_stands_in_the_page_with_the_right_advice() {
    let page = page();
    for code in ErrorCode::ALL {
        let retry = if code.is_retryable() { "yes" } else { "no" };
        let row = format!("| `{code}` | {retry} |");
        assert!(page.contains(&row), "the page has no row that begins with {row:?}");
    }
}

/// A value as the page writes it.
trait Shown {
    fn shown(&self) -> String;
}

impl Shown for usize {
    fn shown(&self) -> String {
        let digits = self.to_string();
        let mut out = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        out
    }
}

impl Shown for u32 {
    fn shown(&self) -> String {
        (*self as usize).shown()
    }
}

impl Shown for Duration {
    fn shown(&self) -> String {
        format!("{} ms", (self.as_millis() as usize).shown())
    }
}

macro_rules! named {
    ($($name:ident)+) => { vec![$((stringify!($name), $name.shown())),+] };
}

#[test]
fn every_limit_stands_in_the_page_with_its_value() {
    let limits = named![
        PAYLOAD_BYTES_MAX PAYLOAD_BYTES_WARN STORED_BYTES_MIN MESSAGE_BYTES_MAX BATCH_BYTES_TARGET BATCH_ITEMS_MAX DEPTH_MAX
        ANY_TEXT_BYTES_MAX KIND_BYTES_MAX NAME_BYTES_MAX TEXT_BYTES_MAX TRACE_STATE_BYTES_MAX WORKER_KINDS_MAX PAUSED_KINDS_MAX HELD_LEASES_MAX
        WORKER_SLOTS_MAX TOPIC_BYTES_MAX KEY_BYTES_MAX KNOWLEDGE_BYTES_MAX KNOWLEDGE_ENTRY_BYTES
        PAGE_ROWS_MAX PUBLISH_INLINE_BYTES_MAX BROADCAST_BYTES_MAX HEARTBEAT LIVENESS PULSE_BEATS GRACE REATTACH_WINDOW RECONNECT_PAUSE_MAX ATTEMPTS_MAX
        CRASH_LIMIT BACKOFF_BASE BACKOFF_MAX DELAY_MAX
    ];
    let page = page();
    for (name, value) in &limits {
        let row = format!("| `{name}` | {value} |");
        assert!(page.contains(&row), "the page has no row that begins with {row:?}");
    }
    // The list above is complete: the source knows no other constant.
    let source = include_str!("../src/limits.rs");
    let declared = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    for name in declared {
        assert!(limits.iter().any(|(listed, _)| *listed == name), "{name} is not in this test's list");
    }
}
