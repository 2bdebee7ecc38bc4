//! Anything may happen in any order, and still every task has exactly one last word.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_common::codec::{Blob, List};
use ganger_common::message::{
    Accepted, Durability, FromClient, OutcomeItem, Outcomes, Refusal, ToClient, Verdict, Verdicts, Welcome,
};
use ganger_common::version::PROTOCOL;
use ganger_common::{
    Attempt, ClientId, Epoch, ErrorCode, Outcome, Revision, SessionToken, TaskId, decode, encode,
};

use super::rig::id;
use crate::session::random::Random;
use crate::session::{Effect, Input, Session, SessionConfig, Submission, WakeReason};
use crate::task::NewTask;

/// A broker that does what the protocol says, in memory, and forgets everything when it is restarted.
#[derive(Default)]
struct Broker {
    epoch: u64,
    tasks: BTreeMap<TaskId, bool>,
    told: u64,
    /// On their way to the client; lost with the connection.
    replies: VecDeque<Bytes>,
}

impl Broker {
    fn hear(&mut self, frame: &Bytes, random: &mut Random, may_refuse: bool) {
        match decode::<FromClient<'_>>(frame).unwrap() {
            FromClient::Hello(_) => {
                self.told = 0;
                self.say(&ToClient::Welcome(self.welcome()));
            }
            FromClient::Submit(submit) => {
                let mut refused = Vec::new();
                let mut settled = Vec::new();
                for (index, task) in submit.tasks.iter().enumerate() {
                    match self.tasks.get(&task.id) {
                        Some(true) => settled.push(task.id),
                        Some(false) => {}
                        None if may_refuse && random.up_to(5) == 0 => refused.push(Refusal {
                            index: index as u32,
                            code: ErrorCode::Busy,
                            text: "full".into(),
                            retry_after_ms: Some(random.up_to(100) as u32),
                        }),
                        None => drop(self.tasks.insert(task.id, false)),
                    }
                }
                let (seq, durability) = (submit.seq, Durability::Memory);
                self.say(&ToClient::Accepted(Accepted { seq, durability, refused: List(refused) }));
                self.tell(&settled);
            }
            FromClient::Watch(watch) => {
                let unknown = |(index, _): (usize, &TaskId)| Verdict {
                    index: index as u32,
                    code: ErrorCode::UnknownTask,
                    text: "unknown".into(),
                };
                let of_unknown = |(_, id): &(usize, &TaskId)| !self.tasks.contains_key(*id);
                let refused = watch.tasks.iter().enumerate().filter(of_unknown).map(unknown).collect();
                let settled: Vec<TaskId> =
                    watch.tasks.iter().copied().filter(|id| self.tasks.get(id) == Some(&true)).collect();
                self.say(&ToClient::Verdicts(Verdicts { req: watch.req, refused }));
                self.tell(&settled);
            }
            _ => {}
        }
    }

    fn say(&mut self, message: &ToClient<'_>) {
        self.replies.push_back(encode(message));
    }

    /// Settles a task, and says so if somebody listens.
    fn settle(&mut self, id: TaskId, is_connected: bool) {
        self.tasks.insert(id, true);
        if is_connected {
            self.tell(&[id]);
        }
    }

    fn tell(&mut self, ids: &[TaskId]) {
        if ids.is_empty() {
            return;
        }
        self.told += ids.len() as u64;
        let item = |id: &TaskId| OutcomeItem {
            task: *id,
            outcome: Outcome::Succeeded.code(),
            attempt: Attempt(1),
            result: Blob(b"result"),
            detail: None,
        };
        let items = ids.iter().map(item).collect();
        self.say(&ToClient::Outcomes(Outcomes { upto: self.told, items }));
    }

    fn welcome(&self) -> Welcome<'static> {
        Welcome {
            protocol: PROTOCOL,
            broker: "a broker".into(),
            epoch: Epoch(self.epoch),
            heartbeat_ms: 1_000,
            liveness: 3,
            grace_ms: 2_000,
            durability: Durability::Memory,
            message_bytes_max: 64 << 20,
            payload_bytes_max: 1_000,
            batch_items_max: 8,
            revision: Revision(0),
            knowledge_port: 0,
        }
    }
}

/// A session, a broker, what is between them, and what was promised.
struct World {
    random: Random,
    session: Session,
    now: Instant,
    broker: Broker,
    is_connecting: bool,
    is_connected: bool,
    is_kind: bool,
    submitted: u64,
    left_window: u64,
    accepted: BTreeMap<u64, u32>,
    settled: BTreeMap<u64, u32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let client = ClientId::from_bytes([1; 16]);
        let config = SessionConfig {
            window_tasks: 30,
            ..SessionConfig::new(client, SessionToken::from_bytes([2; 16]), seed)
        };
        let now = Instant::now();
        Self {
            random: Random::new(seed),
            session: Session::new(config, now),
            now,
            broker: Broker::default(),
            is_connecting: false,
            is_connected: false,
            is_kind: false,
            submitted: 0,
            left_window: 0,
            accepted: BTreeMap::new(),
            settled: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        match self.random.up_to(if self.is_kind { 4 } else { 8 }) {
            0 => {
                if let Some(frame) = self.broker.replies.pop_front() {
                    self.handle(Input::Received(frame));
                }
            }
            1 => self.settle_some(),
            2 => self.pass(),
            3 if self.is_connecting => {
                self.is_connecting = false;
                self.is_connected = true;
                self.handle(Input::Connected);
            }
            3 | 4 => {}
            5 if self.is_connecting => {
                self.is_connecting = false;
                self.handle(Input::ConnectFailed { reason: "chance".to_owned() });
            }
            5 | 6 => self.submit_some(),
            7 if self.random.up_to(3) == 0 => self.cut(),
            7 => {}
            _ if self.random.up_to(9) == 0 => {
                self.broker = Broker { epoch: self.broker.epoch + 1, ..Broker::default() };
                self.cut();
            }
            _ => {}
        }
    }

