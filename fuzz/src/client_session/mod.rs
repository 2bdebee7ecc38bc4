//! A broker that says anything to a client.
//!
//! The client's session is real; the broker, the connection and the clock are the fuzzer. Whatever the
//! broker says:
//! - The session asks for a connection only when it has none, and sends only when it has one.
//! - It sends only messages that a broker can read.
//! - Every task handed in and every question has exactly one last word, at the latest when the client is
//!   closed, and an acknowledgement comes at most once, before it.
//! - The window gives back what it took. No timer goes off without end.

mod says;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_client::NewTask;
use ganger_client::session::request::{Ask, DiscardQuery, Request, TaskQuery};
use ganger_client::session::{Effect, Input, Session, SessionConfig, Submission, Token};
use ganger_common::message::FromClient;
use ganger_common::view::Among;
use ganger_common::{Revision, SessionToken, TaskId, decode};

use crate::choices::Choices;
use crate::hostile;

/// Timers that may go off at one moment before it counts as a loop without end.
const TIMERS_MAX: usize = 64;
/// Decisions after which an input ends: what a fuzzer finds should be short.
const STEPS_MAX: usize = 1_000;

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

/// What was asked of the session under one token.
#[derive(Debug, Default)]
struct Wanted {
    /// It is a task that was handed in, so that it is acknowledged before it settles.
    is_submission: bool,
    accepted: u32,
    last_words: u32,
}

/// What the broker could answer.
#[derive(Debug, Default)]
struct Heard {
    submits: Vec<(u64, u32)>,
    watches: Vec<(u64, u32)>,
    requests: Vec<u64>,
    tasks: Vec<TaskId>,
}

