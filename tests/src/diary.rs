//! What workers say themselves about what they ran.
//!
//! Every test worker appends one line at each start and each finish to a file of its own. The line is in the
//! kernel's hands before the handler goes on, so a worker that is killed takes none of them with it. The
//! checker reads these files and what the clients saw, and never trusts a figure of the broker.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ganger_common::{Attempt, Epoch, TaskId};
use ganger_worker::FencingToken;

/// Writes one diary; safe to share between handlers.
#[derive(Debug)]
pub struct Diary {
    file: File,
    written: AtomicU64,
}

/// What a line tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// The handler was entered.
    Start,
    /// The handler is about to return a result.
    Finish,
    /// The handler is about to return without one.
    GiveUp,
}

/// One line of one diary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// What happened.
    pub mark: Mark,
    /// To which task.
    pub task: TaskId,
    /// In which attempt.
    pub attempt: Attempt,
    /// In which life of the broker that attempt was granted.
    pub epoch: Epoch,
    /// Checksum of the payload, so that a task that was tampered with shows.
    pub checksum: u32,
    /// When, on the clock that all processes of this machine share.
    pub at_ns: u64,
    /// The worker whose diary it is: the name of the file.
    pub worker: String,
}

impl Diary {
    /// Opens `WORKER.diary` in a directory.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(directory: &Path, worker: &str) -> std::io::Result<Self> {
        let path = directory.join(format!("{worker}.diary"));
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file, written: AtomicU64::new(0) })
    }

    /// Writes one line with one system call, so that lines of several threads never mix.
    ///
    /// # Panics
    /// When it cannot: a diary with a hole proves nothing.
    pub fn write(&self, mark: Mark, task: TaskId, token: FencingToken, checksum: u32) {
        let mark = match mark {
            Mark::Start => 'S',
            Mark::Finish => 'F',
            Mark::GiveUp => 'G',
        };
        let FencingToken { attempt, epoch } = token;
        let line = format!("{mark} {task} {} {attempt} {checksum} {}\n", epoch.0, now_ns());
        let written = (&self.file).write(line.as_bytes()).expect("a diary that cannot be kept ends the test");
        assert_eq!(written, line.len(), "half a line was written");
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    /// Lines written so far.
    pub fn lines(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

/// Reads every diary in a directory, in the order of time.
///
/// # Panics
/// When a line cannot be read: the last one of a killed worker is whole, too.
pub fn read_all(directory: &Path) -> Vec<Line> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let mut lines = Vec::new();
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{directory:?}: {error}")).path();
        if path.extension().is_none_or(|extension| extension != "diary") {
            continue;
        }
        let worker = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        for line in text.lines() {
            let line = parse(line, &worker).unwrap_or_else(|| panic!("{path:?}: {line:?}"));
            lines.push(line);
        }
    }
    lines.sort_by_key(|line| line.at_ns);
    lines
}

fn parse(line: &str, worker: &str) -> Option<Line> {
    let mut fields = line.split(' ');
    let mark = match fields.next()? {
        "S" => Mark::Start,
        "F" => Mark::Finish,
        "G" => Mark::GiveUp,
        _ => return None,
    };
    Some(Line {
        mark,
        task: fields.next()?.parse().ok()?,
        epoch: Epoch(fields.next()?.parse().ok()?),
        attempt: Attempt(fields.next()?.parse().ok()?),
        checksum: fields.next()?.parse().ok()?,
        at_ns: fields.next()?.parse().ok()?,
        worker: worker.to_owned(),
    })
}

/// Nanoseconds on the monotonic clock of the machine. `Instant` is the same clock, but does not tell its
/// value to another process.
#[allow(unsafe_code)]
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes into the struct that it is given, which outlives it.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(result, 0, "the monotonic clock always answers");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_in_the_order_of_time() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (
            Diary::create(directory.path(), "one").unwrap(),
            Diary::create(directory.path(), "two").unwrap(),
        );
        let task = TaskId::from_bytes([7; 16]);
        let token = |attempt| FencingToken { attempt: Attempt(attempt), epoch: Epoch(3) };
        one.write(Mark::Start, task, token(1), 5);
        two.write(Mark::Start, task, token(2), 5);
        one.write(Mark::Finish, task, token(1), 5);
        let lines = read_all(directory.path());
        let seen: Vec<_> = lines.iter().map(|line| (line.mark, line.attempt.0, &*line.worker)).collect();
        assert_eq!(seen, [(Mark::Start, 1, "one"), (Mark::Start, 2, "two"), (Mark::Finish, 1, "one")]);
        assert!(lines[0].task == task && lines[0].checksum == 5 && one.lines() == 2);
        assert_eq!(lines[0].epoch, Epoch(3));
    }
}
