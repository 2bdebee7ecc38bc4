//! A session on a bench: five lines make a test.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_common::codec::{Blob, List};
use ganger_common::message::{
    Accepted, BrokerHeartbeat, Durability, ErrorReply, FromClient, OutcomeItem, Outcomes, Refusal, ToClient,
    Verdict, Verdicts, Welcome,
};
use ganger_common::version::PROTOCOL;
use ganger_common::{
    Attempt, ClientId, Epoch, ErrorCode, Outcome, Revision, SessionToken, TaskId, decode, encode,
};

use crate::error::{Error, Result};
use crate::session::request::{Answer, Request};
use crate::session::{Effect, Input, Session, SessionConfig, Submission, Token, WakeReason};
use crate::task::NewTask;

/// An effect, as a test compares it.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Seen {
    Connect,
    Disconnect,
    Opened,
    Down(Duration),
    Ended(Error),
    Hello,
    Heartbeat(u64),
    Submit { seq: u64, again: bool, tasks: Vec<u64> },
    Watch { req: u64, tasks: Vec<u64>, events: bool },
    Ack(u64),
    Asked(u64),
    Goodbye,
    Accepted(Vec<Token>),
    Settled(Vec<(Token, Outcome)>),
    Failed(Token, Error),
    Answer(Token, Result<Answer>),
    Event(u64),
    Room(usize),
    Notice(ErrorCode),
}

/// A session, a clock, and a broker played by hand.
pub(super) struct Rig {
    pub(super) session: Session,
    pub(super) now: Instant,
    pub(super) epoch: Epoch,
    pub(super) durability: Durability,
    pub(super) last_submit_wants_events: bool,
}

pub(super) fn id(number: u64) -> TaskId {
    TaskId::from_bytes(u128::from(number).to_be_bytes())
}

fn number(id: TaskId) -> u64 {
    u128::from_be_bytes(*id.as_bytes()) as u64
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut SessionConfig)) -> Self {
        let client = ClientId::from_bytes([1; 16]);
        let mut config = SessionConfig::new(client, SessionToken::from_bytes([2; 16]), 7);
        change(&mut config);
        let now = Instant::now();
        let session = Session::new(config, now);
        Self {
            session,
            now,
            epoch: Epoch(1),
            durability: Durability::Memory,
            last_submit_wants_events: false,
        }
    }

    /// With an open session and nothing left to do.
    pub(super) fn open() -> Self {
        let mut rig = Self::new();
        rig.connect();
        rig
    }

    /// Through pause, connection and welcome. Returns what follows the welcome.
    pub(super) fn connect(&mut self) -> Vec<Seen> {
        if let Some((at, WakeReason::Reconnect)) = self.session.poll_timeout() {
            self.now = self.now.max(at);
        }
        self.session.handle_timeout(self.now);
        assert_eq!(self.seen(), [Seen::Connect]);
        assert_eq!(self.handle(Input::Connected), [Seen::Hello]);
        let mut seen = self.welcome();
        assert_eq!(seen.remove(0), Seen::Opened);
        seen
    }

    pub(super) fn welcome(&mut self) -> Vec<Seen> {
        let welcome = Welcome {
            protocol: PROTOCOL,
            broker: "a broker".into(),
            epoch: self.epoch,
            heartbeat_ms: 1_000,
            liveness: 3,
            grace_ms: 2_000,
            durability: self.durability,
            message_bytes_max: 64 << 20,
            payload_bytes_max: 1_000,
            batch_items_max: 4,
            revision: Revision(0),
            knowledge_port: 0,
        };
        self.hear(&ToClient::Welcome(welcome))
    }

    pub(super) fn handle(&mut self, input: Input) -> Vec<Seen> {
        self.session.handle(self.now, input);
        self.seen()
    }

    pub(super) fn hear(&mut self, message: &ToClient<'_>) -> Vec<Seen> {
        self.handle(Input::Received(encode(message)))
    }

    pub(super) fn lose(&mut self) -> Vec<Seen> {
        self.handle(Input::Lost { reason: "cut".to_owned() })
    }

    /// Hands in tasks of these numbers; the number is the token, too.
    pub(super) fn submit(&mut self, numbers: impl IntoIterator<Item = u64>) -> Vec<Seen> {
        let submission = |number| Submission {
            token: number,
            id: id(number),
            task: NewTask::new("kind", Bytes::from_static(b"payload")),
        };
        self.handle(Input::Submit(numbers.into_iter().map(submission).collect()))
    }

    pub(super) fn submit_task(&mut self, number: u64, task: NewTask) -> Vec<Seen> {
        self.handle(Input::Submit(vec![Submission { token: number, id: id(number), task }]))
    }

    pub(super) fn accept(&mut self, seq: u64) -> Vec<Seen> {
        self.refuse(seq, &[])
    }

    /// Accepts a batch but for these: place, code, delay.
    pub(super) fn refuse(&mut self, seq: u64, refused: &[(u32, ErrorCode, u32)]) -> Vec<Seen> {
        let refusal = |(index, code, ms): &(u32, ErrorCode, u32)| Refusal {
            index: *index,
            code: *code,
            text: "no".into(),
            retry_after_ms: (*ms > 0).then_some(*ms),
        };
        let refused = List(refused.iter().map(refusal).collect());
        self.hear(&ToClient::Accepted(Accepted { seq, durability: self.durability, refused }))
    }

    pub(super) fn settle(&mut self, upto: u64, numbers: &[u64]) -> Vec<Seen> {
        let item = |number: &u64| OutcomeItem {
            task: id(*number),
            outcome: Outcome::Succeeded.code(),
            attempt: Attempt(1),
            result: Blob(b"result"),
            detail: None,
        };
        self.hear(&ToClient::Outcomes(Outcomes { upto, items: numbers.iter().map(item).collect() }))
    }

    /// Answers a request for outcomes: these places are unknown.
    pub(super) fn forget(&mut self, req: u64, places: &[u32]) -> Vec<Seen> {
        let verdict =
            |index: &u32| Verdict { index: *index, code: ErrorCode::UnknownTask, text: "unknown".into() };
        self.hear(&ToClient::Verdicts(Verdicts { req, refused: places.iter().map(verdict).collect() }))
    }

    pub(super) fn watch(&mut self, numbers: &[u64]) -> Vec<Seen> {
        let tasks = numbers.iter().map(|number| (*number, id(*number))).collect();
        self.handle(Input::Watch { tasks, events: false })
    }

    pub(super) fn ask(&mut self, token: Token, request: Request) -> Vec<Seen> {
        self.handle(Input::Ask { token, request })
    }

    pub(super) fn beat(&mut self, mark: u64) -> Vec<Seen> {
        self.hear(&ToClient::Heartbeat(BrokerHeartbeat { mark, revision: Revision(0) }))
    }

    pub(super) fn complain(&mut self, code: ErrorCode) -> Vec<Seen> {
        self.hear(&ToClient::Error(ErrorReply { req: None, code, text: "no".into(), retry_after_ms: None }))
    }

    /// Lets time pass as a shell would: every time-out is handed back when it comes, and afterwards nothing
    /// is due any more.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<Seen> {
        let end = self.now + time;
        let mut seen = Vec::new();
        while let Some((at, _)) = self.session.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            seen.extend(self.seen());
            let next = self.session.poll_timeout();
            assert!(next.is_none_or(|(next, _)| next > self.now), "{next:?} is due for ever");
        }
        self.now = end;
        seen
    }

    pub(super) fn seen(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(effect) = self.session.poll_effect() {
            if let Effect::Send(frame) = &effect
                && let Ok(FromClient::Submit(submit)) = decode(frame)
            {
                let wants = |task: &ganger_common::message::NewTask<'_>| {
                    task.options.as_ref().is_some_and(|options| options.events)
                };
                self.last_submit_wants_events = submit.tasks.iter().any(wants);
            }
            seen.push(look(effect, self.now));
        }
        seen
    }
}

