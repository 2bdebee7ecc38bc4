//! Damage is loud or harmless: every bit of every file, every row, every file that is old, missing or
//! somebody else's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use ganger_broker::journal::{Damage, Journal, JournalError, Recovered, SqliteJournal};
use ganger_common::Epoch;
use ganger_scheduler::{Lsn, Record};
use rusqlite::Connection;

use super::support::{
    Files, Records, append, batch, files, folder, fresh, large_batch, lay_out, open_and_read, options_for,
    read,
};

const DATABASE: &str = "journal.db";
const WAL: &str = "journal.db-wal";
const MARK: &str = "high-water";

/// A small journal with a past: something was trimmed, so that there are free pages and a beginning that
/// is not 1; one batch takes pages of its own.
struct Small {
    /// As a broker leaves it that ends well.
    closed: Files,
    /// As it is when a broker is killed: some of it only in the log.
    killed: Files,
    /// The same some batches earlier.
    earlier: Files,
    records: Records,
}

impl Small {
    fn new() -> Self {
        let folder = folder();
        let dir = folder.path().join("data");
        let mut journal = fresh(&dir);
        append(&mut journal, &vec![(Lsn(1), Record::Started { epoch: Epoch(1) })]);
        append(&mut journal, &large_batch(2, 9000));
        append(&mut journal, &batch(2, 3));
        journal.trim(Lsn(4)).expect("the journal lives");
        while journal.tend().expect("the journal lives") {}
        journal.close().expect("the journal closes");
        let (mut journal, ..) = open_and_read(&dir).expect("the journal is sound");
        append(&mut journal, &batch(0, 6));
        append(&mut journal, &large_batch(7, 4500));
        let earlier = files(&dir);
        append(&mut journal, &batch(1, 8));
        append(&mut journal, &batch(2, 10));
        let killed = files(&dir);
        journal.close().expect("the journal closes");
        let closed = files(&dir);
        let (_, records, recovered) = open_and_read(&dir).expect("the journal is sound");
        assert_eq!((recovered.last, records[0].0), (Lsn(12), Lsn(4)));
        Self { closed, killed, earlier, records }
    }
}

/// What came of opening a directory.
#[derive(Debug)]
enum Verdict {
    /// All of it is there.
    Harmless,
    /// It was refused, by this name.
    Refused(String),
}

fn verdict(dir: &Path, expected: &Records) -> Result<Verdict, String> {
    match open_and_read(dir) {
        Ok((_, found, _)) if found == *expected => Ok(Verdict::Harmless),
        Ok((_, found, _)) => Err(format!("silent: {} records instead of {}", found.len(), expected.len())),
        Err(JournalError::Damaged { damage, .. }) => {
            let name = format!("{damage:?}");
            Ok(Verdict::Refused(name.split([' ', '(', '{']).next().unwrap_or_default().to_owned()))
        }
        Err(error) => Err(format!("not a name for damage: {error:?}")),
    }
}

/// Whether to flip every bit of every byte: minutes instead of seconds.
fn is_thorough() -> bool {
    std::env::var_os("GANGER_EVERY_BIT").is_some()
}

/// Flips one bit, or all, of every byte of a file for which `is_wanted`; returns how often which verdict was
/// given.
fn flip_every_byte(
    small: &Small,
    whole: &Files,
    name: &str,
    is_wanted: impl Fn(usize) -> bool + Sync,
) -> BTreeMap<String, usize> {
    let bits = if is_thorough() { 8 } else { 1 };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let verdicts = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (verdicts, is_wanted) = (&verdicts, &is_wanted);
            scope.spawn(move || {
                let folder = folder();
                let dir = folder.path().join("data");
                lay_out(&dir, whole);
                let places = (0..whole[name].len()).filter(|at| is_wanted(*at));
                for at in places.skip(thread).step_by(threads) {
                    for bit in (0..bits).map(|bit| (bit + at) % 8) {
                        let verdict = flip(small, whole, &dir, name, at, bit);
                        *verdicts.lock().expect("nobody panics with it").entry(verdict).or_insert(0) += 1;
                    }
                }
            });
        }
    });
    verdicts.into_inner().expect("nobody panics with it")
}

