//! Every short sequence of operations, and a crash at every write and every sync of it, with what was not
//! synced kept, lost, torn or in another order; and crashes in the recovery from that.
//!
//! This is the real store: a layer under SQLite notes down what it does to its files, and each state that
//! a crash may leave is laid out and opened. Two operations in the ordinary tests, and a second crash in every
//! 41st recovery; three, and in every recovery, with
//!
//! ```text
//! GANGER_CRASH_LENGTH=3 cargo test --release -p ganger-broker --test journal_crash -- --nocapture
//! GANGER_CRASH_TWICE=1 cargo test --release -p ganger-broker --test journal_crash -- --nocapture
//! ```

mod disk;
#[path = "../journal/support.rs"]
#[allow(dead_code)] // Others use the rest.
mod support;
mod vfs;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use ganger_broker::journal::{Journal, JournalOptions, SqliteJournal};
use ganger_scheduler::Lsn;

use disk::{Disk, FATES, Fate};
use support::{Files, Records, batch, files, folder, large_batch, lay_out};
use vfs::Op;

/// What a broker does with its journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// A batch of small records.
    Small,
    /// A batch that takes several pages.
    Large,
    /// Everything but the last record is let go, and what can wait is done.
    Trim,
    /// What can wait is done: the mark is synced, the log moved into the database.
    Tend,
    /// A clean end and a new start.
    Restart,
}

const STEPS: [Step; 5] = [Step::Small, Step::Large, Step::Trim, Step::Tend, Step::Restart];

const MARK: &str = "high-water";

/// Something that happened, in order.
#[derive(Clone, Debug)]
enum Event {
    Did(Op),
    /// The mark is this; whether it was synced.
    Mark(Vec<u8>, bool),
    /// Everything up to this record was acknowledged.
    Acknowledged(Lsn),
}

/// One run of a broker's journal, as its disk saw it.
struct Run {
    dir: PathBuf,
    journal: Option<SqliteJournal>,
    began_with: Files,
    events: Vec<Event>,
    /// Everything that was ever handed in, by number less one.
    records: Records,
    trims: Vec<Lsn>,
}

/// Records that were handed in, and where a journal may begin.
#[derive(Clone)]
struct Known {
    records: Records,
    trims: Vec<Lsn>,
}

impl Run {
    /// A journal in a directory as it is found. Everything that its recovery does is noted down.
    fn begin(dir: &Path, known: &Known) -> Result<Self, String> {
        let began_with = files(dir);
        let (records, trims) = (known.records.clone(), known.trims.clone());
        let mut run =
            Self { dir: dir.to_owned(), journal: None, began_with, events: Vec::new(), records, trims };
        vfs::record();
        let last = run.open()?;
        run.records.truncate(last);
        Ok(run)
    }

    /// Opens the journal, and checks what is in it. Returns its last record.
    fn open(&mut self) -> Result<usize, String> {
        let mut journal = SqliteJournal::open(&options(&self.dir)).map_err(|error| error.to_string())?;
        let mut found = Vec::new();
        let recovered = journal.read(&mut |lsn, record| found.push((lsn, record)));
        let last = recovered.map_err(|error| error.to_string())?.last.0 as usize;
        support::fetch_values(&mut journal, &mut found).map_err(|error| error.to_string())?;
        self.journal = Some(journal);
        self.look();
        self.check(&found, last)?;
        Ok(last)
    }

