//! The session itself: its four verbs, and what every part of it shares.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use ganger_common::message::{FromClient, Goodbye};
use ganger_common::{ErrorCode, encode};

use super::ask::Asked;
use super::config::SessionConfig;
use super::event::{Broker, Effect, Input};
use super::line::Line;
use super::link::Link;
use super::random::Random;
use super::submit::Batch;
use super::table::{Key, Table};
use super::watch::Watching;
use super::window::Window;
use crate::error::{Error, Result};

/// A client's conversation with a broker, across any number of connections.
///
/// See the [module](super) for the contract.
#[derive(Debug)]
pub struct Session {
    pub(super) config: SessionConfig,
    pub(super) now: Instant,
    pub(super) random: Random,
    pub(super) link: Link,
    /// Connections in a row that did not last.
    pub(super) failures: u32,
    pub(super) effects: VecDeque<Effect>,
    pub(super) table: Table,
    pub(super) window: Window,
    /// To be handed in: first what the broker may have had before, then what is new.
    pub(super) again: Line,
    pub(super) fresh: Line,
    pub(super) batches: BTreeMap<u64, Batch>,
    pub(super) next_seq: u64,
    /// The broker has no room before this.
    pub(super) busy_until: Option<Instant>,
    pub(super) to_watch: VecDeque<Key>,
    pub(super) watches: BTreeMap<u64, Watching>,
    pub(super) asked: BTreeMap<u64, Asked>,
    pub(super) to_ask: VecDeque<u64>,
    pub(super) next_req: u64,
    /// Outcomes of this connection: the last that came, and the last that was confirmed.
    pub(super) stream_seen: u64,
    pub(super) stream_confirmed: u64,
    pub(super) kept_bytes: usize,
    pub(super) counters: SessionCounters,
}

/// What a session has seen so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionCounters {
    /// Sessions opened: connections that the broker welcomed.
    pub opened: u64,
    /// Tasks handed in, each time counted.
    pub submitted: u64,
    /// Batches handed in.
    pub batches: u64,
    /// Tasks handed in more than once.
    pub resubmitted: u64,
    /// Tasks that the broker had no room for, each time counted.
    pub busy: u64,
    /// Outcomes that somebody waited for.
    pub outcomes: u64,
    /// Outcomes that nobody waited for any more.
    pub outcomes_unclaimed: u64,
}

/// Why a session wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum WakeReason {
    /// The pause before the next connection is over.
    Reconnect,
    /// The broker has not said welcome.
    NoWelcome,
    /// A heartbeat is due.
    Heartbeat,
    /// The broker has been silent for too long.
    Silence,
    /// Something sent has no answer.
    Unanswered,
    /// A broker that was full may have room again.
    Busy,
}

impl Session {
    /// A session that will want to connect at once.
    pub fn new(config: SessionConfig, now: Instant) -> Self {
        Self {
            random: Random::new(config.seed),
            window: Window::new(config.window_tasks, config.window_bytes),
            config,
            now,
            link: Link::Waiting { until: now },
            failures: 0,
            effects: VecDeque::new(),
            table: Table::default(),
            again: Line::default(),
            fresh: Line::default(),
            batches: BTreeMap::new(),
            next_seq: 1,
            busy_until: None,
            to_watch: VecDeque::new(),
            watches: BTreeMap::new(),
            asked: BTreeMap::new(),
            to_ask: VecDeque::new(),
            next_req: 1,
            stream_seen: 0,
            stream_confirmed: 0,
            kept_bytes: 0,
            counters: SessionCounters::default(),
        }
    }