/// Flips one bit, looks what comes of it, and puts everything back.
fn flip(small: &Small, whole: &Files, dir: &Path, name: &str, at: usize, bit: usize) -> String {
    let what = format!("bit {bit} of byte {at} of {name}");
    let mut flipped = whole[name].clone();
    flipped[at] ^= 1 << bit;
    std::fs::write(dir.join(name), &flipped).expect("a file can be written");
    match verdict(dir, &small.records).unwrap_or_else(|error| panic!("{what}: {error}")) {
        Verdict::Refused(by) => {
            let mut as_found = whole.clone();
            as_found.insert(name.to_owned(), flipped);
            assert!(files(dir) == as_found, "{what}: refused, and yet something was changed");
            std::fs::write(dir.join(name), &whole[name]).expect("a file can be written");
            by
        }
        Verdict::Harmless => {
            if at.is_multiple_of(16) {
                go_on(dir, &small.records, &what);
            }
            lay_out(dir, whole);
            "Harmless".to_owned()
        }
    }
}

/// What is harmless today must not be the cause of harm tomorrow.
fn go_on(dir: &Path, records: &Records, what: &str) {
    let broken = |error| panic!("{what}, the next day: {error}");
    let (mut journal, ..) = open_and_read(dir).unwrap_or_else(broken);
    let more = large_batch(records.last().expect("there are some").0.0 + 1, 20_000);
    append(&mut journal, &more);
    journal.close().expect("the journal closes");
    let (_, found, _) = open_and_read(dir).unwrap_or_else(broken);
    assert!(found == [records.clone(), more].concat(), "{what}: {} records the next day", found.len());
}

fn report(file: &str, whole: &Files, verdicts: &BTreeMap<String, usize>) {
    println!("{file}, {} bytes: {verdicts:?}", whole[file].len());
}

#[test]
fn i11_a_bit_of_the_database_is_refused_or_harmless() {
    let small = Small::new();
    let verdicts = flip_every_byte(&small, &small.closed, DATABASE, |_| true);
    report(DATABASE, &small.closed, &verdicts);
    assert!(verdicts["Batch"] > 1000 && verdicts["Harmless"] > 1000, "{verdicts:?}");
}

#[test]
fn i11_a_bit_of_the_database_under_a_log_is_refused_or_harmless() {
    let small = Small::new();
    // Most of its pages stand in the log, too, and those count.
    let verdicts =
        flip_every_byte(&small, &small.killed, DATABASE, |at| is_thorough() || at < 100 || at % 7 == 0);
    report(DATABASE, &small.killed, &verdicts);
}

#[test]
fn i11_a_bit_of_the_log_is_refused_or_harmless() {
    let small = Small::new();
    let verdicts = flip_every_byte(&small, &small.killed, WAL, |_| true);
    report(WAL, &small.killed, &verdicts);
    assert!(verdicts["Tail"] > 1000, "{verdicts:?}");
}

#[test]
fn i11_a_bit_of_the_mark_or_the_lock_is_harmless() {
    let small = Small::new();
    for whole in [&small.closed, &small.killed] {
        for file in [MARK, "lock"] {
            let verdicts = flip_every_byte(&small, whole, file, |at| at % 4096 < 128 || at % 64 == 0);
            report(file, whole, &verdicts);
            assert_eq!(verdicts.keys().collect::<Vec<_>>(), ["Harmless"]);
        }
    }
}

/// Spoils a directory, and says what it is refused for.
fn refused(whole: &Files, spoil: impl FnOnce(&Path)) -> JournalError {
    let folder = folder();
    let dir = folder.path().join("data");
    lay_out(&dir, whole);
    spoil(&dir);
    let before = files(&dir);
    let error = open_and_read(&dir).map(|(_, found, _)| found).expect_err("it is damaged");
    assert!(files(&dir) == before, "refused, and yet something was changed: {error}");
    error
}

