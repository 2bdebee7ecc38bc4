//! A desk to test the scheduler on: it owns the scheduler and a clock, plays the shell and the journal, and
//! notes every effect. What a test does not take from it makes the test fail.

mod clients;
mod make;
mod workers;

use std::time::Duration;

use ganger_common::{ConnId, Revision};
use ganger_scheduler::effect::{ClientReply, Effect, Publication, WorkerChange, WorkerCommand};
use ganger_scheduler::input::{ClientRequest, Input, WorkerRequest};
use ganger_scheduler::{Config, Data, Lsn, Now, Record, Scheduler, Stored, Time, Wall};

pub(crate) use clients::Client;
pub(crate) use make::*;
pub(crate) use workers::{Worker, worker_hello};

/// When every desk's day begins.
const MORNING: Now = Now { time: Time(1_000_000), wall: Wall(1_700_000_000_000) };

/// How often the peers at the desk say that they live.
const BEAT: Duration = Duration::from_millis(500);

pub(crate) struct Desk {
    pub(crate) scheduler: Scheduler,
    pub(crate) now: Now,
    /// Everything that was appended since the beginning.
    pub(crate) journal: Vec<(Lsn, Record)>,
    /// How much of it is safe.
    pub(crate) safe: usize,
    /// How much of its beginning was let go; it stays in `journal` for the tests to read.
    pub(crate) gone: usize,
    /// Safe at once, or only when a test says so.
    pub(crate) journals_at_once: bool,
    /// What came out and nobody has looked at.
    pub(crate) effects: Vec<Effect>,
    /// What became of workers. Nothing has to be done about it, so nobody has to look.
    pub(crate) changes: Vec<WorkerChange>,
    /// Peers that beat while time passes.
    alive: Vec<Beating>,
    /// When they beat next.
    next_beat: Time,
    conns: u64,
    seq: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Beating {
    Client(ConnId),
    Worker(ConnId, Revision),
}

impl Beating {
    pub(crate) fn conn(&self) -> ConnId {
        match self {
            Self::Client(conn) | Self::Worker(conn, _) => *conn,
        }
    }
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    /// A desk whose first re-attach window is over.
    pub(crate) fn with(set: impl FnOnce(&mut Config)) -> Self {
        let mut desk = Self::early(set);
        desk.pass(ganger_common::limits::REATTACH_WINDOW);
        desk
    }

    /// A desk that has just been opened.
    pub(crate) fn early(set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        set(&mut config);
        let mut desk = Self::around(Scheduler::new(config, MORNING), MORNING);
        desk.drain();
        desk
    }

    fn around(scheduler: Scheduler, now: Now) -> Self {
        Self {
            scheduler,
            now,
            journal: Vec::new(),
            safe: 0,
            gone: 0,
            journals_at_once: true,
            effects: Vec::new(),
            changes: Vec::new(),
            alive: Vec::new(),
            next_beat: now.time.plus(BEAT),
            conns: 0,
            seq: 0,
        }
    }

    /// The broker's process ends, and another one begins with what the journal has.
    pub(crate) fn restart(&mut self) {
        self.assert_quiet();
        let config = self.scheduler.config().clone();
        let records: Vec<_> = self.journal.drain(..).take(self.safe).collect();
        let scheduler =
            Scheduler::recover(config, self.now, records[self.gone..].iter().map(|it| (it.0, &it.1)));
        let scheduler = scheduler.expect("nothing is missing");
        self.replace(scheduler);
        self.journal = records;
        self.drain();
    }

    /// Another broker beside this one, with what the journal has.
    pub(crate) fn recovered(&self) -> Self {
        self.recovered_from(self.gone)
    }

    /// The same, with the records from this one on.
    pub(crate) fn recovered_from(&self, first: usize) -> Self {
        let config = self.scheduler.config().clone();
        let safe = &self.journal[first..self.safe];
        let records = safe.iter().map(|(lsn, record)| (*lsn, record));
        let scheduler = Scheduler::recover(config, self.now, records).expect("nothing is missing");
        let mut desk = Self::around(scheduler, self.now);
        (desk.journal, desk.safe) = (safe.to_vec(), safe.len());
        desk.drain();
        desk
    }

    /// The broker's process ends, and another one begins with nothing.
    pub(crate) fn restart_empty(&mut self) {
        self.assert_quiet();
        let mut config = self.scheduler.config().clone();
        config.epoch = config.epoch.next();
        self.replace(Scheduler::new(config, self.now));
        (self.safe, self.gone) = (0, 0);
        self.drain();
    }

    fn replace(&mut self, scheduler: Scheduler) {
        let conns = self.conns;
        let quick = self.journals_at_once;
        let (safe, gone) = (self.safe, self.gone);
        *self = Self::around(scheduler, self.now);
        (self.conns, self.journals_at_once, self.safe, self.gone) = (conns, quick, safe, gone);
    }

    /// The state has been carried: the records before this one go.
    pub(crate) fn let_go_before(&mut self, lsn: Lsn) {
        self.gone = self.journal.iter().position(|(at, _)| *at == lsn).expect("a record of this journal");
        assert!(self.gone < self.safe, "carried means safe");
    }

    pub(crate) fn conn(&mut self) -> ConnId {
        self.conns += 1;
        ConnId(self.conns)
    }

    pub(crate) fn feed(&mut self, input: Input) {
        self.scheduler.handle(self.now, input);
        self.drain();
    }

    pub(crate) fn client_says(&mut self, conn: ConnId, request: ClientRequest) {
        self.feed(Input::Client { conn, request });
    }