    /// Whether what was found is a part of what was handed in that begins where it may.
    fn check(&self, found: &Records, last: usize) -> Result<(), String> {
        let first = found.first().map_or(last + 1, |(lsn, _)| lsn.0 as usize);
        let is_beginning = first == 1 || self.trims.contains(&Lsn(first as u64));
        if !is_beginning || last > self.records.len() || self.records[first - 1..last] != found[..] {
            return Err(format!(
                "records {first} to {last} were found, {} were handed in",
                self.records.len()
            ));
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        let next = self.records.len() as u64 + 1;
        match step {
            Step::Small => self.append(batch(next, next))?,
            Step::Large => self.append(large_batch(next, 9000))?,
            Step::Trim => {
                let last = Lsn(next - 1);
                if last > Lsn(0) {
                    self.trims.push(last);
                    self.with(|journal| journal.trim(last))?;
                }
                self.tend()?;
            }
            Step::Tend => self.tend()?,
            Step::Restart => {
                let journal = self.journal.take().ok_or("it is not open")?;
                journal.close().map_err(|error| error.to_string())?;
                self.look();
                self.open()?;
            }
        }
        Ok(())
    }

    fn append(&mut self, mut records: Records) -> Result<(), String> {
        self.records.extend(records.iter().cloned());
        let last = self.with(|journal| journal.append(&mut records))?;
        self.look();
        self.events.push(Event::Acknowledged(last));
        Ok(())
    }

    fn tend(&mut self) -> Result<(), String> {
        // The mark is synced first, so that nothing is trimmed that a mark on the disk still names.
        let mark = self.mark();
        self.events.push(Event::Mark(mark, true));
        while self.with(Journal::tend)? {
            self.look();
        }
        self.look();
        Ok(())
    }

    fn with<T, E: ToString>(
        &mut self,
        what: impl FnOnce(&mut SqliteJournal) -> Result<T, E>,
    ) -> Result<T, String> {
        let journal = self.journal.as_mut().ok_or("it is not open")?;
        what(journal).map_err(|error| error.to_string())
    }

    fn mark(&self) -> Vec<u8> {
        std::fs::read(self.dir.join(MARK)).unwrap_or_default()
    }

    /// Takes over what was noted down since the last look. The mark is written after everything else.
    fn look(&mut self) {
        self.events.extend(vfs::take().into_iter().map(Event::Did));
        let mark = self.mark();
        self.events.push(Event::Mark(mark, false));
    }

    fn end(mut self) -> (Files, Vec<Event>, Known) {
        vfs::stop();
        self.journal = None;
        (self.began_with, self.events, Known { records: self.records, trims: self.trims })
    }
}

fn options(dir: &Path) -> JournalOptions {
    let stored_min = support::STORED_MIN;
    JournalOptions { reserve_bytes: 0, stored_min, wal_bytes: 20_000, ..JournalOptions::new(dir) }
}

/// States that were tried.
static STATES: AtomicUsize = AtomicUsize::new(0);

/// Crashes at every event; hands over each state that may be left, and what had been acknowledged by then.
fn crash_everywhere(
    began_with: &Files,
    events: &[Event],
    acknowledged: Lsn,
    fates: &[Fate],
    mut each: impl FnMut(&Files, Lsn, &str),
) {
    let mut disk = Disk::of(began_with);
    let mut acknowledged = acknowledged;
    let mark = began_with.get(MARK).cloned().unwrap_or_default();
    let (mut newest, mut synced) = (mark.clone(), mark);
    for (place, event) in events.iter().enumerate() {
        let mut states = Vec::new();
        for fate in fates {
            states.push((disk.crash(*fate), format!("before event {place}, {fate:?}")));
        }
        if let Event::Did(op) = event {
            for part in disk::torn(op) {
                let mut torn = disk.clone();
                torn.apply(&part);
                states.push((torn.crash(Fate::Kept), format!("in the middle of event {place}")));
            }
        }
        for (files, what) in states {
            // A lone write of a small file may reach the disk before, or after, everything else that waits.
            for mark in [&newest, &synced] {
                let mut files = files.clone();
                files.insert(MARK.to_owned(), mark.clone());
                each(&files, acknowledged, &what);
                if newest == synced {
                    break;
                }
            }
        }
        match event {
            Event::Did(op) => disk.apply(op),
            Event::Mark(mark, is_synced) => {
                newest.clone_from(mark);
                if *is_synced {
                    synced.clone_from(mark);
                }
            }
            Event::Acknowledged(last) => acknowledged = *last,
        }
    }
}

/// Opens a state that a crash has left, goes on from there, and crashes again at every event of that.
fn recover(left: &Files, acknowledged: Lsn, known: &Known, what: &str, is_second_crash_wanted: bool) {
    STATES.fetch_add(1, Ordering::Relaxed);
    let folder = folder();
    let dir = folder.path().join("left");
    lay_out(&dir, left);
    let failed = |error: String| -> ! { panic!("{what}: {error}") };
    let mut run = Run::begin(&dir, known).unwrap_or_else(|error| failed(error));
    let last = run.records.len() as u64;
    if last < acknowledged.0 {
        failed(format!("{} was acknowledged, and {last} is the last", acknowledged.0));
    }
    for step in [Step::Small, Step::Restart] {
        run.step(step).unwrap_or_else(|error| failed(error));
    }
    let (began_with, events, mut known_now) = run.end();
    if !is_second_crash_wanted {
        return;
    }
    // What the first crash has lost was never acknowledged; what it left may be found again.
    if known_now.records.len() < known.records.len() {
        known_now.records.extend_from_slice(&known.records[known_now.records.len()..]);
    }
    crash_everywhere(
        &began_with,
        &events,
        acknowledged,
        &[Fate::Kept, Fate::Lost],
        |left, acknowledged, when| {
            let what = format!("{what}; then {when}");
            recover(left, acknowledged, &known_now, &what, false);
        },
    );
}

fn try_sequence(sequence: &[Step], is_thorough: bool) {
    let folder = folder();
    let dir = folder.path().join("data");
    // Some past, so that there is something to move, to trim and to go on from.
    let known = Known { records: Records::new(), trims: Vec::new() };
    std::fs::create_dir(&dir).expect("the directory can be made");
    let mut run = Run::begin(&dir, &known).expect("an empty directory becomes a journal");
    for step in [Step::Large, Step::Small, Step::Tend] {
        run.step(step).expect("the past is without faults");
    }
    run.began_with = files(&dir);
    run.events.clear();
    let acknowledged = Lsn(run.records.len() as u64);
    for step in sequence {
        run.step(*step).unwrap_or_else(|error| panic!("{sequence:?}: {error}"));
    }
    let (began_with, events, known) = run.end();
    let mut count = 0;
    crash_everywhere(&began_with, &events, acknowledged, &FATES, |left, acknowledged, when| {
        count += 1;
        let what = format!("{sequence:?}: {when}");
        recover(left, acknowledged, &known, &what, is_thorough || count % 41 == 0);
    });
}

#[test]
fn i10_a_crash_anywhere_in_any_short_sequence_loses_nothing_that_was_acknowledged() {
    let given = std::env::var("GANGER_CRASH_LENGTH").ok().and_then(|text| text.parse().ok());
    let length: u32 = given.unwrap_or(2);
    let is_thorough = std::env::var_os("GANGER_CRASH_TWICE").is_some();
    let count = STEPS.len().pow(length);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let places = (0..length).map(|place| number / STEPS.len().pow(place) % STEPS.len());
                    let sequence: Vec<Step> = places.map(|place| STEPS[place]).collect();
                    try_sequence(&sequence, is_thorough);
                }
            });
        }
    });
    println!("{count} sequences of {length}, {} states", STATES.load(Ordering::Relaxed));
}