fn look(effect: Effect, now: Instant) -> Seen {
    match effect {
        Effect::Connect => Seen::Connect,
        Effect::Disconnect => Seen::Disconnect,
        Effect::Opened(_) => Seen::Opened,
        Effect::Down { retry_at, .. } => Seen::Down(retry_at - now),
        Effect::Ended(error) => Seen::Ended(error),
        Effect::Send(frame) => said(&frame),
        Effect::Accepted { tokens, .. } => Seen::Accepted(tokens),
        Effect::Settled(settled) => {
            Seen::Settled(settled.into_iter().map(|one| (one.token, one.outcome.outcome)).collect())
        }
        Effect::Failed { token, error, .. } => Seen::Failed(token, error),
        Effect::Answer { token, result } => Seen::Answer(token, result),
        Effect::Event { task, .. } => Seen::Event(number(task)),
        Effect::Room { tasks, .. } => Seen::Room(tasks),
        Effect::Notice { code, .. } => Seen::Notice(code),
    }
}

fn said(frame: &Bytes) -> Seen {
    let numbers = |tasks: &[TaskId]| tasks.iter().copied().map(number).collect();
    match decode::<FromClient<'_>>(frame).unwrap() {
        FromClient::Hello(_) => Seen::Hello,
        FromClient::Heartbeat(beat) => Seen::Heartbeat(beat.mark),
        FromClient::Submit(submit) => Seen::Submit {
            seq: submit.seq,
            again: submit.again,
            tasks: submit.tasks.iter().map(|task| number(task.id)).collect(),
        },
        FromClient::Watch(watch) => {
            Seen::Watch { req: watch.req, tasks: numbers(&watch.tasks), events: watch.events }
        }
        FromClient::Ack(ack) => Seen::Ack(ack.upto),
        FromClient::Status(asked) => Seen::Asked(asked.req),
        FromClient::Cancel(list) => Seen::Asked(list.req),
        FromClient::Discard(discard) => Seen::Asked(discard.req),
        FromClient::Goodbye(_) => Seen::Goodbye,
        other => panic!("a test that says {other:?} must be able to see it"),
    }
}
