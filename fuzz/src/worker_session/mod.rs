//! A broker that says anything to a worker, and publishes anything to its replica.
//!
//! The worker's session is real; the broker, the connections, the executors and the clock are the fuzzer.
//! Whatever the broker says:
//! - The session asks for a connection only when it has none, and sends only when it has one.
//! - It sends only messages that a broker can read.
//! - It runs no more tasks at a time than it has slots, none of them twice under one ticket, and tells
//!   only those to stop that run.
//! - The revision of its knowledge never goes back in one life of the broker.
//! - No timer goes off without end. A worker that is told to drain leaves, and holds nothing then.

mod says;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::message::{FromWorker, KnowledgeRequest, Lease};
use ganger_common::{Epoch, Revision, SessionToken, decode};
use ganger_worker::Knowledge;
use ganger_worker::replica::Publication;
use ganger_worker::session::{Config, Effect, End, Failure, Incoming, Input, Kinds, Session, Ticket};
use ganger_worker::time::Time;

use crate::choices::Choices;
use crate::hostile;

/// Timers that may go off at one moment before it counts as a loop without end.
const TIMERS_MAX: usize = 64;
/// Decisions after which an input ends: what a fuzzer finds should be short.
const STEPS_MAX: usize = 1_000;
/// Longest time that passes at once: some years.
const PASS_MAX: Duration = Duration::from_secs(100_000_000);
/// Slots of the worker.
const SLOTS: u32 = 3;
/// Longer than any worker takes to leave once it is told to: the drain's deadline, and the last
/// acknowledgements.
const LEAVES_WITHIN: Duration = Duration::from_secs(60);

/// Runs one input.
pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut world = World::new(&mut choices);
    for _ in 0..STEPS_MAX {
        if choices.is_over() {
            break;
        }
        world.step(&mut choices);
    }
    world.finish();
}

/// What the broker could answer.
#[derive(Debug, Default)]
struct Heard {
    /// The last report.
    seq: u64,
    /// Questions about knowledge.
    requests: Vec<u64>,
    /// Leases that it named.
    leases: Vec<Lease>,
}

