//! A journal on a thread of its own, so that the loop goes on while a batch is being made safe.
//!
//! What is handed over while the thread writes gathers, and is written together when it comes back: group
//! commit needs no timer, and a lone record waits for nobody. How far everything is safe stands in one
//! value that the thread replaces after each batch; the loop sleeps until it changes.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_scheduler::{Lsn, Record, Stored};
use tokio::sync::watch;

use crate::error::BrokerError;
use crate::journal::{Journal, JournalError, Recovered, Usage};

/// Bytes that are written together at the most, about. A larger batch would make the first in it wait for
/// longer and save next to nothing: at this size the sync is a small part of the work.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// How soon a journal without room tries again: at first, and at the most.
const FULL_RETRY: Duration = Duration::from_millis(100);
const FULL_RETRY_MAX: Duration = Duration::from_secs(1);
/// How often a journal that is short of room looks whether there is more, when nothing else happens.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long values are read back before the thread looks whether there is something to write: what a commit may
/// have to wait for, beside the piece that is being read.
const READ_TIME: Duration = Duration::from_millis(2);
/// A value is read in pieces of this size; each takes about half a millisecond.
const READ_BYTES: usize = 1 << 20;
/// What a record and an entry in it take beside their bytes, roughly.
const ENTRY_BYTES: usize = 64;

/// Hands records to the thread.
#[derive(Debug)]
pub(crate) struct Writer {
    orders: Option<Sender<Order>>,
    progress: watch::Receiver<Progress>,
    /// Values that were read back, in the order of the orders.
    values: Receiver<Bytes>,
    thread: Option<JoinHandle<Result<(), JournalError>>>,
    /// Bytes that were ever handed over, about.
    handed: usize,
}

/// How far the thread has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Everything up to here is safe.
    upto: Lsn,
    usage: Usage,
    /// Bytes that were ever written, about.
    written: usize,
}

enum Order {
    Append(Vec<(Lsn, Record)>, usize),
    Trim(Lsn),
    Value(Stored),
}

impl Writer {
    /// Moves a journal that has been read to a thread of its own.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start<J: Journal>(journal: J) -> Result<Self, BrokerError> {
        let usage = journal.usage();
        let first = Progress { upto: usage.last, usage, written: 0 };
        let (report, progress) = watch::channel(first);
        let (orders, taken) = mpsc::channel();
        let (read, values) = mpsc::channel();
        let desk = Desk {
            journal,
            orders: taken,
            report,
            progress: first,
            trims: Vec::new(),
            wanted: VecDeque::new(),
            value: Vec::new(),
            read,
        };
        let thread = std::thread::Builder::new().name("ganger-journal".to_owned()).spawn(move || desk.run());
        let thread =
            thread.map_err(|source| BrokerError::Io { what: "cannot start the journal's thread", source })?;
        Ok(Self { orders: Some(orders), progress, values, thread: Some(thread), handed: 0 })
    }

    /// What changes when the thread has come further, or has ended.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    fn order(&mut self, order: Order) -> Result<(), JournalError> {
        let sent = self.orders.as_ref().map(|orders| orders.send(order));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(self.why_it_ended()),
        }
    }

    /// The thread only ends by itself when the journal has failed.
    fn why_it_ended(&mut self) -> JournalError {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => error,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            Some(Ok(Ok(()))) | None => JournalError::Failed,
        }
    }
}

impl Journal for Writer {
    /// The journal was read before it was moved.
    fn read(&mut self, _each: &mut dyn FnMut(Lsn, Record)) -> Result<Recovered, JournalError> {
        Ok(Recovered::default())
    }

    /// Hands a batch over; returns how far everything is safe by now, which is not yet as far as this batch.
    fn append(&mut self, batch: &mut Vec<(Lsn, Record)>) -> Result<Lsn, JournalError> {
        if !batch.is_empty() {
            let bytes = batch.iter().map(|(_, record)| weight(record)).sum();
            self.handed += bytes;
            self.order(Order::Append(std::mem::take(batch), bytes))?;
        } else if self.progress.has_changed().is_err() {
            return Err(self.why_it_ended());
        }
        Ok(self.progress.borrow().upto)
    }

    fn trim(&mut self, before: Lsn) -> Result<(), JournalError> {
        self.order(Order::Trim(before))
    }

    /// The thread does it.
    fn tend(&mut self) -> Result<bool, JournalError> {
        Ok(false)
    }