fn damage(whole: &Files, spoil: impl FnOnce(&Path)) -> Damage {
    match refused(whole, spoil) {
        JournalError::Damaged { damage, .. } => damage,
        error => panic!("not a name for damage: {error:?}"),
    }
}

/// Changes the database as somebody with SQLite's own shell would.
fn sql(text: &str) -> impl FnOnce(&Path) {
    move |dir| {
        let db = Connection::open(dir.join(DATABASE)).expect("the database opens");
        db.execute_batch(text).expect("the statement is right");
        db.close().expect("the database closes");
        for side in ["journal.db-wal", "journal.db-shm"] {
            let _ = std::fs::remove_file(dir.join(side));
        }
    }
}

#[test]
fn a_journal_that_ends_at_any_row_is_refused() {
    let small = Small::new();
    for (from, last) in [(10, 12), (8, 12), (7, 12), (6, 12)] {
        let found = damage(&small.closed, sql(&format!("DELETE FROM batches WHERE first >= {from}")));
        let Damage::Tail { from: missing, to } = found else { panic!("{found}") };
        assert_eq!((missing, to), (Lsn(from), Lsn(last)));
    }
}

#[test]
fn a_journal_without_one_of_its_rows_is_refused() {
    let small = Small::new();
    for (first, last) in [(6, 6), (7, 7), (8, 9)] {
        let found = damage(&small.closed, sql(&format!("DELETE FROM batches WHERE first = {first}")));
        let Damage::Gap { from, to } = found else { panic!("{found}") };
        assert_eq!((from, to), (Lsn(first), Lsn(last)));
    }
    let found = damage(&small.closed, sql("DELETE FROM batches"));
    assert!(matches!(found, Damage::Tail { .. }), "{found}");
}

#[test]
fn a_row_that_somebody_changed_is_refused() {
    let small = Small::new();
    for change in [
        "UPDATE batches SET wall = wall + 1 WHERE first = 8",
        "UPDATE batches SET body = CAST(body || x'00' AS BLOB) WHERE first = 8",
        "UPDATE batches SET link = randomblob(32) WHERE first = 8",
        "UPDATE batches SET link = randomblob(32) WHERE first = 10",
        "UPDATE batches SET last = last + 1 WHERE first = 8",
        "UPDATE batches SET first = -first WHERE first = 8",
    ] {
        let found = damage(&small.closed, sql(change));
        let fits = matches!(found, Damage::Batch { .. } | Damage::OtherHistory { .. } | Damage::Gap { .. });
        assert!(fits, "{change}: {found}");
    }
}

#[test]
fn what_a_journal_says_of_itself_is_not_to_be_changed() {
    let small = Small::new();
    for change in ["id = randomblob(16)", "link = randomblob(32)", "trimmed = 12", "epoch = 0", "first = 1"] {
        let found = damage(&small.closed, sql(&format!("UPDATE journal SET {change}")));
        assert!(matches!(found, Damage::Database { .. }), "{change}: {found}");
    }
}

#[test]
fn tables_that_somebody_changed_are_refused() {
    let small = Small::new();
    for change in ["CREATE TABLE more (x)", "CREATE INDEX other ON batches (wall)", "DELETE FROM journal"] {
        let found = damage(&small.closed, sql(change));
        assert!(matches!(found, Damage::Foreign { .. }), "{change}: {found}");
    }
    let found = damage(&small.closed, sql("PRAGMA user_version = 2"));
    assert!(matches!(found, Damage::Version { found: 2, known: 1 }), "{found}");
    let found = damage(&small.closed, sql("PRAGMA application_id = 5"));
    assert!(matches!(found, Damage::Foreign { .. }), "{found}");
}

#[test]
fn a_database_that_is_cut_off_anywhere_is_refused() {
    let small = Small::new();
    let whole = &small.closed[DATABASE];
    for len in (0..whole.len()).step_by(512).flat_map(|at| [at, at + 1]) {
        damage(&small.closed, |dir| {
            std::fs::write(dir.join(DATABASE), &whole[..len]).expect("a file can be written");
        });
    }
}