struct World {
    session: Session,
    knowledge: Knowledge,
    now: Time,
    is_connecting: bool,
    is_connected: bool,
    is_greeted: bool,
    is_subscribing: bool,
    is_stopped: bool,
    running: BTreeSet<Ticket>,
    used: BTreeSet<Ticket>,
    heard: Heard,
    /// The epoch of the last welcome, and the newest revision seen in it.
    seen: (Epoch, Revision),
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        let config = Config {
            worker: hostile::worker(0),
            token: SessionToken::from_bytes([0x5e; 16]),
            name: "w".to_owned(),
            host: "h".to_owned(),
            pid: 1,
            kinds: Arc::new(Kinds::new(["resize", "a"])),
            slots: SLOTS,
            seed: 1,
            drain_deadline: Duration::from_secs(30),
            knowledge_is_set: false,
        };
        let (knowledge, now) = (Knowledge::new(), Time(1_000));
        let mut world = Self {
            session: Session::new(config, knowledge.clone(), now),
            knowledge,
            now,
            is_connecting: false,
            is_connected: false,
            is_greeted: false,
            is_subscribing: false,
            is_stopped: false,
            running: BTreeSet::new(),
            used: BTreeSet::new(),
            heard: Heard::default(),
            seen: (Epoch(0), Revision(0)),
        };
        // The way to an open session is the same in every input that gets anywhere.
        if !choices.rarely(8) {
            world.pass(Duration::ZERO);
            world.connected();
            world.hear(&says::welcome(choices));
        }
        world
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.up_to(15) {
            0..=4 => {
                let frame = says::anything(choices, &self.heard);
                for _ in 0..if choices.rarely(16) { 20 } else { 1 } {
                    self.hear(&frame);
                }
            }
            5 | 6 => {
                if let Some(publication) = Publication::read(&says::publication(choices)) {
                    self.handle(Input::Publication(publication));
                }
            }
            7..=9 => self.take(),
            10 | 11 => self.finish_one(choices),
            12 => self.tell(choices),
            13 => self.connection(choices),
            14 => {
                let due = self.session.poll_timeout().map(|due| due.since(self.now));
                // A deadline may be the end of all time, where nothing can follow.
                self.pass(due.unwrap_or_default().min(PASS_MAX));
            }
            _ => self.pass(Duration::from_millis(choices.number()).min(PASS_MAX)),
        }
    }

    fn connection(&mut self, choices: &mut Choices<'_>) {
        match choices.up_to(9) {
            0..=3 if self.is_connecting => self.connected(),
            4 if self.is_connecting || self.is_connected => {
                (self.is_connecting, self.is_connected) = (false, false);
                self.handle(Input::Disconnected);
            }
            5 | 6 if self.is_subscribing => {
                self.is_subscribing = false;
                self.handle(Input::Subscribed);
            }
            7 => {
                self.is_subscribing = false;
                self.handle(Input::Unsubscribed);
            }
            8 if choices.rarely(16) => {
                let deadline = choices.flag().then(|| Duration::from_millis(choices.number()));
                self.handle(Input::Drain { deadline });
            }
            9 if choices.rarely(64) => self.handle(Input::Stop),
            // News of a connection that is none any more.
            _ if !self.is_connected => self.hear(b"\x92"),
            _ => {}
        }
    }

    fn connected(&mut self) {
        (self.is_connecting, self.is_connected, self.is_greeted) = (false, true, false);
        self.handle(Input::Connected);
    }

    fn take(&mut self) {
        if let Some(assignment) = self.session.take(self.now) {
            assert!(self.running.len() < SLOTS as usize, "no more run than there are slots");
            assert!(self.used.insert(assignment.ticket), "no ticket is used twice");
            self.running.insert(assignment.ticket);
            self.heard.leases.push(assignment.lease);
        }
        self.perform();
    }

    fn finish_one(&mut self, choices: &mut Choices<'_>) {
        let running: Vec<Ticket> = self.running.iter().copied().collect();
        let Some(ticket) = choices.pick_some(&running) else { return };
        self.running.remove(&ticket);
        let end = match choices.flag() {
            true => End::Succeeded(vec![b'r'; choices.number() as usize % 3_000].into()),
            false => End::Failed(Failure {
                text: hostile::text(choices).to_owned(),
                is_final: choices.flag(),
                retry_after_ms: choices.flag().then(|| choices.number()),
            }),
        };
        self.session.finish(self.now, ticket, end);
        self.perform();
    }

    fn tell(&mut self, choices: &mut Choices<'_>) {
        let running: Vec<Ticket> = self.running.iter().copied().collect();
        let ticket = choices.pick_some(&running).unwrap_or(Ticket { slot: 9, serial: 9 });
        match choices.flag() {
            true => {
                let fraction = choices.flag().then_some(f32::from(choices.up_to(2)) / 0.0);
                self.session.progress(self.now, ticket, fraction, hostile::text(choices).to_owned());
            }
            false => {
                self.session.partial(ticket, &Bytes::from_static(b"part"));
            }
        }
        self.perform();
    }

    fn hear(&mut self, frame: &[u8]) {
        let frame = Bytes::copy_from_slice(frame);
        let input = Input::frame(self.session.kinds(), &frame);
        self.handle(input);
    }

    fn handle(&mut self, input: Input) {
        // Only the first welcome of a connection says which life of the broker it is.
        if let Input::Message(Incoming::Welcome(opening)) = &input
            && self.is_connected
            && !std::mem::replace(&mut self.is_greeted, true)
            && self.seen.0 != opening.epoch
        {
            self.seen = (opening.epoch, Revision(0));
        }
        self.session.handle(self.now, input);
        self.perform();
    }

    /// Lets time pass. A shell takes in what is there before it calls a timer.
    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        for _ in 0..TIMERS_MAX {
            if self.session.poll_timeout().is_none_or(|due| due > self.now) {
                return;
            }
            self.session.handle_timeout(self.now);
            self.perform();
        }
        panic!("a timer goes off without end: {:?} at {:?}", self.session.poll_timeout(), self.now);
    }

    fn perform(&mut self) {
        while let Some(effect) = self.session.poll_effect() {
            assert!(!self.is_stopped, "over is over: {effect:?}");
            match effect {
                Effect::Connect => {
                    assert!(!self.is_connecting && !self.is_connected, "one connection at a time");
                    self.is_connecting = true;
                }
                Effect::Send(message) => {
                    assert!(self.is_connected, "nothing is sent without a connection");
                    self.note(&message.encode());
                }
                Effect::Disconnect { .. } => {
                    assert!(self.is_connected, "what is closed was open");
                    self.is_connected = false;
                }
                Effect::Subscribe { .. } => self.is_subscribing = true,
                Effect::Cancel { ticket, .. } => {
                    assert!(self.running.contains(&ticket), "only what runs is told to stop");
                }
                Effect::Broadcast { .. } => {}
                Effect::Stopped(stop) => {
                    assert_eq!(stop.unfinished, self.running.len(), "what still runs is counted");
                    self.is_stopped = true;
                }
            }
        }
        let revision = self.knowledge.revision();
        // A snapshot of another life begins at zero.
        assert!(revision >= self.seen.1 || revision == Revision(0), "knowledge goes back: {revision}");
        self.seen.1 = self.seen.1.max(revision);
    }

    /// What the worker said, so that the broker can answer as if it were one.
    fn note(&mut self, frame: &Bytes) {
        match decode::<FromWorker<'_>>(frame).expect("a broker can read it") {
            FromWorker::Report(report) => self.heard.seq = self.heard.seq.max(report.seq),
            FromWorker::Knowledge(KnowledgeRequest { req, .. }) => self.heard.requests.push(req),
            _ => {}
        }
    }

    fn finish(mut self) {
        self.handle(Input::Drain { deadline: None });
        let end = self.now.plus(LEAVES_WITHIN);
        while !self.is_stopped && self.now < end {
            // Not from timer to timer: a hostile broker may have asked for a heartbeat every millisecond.
            self.pass(Duration::from_secs(1));
            // A network that is there takes up every try.
            if self.is_connecting {
                self.connected();
            }
        }
        assert!(self.is_stopped, "a worker that drains leaves in time");
        assert!(self.session.poll_timeout().is_none(), "nothing is due");
        assert!(self.session.take(self.now).is_none(), "nothing is begun");
    }
}