struct World {
    session: Session,
    now: Instant,
    is_connecting: bool,
    is_connected: bool,
    is_over: bool,
    wanted: BTreeMap<Token, Wanted>,
    heard: Heard,
    /// Tasks inside the window, as the session has told.
    entered: i64,
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        let now = Instant::now();
        let config = SessionConfig {
            window_tasks: 8,
            window_bytes: 4 << 10,
            kept_bytes_max: 256,
            resubmit_lost: !choices.rarely(4),
            ..SessionConfig::new(hostile::client(0), SessionToken::from_bytes([0x5e; 16]), 7)
        };
        let mut world = Self {
            session: Session::new(config, now),
            now,
            is_connecting: false,
            is_connected: false,
            is_over: false,
            wanted: BTreeMap::new(),
            heard: Heard::default(),
            entered: 0,
        };
        // The way to an open session is the same in every input that gets anywhere.
        if !choices.rarely(8) {
            world.pass(Duration::ZERO);
            world.handle(Input::Connected);
            world.hear(says::welcome(choices));
        }
        world
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.up_to(11) {
            0..=4 => {
                let frame = says::anything(choices, &self.heard);
                for _ in 0..if choices.rarely(16) { 20 } else { 1 } {
                    self.hear(frame.clone());
                }
            }
            5 | 6 => self.submit(choices),
            7 => self.ask(choices),
            8 => {
                let token = self.want(false);
                let tasks = vec![(token, hostile::task(choices))];
                self.handle(Input::Watch { tasks, events: choices.flag() });
            }
            9 => self.connection(choices),
            10 => {
                let due = self.session.poll_timeout().map(|(due, _)| due.saturating_duration_since(self.now));
                self.pass(due.unwrap_or_default());
            }
            _ => self.pass(Duration::from_millis(choices.number().min(100_000_000_000))),
        }
    }

    fn connection(&mut self, choices: &mut Choices<'_>) {
        match choices.up_to(7) {
            0..=2 if self.is_connecting => self.connected(),
            3 if self.is_connecting => {
                self.is_connecting = false;
                self.handle(Input::ConnectFailed { reason: "no".to_owned() });
            }
            4..=6 if self.is_connected => {
                self.is_connected = false;
                self.handle(Input::Lost { reason: "lost".to_owned() });
            }
            7 if choices.rarely(32) => self.handle(Input::Close),
            // News of a connection that is none any more.
            _ if !self.is_connected && !self.is_connecting => {
                self.handle(Input::Received(Bytes::from_static(b"\x92")));
            }
            _ => {}
        }
    }

    fn connected(&mut self) {
        self.is_connecting = false;
        self.is_connected = true;
        self.handle(Input::Connected);
    }

    fn submit(&mut self, choices: &mut Choices<'_>) {
        let mut tasks = Vec::new();
        for _ in 0..=choices.up_to(3) {
            let payload = vec![b'p'; choices.number() as usize % 5_000];
            let mut task = NewTask::new(hostile::text(choices), payload);
            if choices.rarely(8) {
                task = task.detached();
            }
            tasks.push(Submission { token: self.want(true), id: hostile::task(choices), task });
        }
        self.entered += tasks.len() as i64;
        self.handle(Input::Submit(tasks));
    }

    fn ask(&mut self, choices: &mut Choices<'_>) {
        let token = self.want(false);
        let text = hostile::text(choices).to_owned();
        let request = match choices.up_to(13) {
            10 => Request::Discard(vec![hostile::task(choices); usize::from(choices.up_to(3))]),
            11 => {
                let kind = choices.flag().then(|| text.clone());
                Request::DiscardAll(DiscardQuery {
                    among: choices.pick(&Among::ALL),
                    kind,
                    after: Some(text),
                })
            }
            12 => Request::Pause { kind: text },
            13 => Request::Resume { kind: text },
            0 => Request::Cancel(vec![hostile::task(choices); usize::from(choices.up_to(3))]),
            1 => Request::Retry(vec![hostile::task(choices)]),
            2 => Request::Fetch(hostile::task(choices)),
            3 => Request::Explain(hostile::task(choices)),
            4 => Request::List(TaskQuery { kind: Some(text), ..TaskQuery::default() }),
            5 => Request::Workers { after: choices.flag().then_some(text) },
            6 => Request::Status,
            7 => Request::Drain { workers: vec![text], broker: false, deadline: None },
            8 => Request::Publish { topic: text, body: Bytes::new() },
            _ => Request::Knowledge(Ask::Since(Revision(choices.number()))),
        };
        self.handle(Input::Ask { token, request });
    }

    fn want(&mut self, is_submission: bool) -> Token {
        let token = self.wanted.len() as Token;
        self.wanted.insert(token, Wanted { is_submission, ..Wanted::default() });
        token
    }

    fn hear(&mut self, frame: Bytes) {
        self.handle(Input::Received(frame));
    }

    /// Lets time pass. A shell takes in what is there before it calls a timer.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        for _ in 0..TIMERS_MAX {
            if self.session.poll_timeout().is_none_or(|(due, _)| due > self.now) {
                return;
            }
            self.session.handle_timeout(self.now);
            self.perform();
        }
        panic!("a timer goes off without end: {:?}", self.session.poll_timeout());
    }

    fn handle(&mut self, input: Input) {
        if matches!(input, Input::Connected) {
            self.is_connecting = false;
            self.is_connected = true;
        }
        self.session.handle(self.now, input);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(effect) = self.session.poll_effect() {
            assert!(!self.is_over || !matches!(effect, Effect::Connect | Effect::Send(_)), "over is over");
            match effect {
                Effect::Connect => {
                    assert!(!self.is_connecting && !self.is_connected, "one connection at a time");
                    self.is_connecting = true;
                }
                Effect::Send(frame) => {
                    assert!(self.is_connected, "nothing is sent without a connection");
                    self.note(&frame);
                }
                Effect::Disconnect => {
                    assert!(self.is_connected, "what is closed was open");
                    self.is_connected = false;
                }
                Effect::Ended(_) => {
                    assert!(!std::mem::replace(&mut self.is_over, true), "there is one end");
                    self.is_connecting = false;
                }
                Effect::Accepted { tokens, .. } => tokens.iter().for_each(|token| self.accept(*token)),
                Effect::Settled(settled) => {
                    for one in settled {
                        let wanted = &self.wanted[&one.token];
                        let is_told = !wanted.is_submission || wanted.accepted == 1;
                        assert!(is_told, "task {} is settled before it was accepted", one.outcome.id);
                        self.last_word(one.token);
                    }
                }
                Effect::Failed { token, .. } | Effect::Answer { token, .. } => self.last_word(token),
                Effect::Room { tasks, .. } => self.entered -= tasks as i64,
                Effect::Opened(_) | Effect::Down { .. } | Effect::Event { .. } | Effect::Notice { .. } => {}
            }
        }
    }

    fn accept(&mut self, token: Token) {
        let wanted = self.wanted.get_mut(&token).expect("only what was wanted is accepted");
        wanted.accepted += 1;
        assert!(wanted.accepted == 1 && wanted.last_words == 0, "{token}: {wanted:?}");
    }

    fn last_word(&mut self, token: Token) {
        let wanted = self.wanted.get_mut(&token).expect("only what was wanted is answered");
        wanted.last_words += 1;
        assert!(wanted.last_words == 1, "{token} has a second last word");
    }

    /// What the client said, so that the broker can answer as if it were one.
    fn note(&mut self, frame: &Bytes) {
        match decode::<FromClient<'_>>(frame).expect("a broker can read it") {
            FromClient::Submit(submit) => {
                self.heard.submits.push((submit.seq, submit.tasks.len() as u32));
                self.heard.tasks.extend(submit.tasks.iter().map(|task| task.id));
            }
            FromClient::Watch(watch) => {
                self.heard.watches.push((watch.req, watch.tasks.len() as u32));
                self.heard.tasks.extend(watch.tasks.iter());
            }
            FromClient::Cancel(list) | FromClient::Retry(list) => self.heard.requests.push(list.req),
            FromClient::Discard(discard) => self.heard.requests.push(discard.req),
            FromClient::Pause(one) | FromClient::Resume(one) => self.heard.requests.push(one.req),
            FromClient::Fetch(one) | FromClient::Payload(one) | FromClient::Explain(one) => {
                self.heard.requests.push(one.req);
            }
            FromClient::List(list) => self.heard.requests.push(list.req),
            FromClient::ListWorkers(page) => self.heard.requests.push(page.req),
            FromClient::Status(request) => self.heard.requests.push(request.req),
            FromClient::Drain(drain) => self.heard.requests.push(drain.req),
            FromClient::Knowledge(request) => self.heard.requests.push(request.req),
            FromClient::Publish(request) => self.heard.requests.push(request.req),
            FromClient::Hello(_) | FromClient::Heartbeat(_) | FromClient::Ack(_) | FromClient::Goodbye(_) => {
            }
        }
    }

    fn finish(mut self) {
        self.handle(Input::Close);
        assert!(self.is_over, "a client that is closed is over");
        let silent: Vec<_> = self.wanted.iter().filter(|(_, wanted)| wanted.last_words != 1).collect();
        assert!(silent.is_empty(), "nobody told: {silent:?}");
        assert_eq!((self.session.awaited(), self.session.unacknowledged()), (0, 0), "nothing is left");
        assert!(self.session.poll_timeout().is_none(), "nothing is due");
    }
}