    /// Takes something in.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Connected => self.on_connected(),
            Input::ConnectFailed { reason } | Input::Lost { reason } => self.on_lost(&reason),
            Input::Received(frame) => self.on_frame(&frame),
            Input::Submit(tasks) => tasks.into_iter().for_each(|task| self.on_submit(task)),
            Input::Watch { tasks, events } => {
                tasks.into_iter().for_each(|(token, id)| self.on_watch(token, id, events));
            }
            Input::Ask { token, request } => self.on_ask(token, request),
            Input::Close => self.on_close(),
        }
    }

    /// Does what is due. Calling it early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.busy_until.is_some_and(|until| until <= self.now) {
            self.busy_until = None;
        }
        match &self.link {
            Link::Waiting { until } if *until <= self.now => {
                self.link = Link::Connecting;
                self.effects.push_back(Effect::Connect);
            }
            Link::Greeting { deadline } if *deadline <= self.now => {
                self.drop_connection("no welcome came");
            }
            Link::Open(open) if open.silent_at() <= self.now => {
                self.drop_connection("the broker fell silent");
            }
            Link::Open(_) if self.unanswered_at().is_some_and(|at| at <= self.now) => {
                self.drop_connection("a message was not answered");
            }
            Link::Open(open) if open.beat_at <= self.now => self.beat(),
            _ => {}
        }
    }

    /// The next thing to do, or nothing.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        // What has gathered is put into messages only now: a shell that takes in all there is before it
        // asks for effects gets few large batches instead of many small ones.
        if self.effects.is_empty() {
            self.flush();
        }
        self.effects.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) if nothing happens before, and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, WakeReason)> {
        let busy = self.busy_until.filter(|_| self.has_queued()).map(|at| (at, WakeReason::Busy));
        let link = match &self.link {
            Link::Waiting { until } => return Some((*until, WakeReason::Reconnect)),
            Link::Greeting { deadline } => return Some((*deadline, WakeReason::NoWelcome)),
            Link::Connecting | Link::Over(_) => return None,
            Link::Open(open) => {
                let beat = (open.beat_at, WakeReason::Heartbeat);
                let silence = (open.silent_at(), WakeReason::Silence);
                beat.min(silence)
            }
        };
        let unanswered = self.unanswered_at().map(|at| (at, WakeReason::Unanswered));
        [Some(link), unanswered, busy].into_iter().flatten().min()
    }

    /// The broker behind the present connection.
    pub fn broker(&self) -> Option<&Broker> {
        self.link.open().map(|open| &open.broker)
    }

    /// How many more small tasks the window takes.
    pub fn room(&self) -> usize {
        self.window.room()
    }

    /// Tasks handed in and not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.window.tasks()
    }

    /// Tasks that somebody waits for.
    pub fn awaited(&self) -> usize {
        self.table.len()
    }

    /// What has happened so far.
    pub fn counters(&self) -> SessionCounters {
        self.counters
    }

    /// Whether nothing more will come of it.
    pub fn is_over(&self) -> bool {
        matches!(self.link, Link::Over(_))
    }

    /// Why nothing more will come of it, once nothing will.
    pub fn end_reason(&self) -> Option<&Error> {
        match &self.link {
            Link::Over(error) => Some(error),
            _ => None,
        }
    }

    fn on_close(&mut self) {
        if self.link.open().is_some() {
            // What was taken in before the end is handed in before the end.
            self.flush();
            let goodbye = FromClient::Goodbye(Goodbye { code: None, text: "".into() });
            self.effects.push_back(Effect::Send(encode(&goodbye)));
        }
        self.end(Error::Closed);
    }

    /// The end, for everybody who waits.
    pub(super) fn end(&mut self, error: Error) {
        match std::mem::replace(&mut self.link, Link::Over(error.clone())) {
            Link::Over(first) => {
                self.link = Link::Over(first);
                return;
            }
            Link::Greeting { .. } | Link::Open(_) => self.effects.push_back(Effect::Disconnect),
            Link::Waiting { .. } | Link::Connecting => {}
        }
        for key in self.table.keys() {
            self.fail(key, &error);
        }
        self.end_questions(&error);
        self.again.clear();
        self.fresh.clear();
        self.batches.clear();
        self.effects.push_back(Effect::Ended(error));
    }

    /// Whether there is still somebody to talk to.
    pub(super) fn check_alive(&self) -> Result<()> {
        match &self.link {
            Link::Over(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    pub(super) fn notice(&mut self, code: ErrorCode, text: &str) {
        self.effects.push_back(Effect::Notice { code, text: text.to_owned() });
    }

    /// Puts into messages what has gathered.
    fn flush(&mut self) {
        if self.link.open().is_some() {
            self.confirm_outcomes();
            self.send_questions();
            self.send_watches();
            self.send_batches();
        }
        if let Some((tasks, units)) = self.window.take_freed() {
            self.effects.push_back(Effect::Room { tasks, units });
        }
    }

    /// When the oldest message without an answer counts as lost.
    fn unanswered_at(&self) -> Option<Instant> {
        let batch = self.batches.values().next().map(|batch| batch.sent_at);
        let watch = self.watches.values().next().map(|watch| watch.sent_at);
        let asked = self.asked.values().next().and_then(|asked| asked.sent_at);
        [batch, watch, asked].into_iter().flatten().min().map(|at| at + super::config::PATIENCE)
    }
}