#[test]
fn a_log_that_is_cut_off_anywhere_is_refused_unless_nothing_is_lost() {
    let small = Small::new();
    let whole = &small.killed[WAL];
    let folder = folder();
    let dir = folder.path().join("data");
    let mut refused = 0;
    for len in (0..=whole.len()).filter(|len| len % 128 < 2 || len % 4120 == 32) {
        lay_out(&dir, &small.killed);
        std::fs::write(dir.join(WAL), &whole[..len]).expect("a file can be written");
        match verdict(&dir, &small.records).unwrap_or_else(|error| panic!("{len} bytes are left: {error}")) {
            Verdict::Refused(name) => {
                assert_eq!(name, "Tail", "{len} bytes are left");
                refused += 1;
            }
            Verdict::Harmless => assert_eq!(len, whole.len(), "the last frame is the last batch"),
        }
    }
    assert!(refused > 100);
}

#[test]
fn a_file_that_is_missing_is_named() {
    let small = Small::new();
    for (whole, file) in
        [(&small.closed, DATABASE), (&small.killed, DATABASE), (&small.closed, MARK), (&small.killed, MARK)]
    {
        let error = refused(whole, |dir| std::fs::remove_file(dir.join(file)).expect("it was there"));
        let JournalError::Damaged { path, damage: Damage::Missing { .. } } = &error else {
            panic!("{error}")
        };
        assert!(path.ends_with(file), "{error}");
    }
    let found = damage(&small.killed, |dir| std::fs::remove_file(dir.join(WAL)).expect("it was there"));
    assert!(matches!(found, Damage::Tail { from: Lsn(6), to: Lsn(12) }), "{found}");
    let found = damage(&small.killed, |dir| {
        std::fs::remove_file(dir.join(DATABASE)).expect("it was there");
        std::fs::remove_file(dir.join(MARK)).expect("it was there");
    });
    assert!(matches!(found, Damage::Missing { witness: WAL }), "{found}");
}

#[test]
fn an_old_copy_of_a_file_is_refused_or_harmless() {
    let small = Small::new();
    let old = |file: &str| {
        let bytes = small.earlier[file].clone();
        let file = file.to_owned();
        move |dir: &Path| std::fs::write(dir.join(file), bytes).expect("a file can be written")
    };
    let found = damage(&small.killed, old(WAL));
    assert!(matches!(found, Damage::Tail { from: Lsn(8), to: Lsn(12) }), "{found}");
    let found = damage(&small.closed, old(DATABASE));
    assert!(matches!(found, Damage::Tail { from: Lsn(6), to: Lsn(12) }), "{found}");
    // An old log beside the database into which a newer one was moved: whatever it makes of it is seen.
    damage(&small.closed, old(WAL));
    // A mark that names less than there is has nothing against it.
    for whole in [&small.killed, &small.closed] {
        let folder = folder();
        let dir = folder.path().join("data");
        lay_out(&dir, whole);
        old(MARK)(&dir);
        assert!(matches!(verdict(&dir, &small.records), Ok(Verdict::Harmless)));
    }
}

#[test]
fn an_old_mark_that_names_what_is_gone_is_refused() {
    let folder = folder();
    let dir = folder.path().join("data");
    let mut journal = fresh(&dir);
    append(&mut journal, &batch(0, 1));
    while journal.tend().expect("the journal lives") {}
    let old = files(&dir)[MARK].clone();
    for lsn in 2..10 {
        append(&mut journal, &batch(0, lsn));
    }
    journal.trim(Lsn(8)).expect("the journal lives");
    while journal.tend().expect("the journal lives") {}
    journal.close().expect("the journal closes");
    let found =
        damage(&files(&dir), |dir| std::fs::write(dir.join(MARK), &old).expect("a file can be written"));
    assert!(matches!(found, Damage::OldMark { lsn: Lsn(1), first: Lsn(8) }), "{found}");
}

