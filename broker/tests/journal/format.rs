//! Holds `docs/journal-format.md` and the encoding together.
//!
//! The page's worked examples stand in blocks marked `golden`, like those of the protocol. After a change of
//! the records, rewrite them in place with
//!
//! ```text
//! GANGER_GOLDEN=write cargo test -p ganger-broker --test journal golden
//! ```
//!
//! and read the difference: within one version of the format nothing may change that was there.

#[path = "../../../common/tests/support/readable.rs"]
#[allow(dead_code, unreachable_pub)] // Written for the tests of another crate.
mod readable;

use std::fmt::Write as _;
use std::path::PathBuf;

use ganger_broker::journal::format::{self, Decoder, FormatError};
use ganger_scheduler::Record;

use super::support::every_record;
use readable::{hex, readable};

const OPENING: &str = "```golden ";
const CLOSING: &str = "```";
const BYTES_A_LINE: usize = 40;

fn page_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/journal-format.md")
}

/// A record without the body around it.
fn encoded(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    format::encode(record, &mut bytes);
    bytes
}

fn render(title: &str, bytes: &[u8]) -> String {
    let mut block = format!("{OPENING}{title}\n{}\n", readable(bytes));
    for line in bytes.chunks(BYTES_A_LINE) {
        writeln!(block, "= {}", hex(line)).unwrap();
    }
    block + CLOSING
}

/// The page with every block that names an example rewritten, and the titles that it has.
fn rewritten(page: &str) -> (String, Vec<String>) {
    let examples = every_record();
    let (mut out, mut titles) = (String::new(), Vec::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        match line.strip_prefix(OPENING) {
            Some(title) => {
                let (_, record) = examples.iter().find(|(name, _)| *name == title).unwrap_or_else(|| {
                    panic!("the page has an example {title:?} that this test does not know")
                });
                lines.by_ref().take_while(|line| *line != CLOSING).for_each(drop);
                out += &render(title, &encoded(record));
                titles.push(title.to_owned());
            }
            None => out += line,
        }
        out.push('\n');
    }
    (out, titles)
}

#[test]
fn golden_every_worked_example_is_what_the_encoding_makes_of_it() {
    let page = std::fs::read_to_string(page_path()).expect("docs/journal-format.md can be read");
    let (rewritten, titles) = rewritten(&page);
    if std::env::var_os("GANGER_GOLDEN").is_some_and(|how| how == "write") {
        std::fs::write(page_path(), &rewritten).expect("docs/journal-format.md can be written");
    } else {
        let wrong = page.lines().zip(rewritten.lines()).find(|(is, should)| is != should);
        assert_eq!(wrong, None, "see the head of this test for how to rewrite the page");
        assert_eq!(page, rewritten, "see the head of this test for how to rewrite the page");
    }
    let names: Vec<&str> = every_record().iter().map(|(name, _)| *name).collect();
    assert_eq!(titles, names, "every kind of record has a worked example, in this order");
}

#[test]
fn every_record_is_read_as_it_was_written() {
    let mut body = Vec::new();
    format::begin(&mut body);
    let records: Vec<Record> = every_record().into_iter().map(|(_, record)| record).collect();
    for record in &records {
        format::encode(record, &mut body);
    }
    let mut found = Vec::new();
    let decoded = Decoder::default().decode(&body, records.len() as u64, |record| found.push(record));
    assert_eq!((decoded, found), (Ok(()), records));
}

/// Reads a body of one record.
fn decode(body: &[u8]) -> Result<Vec<Record>, FormatError> {
    let mut found = Vec::new();
    Decoder::default().decode(body, 1, |record| found.push(record)).map(|()| found)
}

#[test]
fn a_body_that_ends_early_anywhere_is_refused() {
    for (name, record) in every_record() {
        let mut body = Vec::new();
        format::begin(&mut body);
        format::encode(&record, &mut body);
        assert_eq!(decode(&body), Ok(vec![record]), "{name}");
        for end in 0..body.len() {
            assert!(decode(&body[..end]).is_err(), "{name} is read from its first {end} bytes");
        }
        body.push(0xc0);
        assert!(decode(&body).is_err(), "{name} is read with a byte after it");
    }
}

#[test]
fn any_bytes_are_an_error_and_never_a_panic() {
    for (_, record) in every_record() {
        let mut body = Vec::new();
        format::begin(&mut body);
        format::encode(&record, &mut body);
        for at in 0..body.len() {
            for value in 0..=255 {
                let mut wrong = body.clone();
                wrong[at] = value;
                let _ = decode(&wrong);
            }
        }
    }
}

#[test]
fn a_body_of_another_version_is_refused_by_its_number() {
    assert_eq!(decode(&[2]), Err(FormatError::Version { found: 2 }));
    assert_eq!(decode(&[0]), Err(FormatError::Version { found: 0 }));
}

#[test]
fn a_count_that_nothing_stands_behind_takes_no_memory() {
    // A list of four billion accepted tasks, and no task.
    let body = [1, 0x93, 1, 0, 0xdd, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(decode(&body), Err(FormatError::Short { what: "accepted tasks" }));
}
