//! A crash at any moment loses nothing that was acknowledged: the states that a killed process or a power
//! cut can leave, put together byte by byte.

use ganger_broker::journal::Journal;

use super::support::{
    Files, Records, append, batch, files, folder, fresh, large_batch, lay_out, open_and_read,
};

const WAL: &str = "journal.db-wal";
const DATABASE: &str = "journal.db";

/// The directory after each batch, and what had been acknowledged by then.
struct Steps {
    files: Vec<Files>,
    records: Vec<Records>,
}

impl Steps {
    /// Batches of these payload sizes; 0 is a batch of small records.
    fn of(sizes: &[usize]) -> Self {
        let folder = folder();
        let mut journal = fresh(folder.path());
        let mut all = Records::new();
        let mut steps = Self { files: vec![files(folder.path())], records: vec![Records::new()] };
        for (number, size) in sizes.iter().enumerate() {
            let first = all.len() as u64 + 1;
            let records = match size {
                0 => batch(number as u64, first),
                size => large_batch(first, *size),
            };
            append(&mut journal, &records);
            all.extend(records);
            steps.files.push(files(folder.path()));
            steps.records.push(all.clone());
        }
        steps
    }
}

/// Opens what a crash has left: it must hold what was acknowledged before, and may hold the batch that was
/// on its way, whole.
fn check(left: &Files, acknowledged: &Records, under_way: &Records, what: &str) {
    let folder = folder();
    let dir = folder.path().join("left");
    lay_out(&dir, left);
    let (journal, found, _) = open_and_read(&dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(found == *acknowledged || found == *under_way, "{what}: {} records", found.len());
    // And again, after a crash that followed at once: reading is the same twice.
    let twice = folder.path().join("twice");
    lay_out(&twice, &files(&dir));
    drop(journal);
    let (_, again, _) = open_and_read(&twice).unwrap_or_else(|error| panic!("{what}, twice: {error}"));
    assert!(again == found, "{what}: the second recovery differs");
}

#[test]
fn a_write_that_was_cut_off_at_any_byte_is_as_if_it_had_not_begun() {
    let steps = Steps::of(&[0, 0, 9000, 0]);
    for (step, pair) in steps.files.windows(2).enumerate() {
        let (before, after) = (&pair[0], &pair[1]);
        let (old, new) = (&before[WAL], &after[WAL]);
        // Every 64th byte, and those around: a whole frame is 4,120.
        let cuts = (0..=new.len()).filter(|cut| cut % 64 < 2 || cut % 4120 == 32);
        for cut in cuts {
            let mut torn = new[..cut].to_vec();
            torn.extend_from_slice(old.get(cut..).unwrap_or_default());
            let mut left = before.clone();
            left.insert(WAL.to_owned(), torn);
            let what = format!("batch {step} cut off at byte {cut}");
            check(&left, &steps.records[step], &steps.records[step + 1], &what);
        }
    }
}

#[test]
fn pages_of_a_write_that_reached_the_disk_in_any_order_do_no_harm() {
    let steps = Steps::of(&[0, 0, 30_000]);
    let (before, after) = (&steps.files[2], &steps.files[3]);
    let (old, new) = (&before[WAL], &after[WAL]);
    let frame = |bytes: &[u8], at: usize| bytes.get(at..at + 4120).map(<[u8]>::to_vec);
    let starts = (32..new.len()).step_by(4120);
    let frames: Vec<usize> = starts.filter(|at| frame(old, *at) != frame(new, *at)).collect();
    assert!(frames.len() > 7, "the batch takes several pages");
    for (missing, at) in frames.into_iter().enumerate() {
        let mut torn = new.clone();
        let end = (at + 4120).min(torn.len());
        let was = old.get(at..end.min(old.len())).unwrap_or_default();
        torn[at..end].fill(0);
        torn[at..at + was.len()].copy_from_slice(was);
        let mut left = before.clone();
        left.insert(WAL.to_owned(), torn);
        check(&left, &steps.records[2], &steps.records[2], &format!("frame {missing} is missing"));
    }
}

#[test]
fn pages_that_were_moved_into_the_database_in_any_order_do_no_harm() {
    let folder = folder();
    let dir = folder.path().join("living");
    let mut journal = fresh(&dir);
    let (mut all, mut moves) = (Records::new(), 0);
    let mut before = files(&dir);
    while moves < 3 {
        let first = all.len() as u64 + 1;
        let records = if first.is_multiple_of(3) { batch(first, first) } else { large_batch(first, 300_000) };
        append(&mut journal, &records);
        let after = files(&dir);
        if before[DATABASE] != after[DATABASE] {
            moves += 1;
            for stride in [2, 3, 7] {
                // The move came before the batch: all that was there before was in the log, and safe.
                let mut left = before.clone();
                left.insert(DATABASE.to_owned(), some_pages(&before[DATABASE], &after[DATABASE], stride));
                check(&left, &all, &all, &format!("move {moves}, every {stride}th page"));
            }
        }
        all.extend(records);
        before = after;
    }
}

/// A file of which every `stride`th page is new.
fn some_pages(old: &[u8], new: &[u8], stride: usize) -> Vec<u8> {
    let mut torn = old.to_vec();
    torn.resize(new.len(), 0);
    for at in (0..new.len()).step_by(4096 * stride) {
        torn[at..at + 4096].copy_from_slice(&new[at..at + 4096]);
    }
    torn
}

#[test]
fn a_crash_while_the_journal_is_made_leaves_a_directory_that_can_be_used() {
    let folder = folder();
    let whole = folder.path().join("whole");
    drop(fresh(&whole));
    let made = files(&whole);
    let unfinished = |names: &[(&str, &str)]| -> Files {
        names.iter().map(|(name, from)| ((*name).to_owned(), made[*from].clone())).collect()
    };
    let cases = [
        unfinished(&[("lock", "lock")]),
        unfinished(&[("lock", "lock"), ("journal.db.new", "lock")]),
        unfinished(&[("lock", "lock"), ("journal.db.new", DATABASE), ("journal.db.new-wal", "lock")]),
        unfinished(&[("lock", "lock"), (DATABASE, DATABASE)]),
        unfinished(&[("lock", "lock"), (DATABASE, DATABASE), ("high-water.new", "lock")]),
    ];
    for left in cases {
        let dir = folder.path().join("left");
        lay_out(&dir, &left);
        let mut journal = fresh(&dir);
        append(&mut journal, &batch(0, 1));
        journal.close().expect("the journal closes");
        let (_, found, _) = open_and_read(&dir).expect("the journal is sound");
        assert_eq!(found, batch(0, 1), "{:?}", left.keys());
    }
}