#[test]
fn files_of_another_journal_are_refused() {
    let (small, other) = (Small::new(), Small::new());
    for (whole, theirs, file) in [
        (&small.closed, &other.closed, DATABASE),
        (&small.killed, &other.killed, DATABASE),
        (&small.closed, &other.closed, MARK),
        (&small.killed, &other.killed, MARK),
        (&small.killed, &other.killed, WAL),
        (&small.closed, &other.killed, WAL),
    ] {
        let bytes = &theirs[file];
        damage(whole, |dir| std::fs::write(dir.join(file), bytes).expect("a file can be written"));
    }
    let found = damage(&small.closed, |dir| {
        std::fs::write(dir.join(MARK), &other.closed[MARK]).expect("a file can be written");
    });
    assert!(matches!(found, Damage::OtherJournal { .. }), "{found}");
}

#[test]
fn a_rollback_file_is_refused_before_sqlite_sees_it() {
    let small = Small::new();
    let found = damage(&small.closed, |dir| {
        std::fs::write(dir.join("journal.db-journal"), b"anything").expect("a file can be written");
    });
    assert!(matches!(found, Damage::Unexpected), "{found}");
}

#[test]
fn a_mark_of_which_both_slots_are_damaged_is_refused() {
    let small = Small::new();
    for bytes in [Vec::new(), vec![0; 8192], small.closed[MARK][..100].to_vec()] {
        let found =
            damage(&small.closed, |dir| std::fs::write(dir.join(MARK), bytes).expect("it can be written"));
        assert!(matches!(found, Damage::Mark), "{found}");
    }
}

/// Opens a spoilt directory with the operator's consent to a loss.
fn accept(dir: &Path) -> (SqliteJournal, Records, Recovered) {
    let mut options = options_for(dir);
    options.accept_loss = true;
    read(SqliteJournal::open(&options).expect("it is accepted")).expect("it is accepted")
}

#[test]
fn a_loss_that_is_accepted_is_named_kept_aside_and_gone_on_from() {
    let small = Small::new();
    for (text, last) in [
        ("DELETE FROM batches WHERE first >= 8", 7),
        ("DELETE FROM batches WHERE first = 7", 6),
        ("UPDATE batches SET wall = 0 WHERE first = 8", 7),
        ("UPDATE batches SET link = randomblob(32) WHERE first = 10", 9),
    ] {
        let lost = Some((Lsn(last + 1), Lsn(12)));
        let folder = folder();
        let dir = folder.path().join("data");
        lay_out(&dir, &small.closed);
        sql(text)(&dir);
        let spoilt = files(&dir);
        let (mut journal, found, recovered) = accept(&dir);
        assert_eq!((recovered.last, recovered.lost), (Lsn(last), lost), "{text}");
        assert_eq!(recovered.epoch, Epoch(1), "{text}");
        assert!(found[..] == small.records[..found.len()], "{text}: what is left is what came before");
        let copies = std::fs::read_dir(&dir).expect("it can be listed");
        let copy = copies.map(|entry| entry.expect("an entry").path()).find(|path| path.is_dir());
        let copy = files(&copy.expect("a copy was kept"));
        assert!(copy[DATABASE] == spoilt[DATABASE] && copy[MARK] == spoilt[MARK], "{text}");
        append(&mut journal, &batch(1, last + 1));
        journal.close().expect("the journal closes");
        let (_, found, recovered) = open_and_read(&dir).expect("the loss is over");
        assert_eq!((recovered.last, recovered.lost), (Lsn(last + 2), None), "{text}");
        assert!(found.ends_with(&batch(1, last + 1)), "{text}");
    }
}

#[test]
fn a_mark_that_is_gone_can_be_done_without() {
    let small = Small::new();
    let folder = folder();
    let dir = folder.path().join("data");
    lay_out(&dir, &small.killed);
    std::fs::write(dir.join(MARK), vec![0; 8192]).expect("a file can be written");
    let (journal, found, recovered) = accept(&dir);
    assert!(found == small.records);
    assert_eq!(recovered.lost, None);
    journal.close().expect("the journal closes");
    assert!(matches!(verdict(&dir, &small.records), Ok(Verdict::Harmless)));
}