    fn settle_some(&mut self) {
        let open: Vec<TaskId> =
            self.broker.tasks.iter().filter(|(_, settled)| !**settled).map(|(id, _)| *id).collect();
        for id in open {
            if self.random.up_to(1) == 0 {
                self.broker.settle(id, self.is_connected);
            }
        }
    }

    fn submit_some(&mut self) {
        let most = self.session.room() as u64;
        let count = self.random.up_to(most.min(10));
        let submission = |number| Submission {
            token: number,
            id: id(number),
            task: NewTask::new("kind", Bytes::from_static(b"payload")),
        };
        let tasks = (self.submitted..self.submitted + count).map(submission).collect();
        self.submitted += count;
        self.handle(Input::Submit(tasks));
    }

    /// Lets time pass until something is due, or a little less.
    fn pass(&mut self) {
        let Some((at, reason)) = self.session.poll_timeout() else { return };
        // A broker that is alive answers before it counts as silent.
        if matches!(reason, WakeReason::Silence | WakeReason::Unanswered) && self.is_kind {
            return self.beat();
        }
        self.now = match self.random.up_to(1) {
            0 => self.now.max(at),
            _ => self.now + at.saturating_duration_since(self.now) / 2,
        };
        self.session.handle_timeout(self.now);
        self.perform();
        self.beat();
    }

    fn beat(&mut self) {
        if self.is_connected && self.session.broker().is_some() {
            let beat = ganger_common::message::BrokerHeartbeat { mark: 1, revision: Revision(0) };
            self.handle(Input::Received(encode(&ToClient::Heartbeat(beat))));
        }
    }

    fn cut(&mut self) {
        self.broker.replies.clear();
        if std::mem::take(&mut self.is_connected) {
            self.handle(Input::Lost { reason: "chance".to_owned() });
        }
    }

    fn handle(&mut self, input: Input) {
        self.now += Duration::from_millis(self.random.up_to(2));
        self.session.handle(self.now, input);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(effect) = self.session.poll_effect() {
            match effect {
                Effect::Connect => self.is_connecting = true,
                Effect::Disconnect => {
                    self.is_connected = false;
                    self.broker.replies.clear();
                }
                Effect::Send(frame) => {
                    assert!(self.is_connected, "nothing is sent without a connection");
                    self.broker.hear(&frame, &mut self.random, !self.is_kind);
                }
                Effect::Accepted { tokens, .. } => {
                    tokens.into_iter().for_each(|token| *self.accepted.entry(token).or_default() += 1);
                }
                Effect::Settled(settled) => {
                    for one in settled {
                        assert!(self.accepted.contains_key(&one.token), "accepted before settled");
                        *self.settled.entry(one.token).or_default() += 1;
                    }
                }
                Effect::Room { tasks, .. } => self.left_window += tasks as u64,
                Effect::Failed { task, error, .. } => panic!("{task}: {error}"),
                _ => {}
            }
        }
    }
}

#[test]
fn every_task_has_one_last_word_whatever_happens() {
    let mut seen = crate::session::SessionCounters::default();
    for seed in 0..300 {
        let mut world = World::new(seed);
        (0..1_500).for_each(|_| world.step());
        world.is_kind = true;
        for steps in 0.. {
            if world.session.awaited() == 0 {
                break;
            }
            assert!(steps < 100_000, "seed {seed}: {} tasks are still awaited", world.session.awaited());
            world.step();
        }
        let once = |counts: &BTreeMap<u64, u32>| counts.values().all(|count| *count == 1);
        assert!(world.submitted > 0, "seed {seed}: nothing happened");
        assert_eq!(world.settled.len() as u64, world.submitted, "seed {seed}");
        assert!(once(&world.accepted) && once(&world.settled), "seed {seed}");
        assert_eq!(world.left_window, world.submitted, "seed {seed}: the window is empty again");
        assert_eq!(world.session.kept_bytes, 0, "seed {seed}: nothing is kept");
        let counters = world.session.counters();
        seen.resubmitted += counters.resubmitted;
        seen.busy += counters.busy;
        seen.outcomes_unclaimed += counters.outcomes_unclaimed;
    }
    let is_rare = seen.resubmitted < 1_000 || seen.busy < 1_000 || seen.outcomes_unclaimed < 10;
    assert!(!is_rare, "what this test is about hardly happened: {seen:?}");
}
