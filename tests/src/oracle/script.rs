//! Logs made by hand, in few words, for the tests of the checks.
//!
//! Everything advances the clock by one millisecond. Task `n` is of kind 0 and has payload `n`; every
//! handler of it returns the result `n`; client 0 hands everything in.

use std::time::Duration;

use ganger_common::message::Durability;
use ganger_common::{
    Attempt, AttemptEnd, ClientId, ConnId, Epoch, Outcome, Revision, TaskId, TaskOptions, WorkerId, limits,
};

use super::Violation;
use super::view::View;
use crate::sim::log::{At, ClientNo, Digest, Fact, LeaseId, Life, Log, Peer, Promise, RunEnd, WorkerNo};
use crate::sim::{Event, Facts};

pub(super) const CLIENT: ClientNo = ClientNo(0);

pub(super) struct Script {
    pub(super) facts: Facts,
    log: Log,
    now: u64,
    life: u32,
    lsn: u64,
    synced: u64,
    conns: u64,
    outcomes: Vec<(u32, Outcome, u32)>,
    options: TaskOptions,
}

pub(super) fn id(n: u32) -> TaskId {
    let mut bytes = [0; 16];
    bytes[12..].copy_from_slice(&n.to_be_bytes());
    TaskId::from_bytes(bytes)
}

pub(super) fn incarnation(worker: u16) -> WorkerId {
    WorkerId::from_bytes([worker as u8; 16])
}

impl Script {
    pub(super) fn journal() -> Self {
        Self::with(Durability::Journal)
    }

    pub(super) fn memory() -> Self {
        Self::with(Durability::Memory)
    }

    fn with(durability: Durability) -> Self {
        let facts = Facts {
            seed: 0,
            profile: "by hand",
            durability,
            heartbeat: limits::HEARTBEAT,
            liveness: limits::LIVENESS,
            grace: limits::GRACE,
            max_attempts: limits::ATTEMPTS_MAX,
            crash_limit: limits::CRASH_LIMIT,
            queue_tasks_max: 100,
            queue_bytes_max: 100_000,
            retains_all: true,
            payload_max: 1_000,
            outbox_bytes_max: 100_000,
            settle_within: Duration::from_secs(60),
            sync_max: Duration::from_millis(100),
        };
        let mut script = Self {
            facts,
            log: Log::default(),
            now: 0,
            life: 0,
            lsn: 0,
            synced: 0,
            conns: 0,
            outcomes: Vec::new(),
            options: TaskOptions::default(),
        };
        script.broker_up(0);
        script
    }

    // ---- Verdicts.