    pub(crate) fn worker_says(&mut self, conn: ConnId, request: WorkerRequest) {
        self.feed(Input::Worker { conn, request });
    }

    /// Plays the shell until nothing is left to do.
    pub(crate) fn drain(&mut self) {
        loop {
            while let Some(effect) = self.scheduler.poll_effect() {
                match effect {
                    Effect::Append { lsn, mut record } => {
                        self.copy_values(&mut record);
                        assert_eq!(lsn.0, self.last_lsn() + 1, "records are numbered without gaps");
                        self.journal.push((lsn, record));
                    }
                    Effect::Publish(Publication::Beat { .. }) => {}
                    Effect::Worker(change) => self.changes.push(change),
                    other => self.effects.push(other),
                }
            }
            self.scheduler.check_invariants();
            if !self.journals_at_once || self.safe == self.journal.len() {
                return;
            }
            self.tell_journaled();
        }
    }

    /// What only names values is written with the values, as a journal does it.
    fn copy_values(&self, record: &mut Record) {
        for (_, data) in record.values_mut() {
            if let Data::Stored(stored) = data {
                *data = self.value(*stored);
            }
        }
    }

    /// What the journal reads back for a name: only from what is safe and was not let go.
    pub(crate) fn value(&self, stored: Stored) -> Data {
        let mut kept = self.journal[self.gone..self.safe].iter();
        let (_, record) = kept.find(|(lsn, _)| *lsn == stored.lsn).expect("a record that is there");
        let (_, data) = record.values().find(|(index, _)| *index == stored.index).expect("a value of it");
        assert_eq!((data.len(), data.stored()), (stored.len as usize, None));
        data.clone()
    }

    fn last_lsn(&self) -> u64 {
        self.journal.last().map_or(0, |(lsn, _)| lsn.0)
    }

    fn tell_journaled(&mut self) {
        self.safe = self.journal.len();
        let upto = Lsn(self.last_lsn());
        self.scheduler.handle(self.now, Input::Journaled { upto });
    }

    /// From now on records are safe only when the test says so.
    pub(crate) fn hold_journal(&mut self) {
        self.journals_at_once = false;
    }

    /// The journal gets on by some records.
    pub(crate) fn journal_some(&mut self, count: usize) {
        self.safe = (self.safe + count).min(self.journal.len());
        let upto = Lsn(self.safe.checked_sub(1).map_or(0, |last| self.journal[last].0.0));
        self.feed(Input::Journaled { upto });
    }

    /// Everything that was appended is safe.
    pub(crate) fn journal_all(&mut self) {
        self.tell_journaled();
        self.drain();
    }

    /// Lets time pass: time-outs come when they are due, and peers that live say so.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now.time.plus(span);
        while let Some(step) = self.next_step().filter(|step| *step <= end) {
            self.go_to(step);
            if step >= self.next_beat {
                self.next_beat = step.plus(BEAT);
                self.everybody_beats();
            }
            self.wake();
        }
        self.go_to(end);
    }

    pub(crate) fn pass_ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
    }

    fn next_step(&self) -> Option<Time> {
        let due = self.scheduler.poll_timeout().map(|(at, _)| at);
        due.into_iter().chain([self.next_beat]).min()
    }

    /// Lets time pass without anybody noticing.
    pub(crate) fn stall(&mut self, span: Duration) {
        self.go_to(self.now.time.plus(span));
        self.next_beat = self.next_beat.max(self.now.time);
    }

    fn go_to(&mut self, time: Time) {
        let time = time.max(self.now.time);
        self.now.wall = self.now.wall.plus(time.since(self.now.time));
        self.now.time = time;
    }

    /// Hands the time-out back, as the shell does.
    pub(crate) fn wake(&mut self) {
        self.scheduler.handle_timeout(self.now);
        let next = self.scheduler.poll_timeout();
        assert!(next.is_none_or(|(at, _)| at > self.now.time), "{next:?} is still due: a busy loop");
        self.drain();
    }

    fn everybody_beats(&mut self) {
        for peer in self.alive.clone() {
            let kept = self.effects.len();
            self.beat(&peer);
            let conn = peer.conn();
            let is_answer = |effect: &Effect| match effect {
                Effect::ToClient { conn: to, reply: ClientReply::Heartbeat { .. } }
                | Effect::ToWorker { conn: to, command: WorkerCommand::Heartbeat { .. } } => *to == conn,
                _ => false,
            };
            let answer = self.effects[kept..].iter().position(is_answer);
            let answer = answer.unwrap_or_else(|| panic!("{conn} got no answer to its heartbeat"));
            self.effects.remove(kept + answer);
        }
    }

    /// Everything that came out and was not looked at.
    pub(crate) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Takes out what `pick` makes something of.
    pub(crate) fn pick<T>(&mut self, pick: impl Fn(&Effect) -> Option<T>) -> Vec<T> {
        let mut picked = Vec::new();
        self.effects.retain(|effect| match pick(effect) {
            Some(item) => {
                picked.push(item);
                false
            }
            None => true,
        });
        picked
    }

    /// Like [`pick`](Self::pick), when there must be exactly one.
    pub(crate) fn pick_one<T>(&mut self, what: &str, pick: impl Fn(&Effect) -> Option<T>) -> T {
        let mut picked = self.pick(pick);
        assert_eq!(picked.len(), 1, "one {what}; besides: {:?}", self.effects);
        picked.remove(0)
    }

    pub(crate) fn assert_quiet(&self) {
        assert!(self.effects.is_empty(), "nobody looked at {:#?}", self.effects);
    }

    /// How often something was counted.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        self.scheduler.counters().by_name()[name]
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_quiet();
        }
    }
}