    /// Hands the orders over; what comes of them is announced like everything else that the thread does.
    fn fetch(&mut self, wanted: &mut Vec<Stored>, came: &mut Vec<Bytes>) -> Result<(), JournalError> {
        for stored in wanted.drain(..) {
            self.order(Order::Value(stored))?;
        }
        came.extend(self.values.try_iter());
        Ok(())
    }

    fn usage(&self) -> Usage {
        self.progress.borrow().usage
    }

    fn waiting_bytes(&self) -> usize {
        self.handed - self.progress.borrow().written
    }

    /// Waits until everything that was handed over is safe.
    fn close(mut self) -> Result<(), JournalError> {
        self.orders = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Err(JournalError::Failed),
        }
    }
}

/// What the thread works with.
struct Desk<J> {
    journal: J,
    orders: Receiver<Order>,
    report: watch::Sender<Progress>,
    progress: Progress,
    /// What may go, once everything that was handed over before has been written.
    trims: Vec<Lsn>,
    /// Values that are to be read back, in this order.
    wanted: VecDeque<Stored>,
    /// What was read of the first.
    value: Vec<u8>,
    read: Sender<Bytes>,
}

/// What woke the thread.
enum Woken {
    /// Something is to be done.
    Work,
    /// Nothing came for a while.
    Pause,
    /// The broker has ended.
    End,
}

impl<J: Journal> Desk<J> {
    fn run(mut self) -> Result<(), JournalError> {
        let mut batch = Vec::new();
        loop {
            let mut bytes = 0;
            let woken = self.wait(&mut batch, &mut bytes)?;
            self.gather(&mut batch, &mut bytes);
            if !batch.is_empty() {
                self.progress.upto = self.write(&mut batch, &mut bytes)?;
                self.progress.written += bytes;
            }
            for before in std::mem::take(&mut self.trims) {
                self.journal.trim(before)?;
            }
            self.read_values()?;
            self.tell();
            if matches!(woken, Woken::End) && batch.is_empty() {
                return self.journal.close();
            }
        }
    }