    fn verdicts(&self, check: fn(&View<'_>, &mut Vec<Violation>)) -> Vec<Violation> {
        let mut found = Vec::new();
        check(&View::of(&self.log, &self.facts), &mut found);
        found
    }

    #[track_caller]
    pub(super) fn passes(&self, check: fn(&View<'_>, &mut Vec<Violation>)) {
        let found = self.verdicts(check);
        assert!(found.is_empty(), "{}", found[0]);
    }

    #[track_caller]
    pub(super) fn fails(&self, check: fn(&View<'_>, &mut Vec<Violation>), invariant: &str, what: &str) {
        let found = self.verdicts(check);
        let names = |violation: &Violation| violation.invariant == invariant && violation.text.contains(what);
        assert!(found.iter().any(names), "no {invariant} that says {what:?} in {found:#?}");
    }

    // ---- Anything.

    pub(super) fn push(&mut self, event: Event) -> &mut Self {
        self.now += 1_000;
        self.log.push(At(self.now), event);
        self
    }

    pub(super) fn wait_ms(&mut self, ms: u64) -> &mut Self {
        self.now += ms * 1_000;
        self
    }

    /// What is next happens at the moment of the last.
    pub(super) fn at_once(&mut self) -> &mut Self {
        self.now -= 1_000;
        self
    }

    pub(super) fn life(&self) -> Life {
        Life(self.life)
    }

    pub(super) fn lease(&self, n: u32, attempt: u32) -> LeaseId {
        LeaseId { task: id(n), epoch: Epoch(self.life.into()), attempt: Attempt(attempt) }
    }

    /// What is submitted from now on has these options.
    pub(super) fn options(&mut self, set: impl FnOnce(&mut TaskOptions)) -> &mut Self {
        self.options = TaskOptions::default();
        set(&mut self.options);
        self
    }

    // ---- The broker.

    fn broker_up(&mut self, recovered: u64) -> &mut Self {
        self.life += 1;
        let (life, epoch) = (self.life(), Epoch(self.life.into()));
        let durability = self.facts.durability;
        self.push(Event::BrokerUp { life, epoch, durability, recovered })
    }

    pub(super) fn kill(&mut self) -> &mut Self {
        let life = self.life();
        self.push(Event::BrokerKilled { life })
    }

    /// Killed, and started again with everything that was written; nothing, in memory.
    pub(super) fn restart(&mut self) -> &mut Self {
        self.sync().kill();
        self.again()
    }

    /// Killed, and started again with what was synced.
    pub(super) fn lose_and_restart(&mut self) -> &mut Self {
        self.kill();
        self.lsn = self.synced;
        self.again()
    }

    fn again(&mut self) -> &mut Self {
        if self.facts.durability == Durability::Memory {
            (self.lsn, self.synced) = (0, 0);
        }
        let upto = self.lsn;
        self.push(Event::DiskKept { upto });
        self.broker_up(upto)
    }

    pub(super) fn append(&mut self, fact: Fact) -> &mut Self {
        self.lsn += 1;
        let (life, lsn) = (self.life(), self.lsn);
        self.push(Event::Appended { life, lsn, fact })
    }

    pub(super) fn sync(&mut self) -> &mut Self {
        self.synced = self.lsn;
        let (life, upto) = (self.life(), self.lsn);
        self.push(Event::Synced { life, upto })
    }

    pub(super) fn promise(&mut self, promise: Promise) -> &mut Self {
        let life = self.life();
        self.push(Event::PromiseLeft { life, to: Some(Peer::Client(CLIENT)), promise })
    }

    /// An end is acknowledged to the worker that reported it.
    pub(super) fn acknowledge(&mut self, worker: u16, lease: LeaseId) -> &mut Self {
        let (life, to) = (self.life(), Some(Peer::Worker(WorkerNo(worker))));
        self.push(Event::PromiseLeft { life, to, promise: Promise::EndAcknowledged(lease) })
    }

    /// An end is called stale.
    pub(super) fn stale(&mut self, worker: u16, lease: LeaseId) -> &mut Self {
        let (life, worker, incarnation) = (self.life(), WorkerNo(worker), incarnation(worker));
        self.push(Event::EndStale { life, worker, incarnation, lease })
    }

    // ---- The client.

    pub(super) fn submit(&mut self, n: u32) -> &mut Self {
        let options = Box::new(self.options.clone());
        self.push(Event::Submitted { client: CLIENT, task: id(n), kind: 0, payload: Digest(n), options })
    }

    pub(super) fn append_accepted(&mut self, n: u32) -> &mut Self {
        self.append_accepted_of(0, n)
    }

    pub(super) fn append_accepted_of(&mut self, client: u8, n: u32) -> &mut Self {
        self.append(Fact::Accepted(id(n), Some(ClientId::from_bytes([client; 16]))))
    }

    /// Taken, synced, promised and told.
    pub(super) fn accept(&mut self, n: u32) -> &mut Self {
        self.append_accepted(n).sync().promise(Promise::Accepted(id(n)));
        let durability = self.facts.durability;
        self.push(Event::Acknowledged { client: CLIENT, task: id(n), durability })
    }

    pub(super) fn hear(&mut self, n: u32, outcome: Outcome, attempt: u32, result: u32) -> &mut Self {
        let (attempt, result, dropped) = (Attempt(attempt), Digest(result), false);
        self.push(Event::OutcomeHeard { client: CLIENT, task: id(n), outcome, attempt, result, dropped })
    }

    pub(super) fn wait_fails(&mut self, n: u32) -> &mut Self {
        self.push(Event::WaitFailed { client: CLIENT, task: id(n), code: None })
    }

    pub(super) fn abandon(&mut self, n: u32) -> &mut Self {
        self.push(Event::WaitAbandoned { client: CLIENT, task: id(n) })
    }

    // ---- Workers.

    pub(super) fn worker(&mut self, worker: u16, slots: u32) -> &mut Self {
        let (incarnation, kinds) = (incarnation(worker), vec![0]);
        self.push(Event::WorkerUp { worker: WorkerNo(worker), incarnation, slots, kinds });
        self.connect(worker)
    }

    pub(super) fn connect(&mut self, worker: u16) -> &mut Self {
        self.conns += 1;
        let (peer, conn, epoch) =
            (Peer::Worker(WorkerNo(worker)), ConnId(self.conns), Epoch(self.life.into()));
        self.push(Event::Connected { peer, conn }).push(Event::Joined { peer, epoch })
    }

    pub(super) fn cut(&mut self, worker: u16) -> &mut Self {
        let (peer, conn) = (Peer::Worker(WorkerNo(worker)), ConnId(self.conns));
        let by = crate::sim::log::CutBy::Network;
        self.push(Event::Cut { peer, conn, lost_to_broker: 0, lost_to_peer: 0, by })
    }

    pub(super) fn give(&mut self, n: u32, worker: u16, attempt: u32) -> &mut Self {
        self.give_payload(n, worker, attempt, n)
    }

    pub(super) fn give_payload(&mut self, n: u32, worker: u16, attempt: u32, payload: u32) -> &mut Self {
        let lease = self.lease(n, attempt);
        let (life, incarnation, worker) = (self.life(), incarnation(worker), WorkerNo(worker));
        let payload = Digest(payload);
        self.push(Event::LeaseGiven { life, worker, incarnation, lease, kind: 0, payload, confirm: false })
    }

    pub(super) fn begin(&mut self, n: u32, worker: u16, attempt: u32) -> &mut Self {
        self.begin_knowing(n, worker, attempt, 0)
    }

    pub(super) fn begin_knowing(&mut self, n: u32, worker: u16, attempt: u32, knows: u64) -> &mut Self {
        let lease = self.lease(n, attempt);
        self.push(Event::RunStarted {
            worker: WorkerNo(worker),
            incarnation: incarnation(worker),
            lease,
            kind: 0,
            payload: Digest(n),
            knows: Revision(knows),
        })
    }

    pub(super) fn finish(&mut self, n: u32, worker: u16, attempt: u32) -> &mut Self {
        let lease = self.lease(n, attempt);
        self.run_ended(worker, lease, RunEnd::Succeeded(Digest(n)))
    }

    pub(super) fn run_ended(&mut self, worker: u16, lease: LeaseId, how: RunEnd) -> &mut Self {
        let (worker, incarnation) = (WorkerNo(worker), incarnation(worker));
        self.push(Event::RunEnded { worker, incarnation, lease, how })
    }

    pub(super) fn start_reported(&mut self, n: u32, worker: u16, attempt: u32) -> &mut Self {
        let (life, lease) = (self.life(), self.lease(n, attempt));
        let (worker, incarnation) = (WorkerNo(worker), incarnation(worker));
        self.push(Event::StartReported { life, worker, incarnation, lease })
    }

    pub(super) fn report(&mut self, n: u32, worker: u16, attempt: u32, end: AttemptEnd) -> &mut Self {
        let lease = self.lease(n, attempt);
        self.report_lease(worker, lease, end)
    }

    pub(super) fn report_lease(&mut self, worker: u16, lease: LeaseId, end: AttemptEnd) -> &mut Self {
        let bytes = lease.task.as_bytes();
        let n = u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
        let result = if end == AttemptEnd::Succeeded { Digest(n) } else { Digest(0) };
        let (life, worker, incarnation) = (self.life(), WorkerNo(worker), incarnation(worker));
        self.push(Event::EndReported { life, worker, incarnation, lease, end, result })
    }

    pub(super) fn bring(&mut self, worker: u16, lease: LeaseId) -> &mut Self {
        let (life, worker, incarnation) = (self.life(), WorkerNo(worker), incarnation(worker));
        self.push(Event::LeaseBrought { life, worker, incarnation, lease, started: true })
    }

    /// Given to worker 1 as its first attempt, run and reported, not settled.
    pub(super) fn run(&mut self, n: u32) -> &mut Self {
        self.give(n, 1, 1).begin(n, 1, 1).finish(n, 1, 1).report(n, 1, 1, AttemptEnd::Succeeded)
    }

    // ---- Ends.

    pub(super) fn attempt_ended(&mut self, n: u32, worker: u16, attempt: u32, end: AttemptEnd) -> &mut Self {
        let (attempt, worker) = (Attempt(attempt), incarnation(worker));
        self.append(Fact::AttemptEnded { task: id(n), attempt, worker, end })
    }

    pub(super) fn append_settled(&mut self, n: u32, outcome: Outcome, attempt: u32) -> &mut Self {
        self.outcomes.push((n, outcome, attempt));
        let result = result(n, outcome);
        self.append(Fact::Settled { task: id(n), outcome, attempt: Attempt(attempt), result })
    }

    pub(super) fn promise_outcome(&mut self, n: u32, outcome: Outcome, attempt: u32) -> &mut Self {
        let (attempt, result) = (Attempt(attempt), result(n, outcome));
        self.promise(Promise::Outcome { task: id(n), outcome, attempt, result })
    }

    /// Written, synced and promised.
    pub(super) fn settle(&mut self, n: u32, outcome: Outcome) -> &mut Self {
        self.append_settled(n, outcome, 1).sync().promise_outcome(n, outcome, 1)
    }

    /// Run, settled and heard.
    pub(super) fn run_through(&mut self, n: u32) -> &mut Self {
        self.run(n).settle(n, Outcome::Succeeded).hear(n, Outcome::Succeeded, 1, n)
    }

    // ---- The end of the run.

    pub(super) fn faults_end(&mut self) -> &mut Self {
        self.push(Event::FaultsEnded)
    }

    pub(super) fn audit(&mut self, n: u32, outcome: Option<Outcome>, attempt: u32) -> &mut Self {
        let result = outcome.filter(|outcome| *outcome == Outcome::Succeeded).map(|_| Digest(n));
        let (task, known, attempt) = (id(n), true, Attempt(attempt));
        self.push(Event::Audited { task, known, outcome, attempt, result })
    }

    pub(super) fn audit_unknown(&mut self, n: u32) -> &mut Self {
        let (task, outcome, attempt, result) = (id(n), None, Attempt(0), None);
        self.push(Event::Audited { task, known: false, outcome, attempt, result })
    }

    pub(super) fn end(&mut self) -> &mut Self {
        self.push(Event::Quiet)
    }

    /// The faults end, the audit finds what was settled, and the run ends.
    pub(super) fn quiet(&mut self) -> &mut Self {
        self.faults_end().push(Event::Settled);
        for (n, outcome, attempt) in std::mem::take(&mut self.outcomes) {
            self.audit(n, Some(outcome), attempt);
        }
        self.end()
    }
}

fn result(n: u32, outcome: Outcome) -> Digest {
    if outcome == Outcome::Succeeded { Digest(n) } else { Digest(0) }
}