    /// Waits for the first order, and does meanwhile what the journal has put off.
    fn wait(&mut self, batch: &mut Vec<(Lsn, Record)>, bytes: &mut usize) -> Result<Woken, JournalError> {
        loop {
            let order = match self.orders.try_recv() {
                Ok(order) => Ok(order),
                Err(mpsc::TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
                Err(mpsc::TryRecvError::Empty) if !self.wanted.is_empty() => return Ok(Woken::Work),
                Err(mpsc::TryRecvError::Empty) if self.journal.tend()? => continue,
                Err(mpsc::TryRecvError::Empty) => match self.journal.usage().is_short_of_room {
                    // Tending has looked at the room. Whoever is not told that there is some again takes
                    // nothing in, and then there is never a batch after which it would be told.
                    is_short if is_short != self.progress.usage.is_short_of_room => return Ok(Woken::Pause),
                    true => self.orders.recv_timeout(LOOK_EVERY),
                    false => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                },
            };
            return Ok(match order {
                Ok(order) => {
                    self.take(order, batch, bytes);
                    Woken::Work
                }
                Err(RecvTimeoutError::Timeout) => Woken::Pause,
                Err(RecvTimeoutError::Disconnected) => Woken::End,
            });
        }
    }

    /// Takes what has come meanwhile.
    fn gather(&mut self, batch: &mut Vec<(Lsn, Record)>, bytes: &mut usize) {
        while *bytes < BATCH_BYTES_MAX
            && let Ok(order) = self.orders.try_recv()
        {
            self.take(order, batch, bytes);
        }
    }

    fn take(&mut self, order: Order, batch: &mut Vec<(Lsn, Record)>, bytes: &mut usize) {
        match order {
            Order::Append(records, more) => {
                *bytes += more;
                match batch.is_empty() {
                    true => *batch = records,
                    false => batch.extend(records),
                }
            }
            Order::Trim(before) => self.trims.push(before),
            Order::Value(stored) => self.wanted.push_back(stored),
        }
    }

    /// Reads values back, for a while: what is to be written waits for no more than that.
    fn read_values(&mut self) -> Result<(), JournalError> {
        let begin = Instant::now();
        while let Some(stored) = self.wanted.front().copied()
            && begin.elapsed() < READ_TIME
        {
            if self.value.is_empty() {
                self.value.reserve_exact(stored.len as usize);
            }
            if self.journal.read_value(stored, &mut self.value, READ_BYTES)? {
                self.wanted.pop_front();
                // Nobody waits for it any more when the broker ends.
                let _ = self.read.send(std::mem::take(&mut self.value).into());
            }
        }
        Ok(())
    }

    /// Writes a batch; while there is no room, tries again and again: what is in it was not promised to
    /// anybody, and what was promised before is safe.
    fn write(&mut self, batch: &mut Vec<(Lsn, Record)>, bytes: &mut usize) -> Result<Lsn, JournalError> {
        let mut pause = FULL_RETRY;
        // What comes meanwhile does not make the batch larger than there may be room for.
        let mut later = Vec::new();
        loop {
            match self.journal.append(batch) {
                Err(error) if error.is_full() => {
                    if pause == FULL_RETRY {
                        tracing::error!(%error, "nothing new is taken until there is room");
                    }
                    if !self.serve_without_room(batch, &mut later, bytes, pause)? {
                        // The broker ends, and with it what was never promised.
                        return Err(error);
                    }
                    pause = (pause * 2).min(FULL_RETRY_MAX);
                }
                Ok(_) if !later.is_empty() => *batch = std::mem::take(&mut later),
                result => {
                    if pause > FULL_RETRY && result.is_ok() {
                        tracing::info!("there is room again");
                    }
                    return result;
                }
            }
        }
    }

    /// Does what needs no room for as long as `pause`: what runs may finish, and what was taken is given out,
    /// so values are read all the same, which stand in line behind records. Returns whether the broker goes on.
    fn serve_without_room(
        &mut self,
        batch: &mut Vec<(Lsn, Record)>,
        later: &mut Vec<(Lsn, Record)>,
        bytes: &mut usize,
        pause: Duration,
    ) -> Result<bool, JournalError> {
        let again = Instant::now() + pause;
        loop {
            // What carried records have made superfluous may be all the room that there is.
            for before in std::mem::take(&mut self.trims) {
                self.journal.trim(before)?;
            }
            self.read_values()?;
            self.tell();
            let left = again.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let wait = if self.wanted.is_empty() { left } else { Duration::ZERO };
            match self.orders.recv_timeout(wait) {
                Ok(order) if *bytes < BATCH_BYTES_MAX => self.take(order, batch, bytes),
                Ok(order) => self.take(order, later, bytes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
            }
        }
        self.journal.tend()?;
        Ok(true)
    }

    fn tell(&mut self) {
        self.progress.usage = self.journal.usage();
        self.report.send_replace(self.progress);
    }
}

/// What a record takes in memory and on the disk, roughly.
fn weight(record: &Record) -> usize {
    match record {
        Record::Accepted { tasks, .. } => tasks.iter().map(|task| ENTRY_BYTES + task.payload.len()).sum(),
        Record::Settled { tasks, .. } => tasks.iter().map(|task| ENTRY_BYTES + task.result.len()).sum(),
        Record::CarriedTasks(tasks) => tasks.iter().map(|task| ENTRY_BYTES + carried_bytes(task)).sum(),
        Record::CarriedTopic(topic) => {
            topic.entries.iter().map(|entry| ENTRY_BYTES + entry.key.len() + entry.value.len()).sum()
        }
        Record::CarriedHistory(changes) => changes.iter().map(change_bytes).sum(),
        Record::Knowledge(change) => change_bytes(change),
        Record::Started { .. }
        | Record::AttemptEnded(_)
        | Record::Retried { .. }
        | Record::Discarded { .. }
        | Record::KindPaused { .. }
        | Record::KindResumed { .. }
        | Record::Forgotten { .. }
        | Record::WorkerJoined { .. }
        | Record::WorkerLeft { .. }
        | Record::CarryBegun(_)
        | Record::CarryEnded { .. } => ENTRY_BYTES,
    }
}

fn carried_bytes(task: &ganger_scheduler::record::CarriedTask) -> usize {
    task.task.payload.len() + task.settled.as_ref().map_or(0, |settled| settled.result.len())
}

fn change_bytes(change: &ganger_scheduler::record::Change) -> usize {
    ENTRY_BYTES + change.topic.len() + change.key.len() + change.value.as_ref().map_or(0, bytes::Bytes::len)
}

#[cfg(test)]
mod tests;
