//! What passes over the wire, read by somebody who belongs to neither side.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ganger_common::message::publish::{BEAT, BeatHeader, DeltaHeader, PULSE, decode_header};
use ganger_common::message::{FromClient, FromWorker, KnowledgeAnswer, ToClient, ToWorker};
use ganger_common::{AttemptEnd, ConnId, ErrorCode, Outcome, Revision, TaskId, WorkerId, decode};
use ganger_scheduler::Data;
use ganger_scheduler::effect::Dispatch;

use super::log::{Digest, Event, LeaseId, Life, Peer, Promise, WorkerNo};
use super::world::World;

/// What was asked and has no answer yet, by connection.
#[derive(Debug, Default)]
pub(super) struct Wire {
    submits: BTreeMap<(ConnId, u64), Vec<TaskId>>,
    lists: BTreeMap<(ConnId, u64), (bool, Vec<TaskId>)>,
    discards: BTreeMap<(ConnId, u64), Vec<TaskId>>,
    /// Kinds that are to be paused, or resumed.
    kinds: BTreeMap<(ConnId, u64), Promise>,
    reports: BTreeMap<(ConnId, u64), Vec<LeaseId>>,
    workers: BTreeMap<ConnId, WorkerId>,
    named: BTreeMap<ConnId, Revision>,
    /// Leases that were given and whose payloads are being read, on which connection: the letter may go away with
    /// that, and the same lease be given again when the task was forgotten and handed in once more.
    waiting: BTreeSet<(ConnId, LeaseId)>,
}

fn lease(lease: &ganger_common::message::Lease) -> LeaseId {
    LeaseId { task: lease.task, epoch: lease.epoch, attempt: lease.attempt }
}

/// The number behind the name of a kind.
pub(super) fn kind_number(name: &str) -> u8 {
    name.strip_prefix('k').and_then(|number| number.parse().ok()).unwrap_or(u8::MAX)
}

impl World {
    /// A message has reached the broker.
    pub(super) fn read_up(&mut self, conn: ConnId, body: &Bytes) {
        match self.conns.get(&conn).map(|it| it.peer) {
            Some(Peer::Client(_)) => self.read_from_client(conn, body),
            Some(Peer::Worker(no)) => self.read_from_worker(conn, no, body),
            None => {}
        }
    }

    fn read_from_client(&mut self, conn: ConnId, body: &[u8]) {
        match decode::<FromClient<'_>>(body) {
            Ok(FromClient::Submit(submit)) => {
                let tasks = submit.tasks.iter().map(|task| task.id).collect();
                self.wire.submits.insert((conn, submit.seq), tasks);
            }
            Ok(FromClient::Cancel(list)) => {
                self.wire.lists.insert((conn, list.req), (true, list.tasks.0));
            }
            Ok(FromClient::Retry(list)) => {
                self.wire.lists.insert((conn, list.req), (false, list.tasks.0));
            }
            Ok(FromClient::Discard(discard)) => {
                self.wire.discards.insert((conn, discard.req), discard.tasks.0);
            }
            Ok(FromClient::Pause(one)) => {
                let promise = Promise::KindPaused(kind_number(&one.kind));
                self.wire.kinds.insert((conn, one.req), promise);
            }
            Ok(FromClient::Resume(one)) => {
                let promise = Promise::KindResumed(kind_number(&one.kind));
                self.wire.kinds.insert((conn, one.req), promise);
            }
            _ => {}
        }
    }

    fn read_from_worker(&mut self, conn: ConnId, worker: WorkerNo, body: &[u8]) {
        let life = self.broker.life;
        match decode::<FromWorker<'_>>(body) {
            Ok(FromWorker::Hello(hello)) => {
                self.wire.workers.insert(conn, hello.worker);
                for held in &*hello.holding {
                    let lease = LeaseId { task: held.task, epoch: held.epoch, attempt: held.attempt };
                    let (incarnation, started) = (hello.worker, held.started);
                    self.note(Event::LeaseBrought { life, worker, incarnation, lease, started });
                }
            }
            Ok(FromWorker::Report(report)) => {
                let Some(incarnation) = self.wire.workers.get(&conn).copied() else { return };
                for started in &*report.started {
                    let lease = lease(started);
                    self.note(Event::StartReported { life, worker, incarnation, lease });
                }
                let mut ended = Vec::new();
                for one in &*report.ended {
                    let lease = LeaseId { task: one.task, epoch: one.epoch, attempt: one.attempt };
                    let Some(end) = AttemptEnd::from_code(one.end) else { continue };
                    let result = Digest::of(one.result.0);
                    self.note(Event::EndReported { life, worker, incarnation, lease, end, result });
                    ended.push(lease);
                }
                if report.seq > 0 {
                    self.wire.reports.insert((conn, report.seq), ended);
                }
            }
            _ => {}
        }
    }

    /// A message leaves the broker.
    pub(super) fn read_down(&mut self, conn: ConnId, body: &Bytes) {
        match self.conns.get(&conn).map(|it| it.peer) {
            Some(peer @ Peer::Client(_)) => self.read_to_client(conn, peer, body),
            Some(peer @ Peer::Worker(no)) => self.read_to_worker(conn, peer, no, body),
            None => {}
        }
    }

    /// The transport did not take a message. Leases that were in it were given all the same.
    pub(super) fn read_refused(&mut self, conn: ConnId, body: &Bytes) {
        if let Some(Peer::Worker(no)) = self.conns.get(&conn).map(|it| it.peer)
            && let Ok(ToWorker::Tasks(_)) = decode::<ToWorker<'_>>(body)
        {
            self.read_to_worker(conn, Peer::Worker(no), no, body);
        }
    }

    fn promise(&mut self, to: Option<Peer>, promise: Promise) {
        let life = self.broker.life;
        self.note(Event::PromiseLeft { life, to, promise });
    }

    fn name_revision(&mut self, conn: ConnId, peer: Peer, revision: Revision) {
        let last = self.wire.named.entry(conn).or_default();
        if revision > *last {
            *last = revision;
            self.promise(Some(peer), Promise::RevisionNamed(revision));
        }
    }

    fn read_to_client(&mut self, conn: ConnId, peer: Peer, body: &[u8]) {
        let life = self.broker.life;
        let Ok(message) = decode::<ToClient<'_>>(body) else {
            return self.defect("the broker sent no message");
        };
        match message {
            ToClient::Welcome(welcome) => self.name_revision(conn, peer, welcome.revision),
            ToClient::Heartbeat(beat) => self.name_revision(conn, peer, beat.revision),
            ToClient::Accepted(accepted) => {
                let tasks = self.wire.submits.remove(&(conn, accepted.seq)).unwrap_or_default();
                let without_room = accepted.refused.iter().filter(|it| it.code == ErrorCode::StorageFull);
                self.figures.storage_refusals += without_room.count() as u64;
                for (index, task) in tasks.into_iter().enumerate() {
                    if accepted.refused.iter().all(|refused| refused.index as usize != index) {
                        self.promise(Some(peer), Promise::Accepted(task));
                    }
                }
            }
            ToClient::Outcomes(outcomes) => {
                for item in &*outcomes.items {
                    let Some(outcome) = Outcome::from_code(item.outcome) else { continue };
                    let (task, attempt, result) = (item.task, item.attempt, Digest::of(item.result.0));
                    self.promise(Some(peer), Promise::Outcome { task, outcome, attempt, result });
                }
            }
            ToClient::Verdicts(verdicts) => {
                let Some((cancels, tasks)) = self.wire.lists.remove(&(conn, verdicts.req)) else { return };
                for (index, task) in tasks.into_iter().enumerate() {
                    if verdicts.refused.iter().all(|refused| refused.index as usize != index) {
                        let promise = if cancels { Promise::Cancelled(task) } else { Promise::Retried(task) };
                        self.promise(Some(peer), promise);
                    }
                }
            }
            ToClient::Discarded(discarded) => {
                let tasks = self.wire.discards.remove(&(conn, discarded.req)).unwrap_or_default();
                for (index, task) in tasks.into_iter().enumerate() {
                    if discarded.refused.iter().all(|refused| refused.index as usize != index) {
                        self.promise(Some(peer), Promise::Discarded(task));
                    }
                }
            }
            ToClient::Done(done) => {
                if let Some(promise) = self.wire.kinds.remove(&(conn, done.req)) {
                    self.promise(Some(peer), promise);
                }
            }
            ToClient::Knowledge(reply) => match reply.answer {
                KnowledgeAnswer::Written { revision } => {
                    self.promise(Some(peer), Promise::KnowledgeWritten(revision));
                }
                answer => self.name_answer(conn, peer, &answer),
            },
            ToClient::Goodbye(goodbye) => {
                self.note(Event::GoodbyeSent { life, to: peer, code: goodbye.code });
            }
            _ => {}
        }
    }

    fn name_answer(&mut self, conn: ConnId, peer: Peer, answer: &KnowledgeAnswer<'_>) {
        match answer {
            KnowledgeAnswer::Entries { revision, .. } | KnowledgeAnswer::Changes { revision, .. } => {
                self.name_revision(conn, peer, *revision);
            }
            KnowledgeAnswer::Entry(entry) => self.name_revision(conn, peer, entry.revision),
            _ => {}
        }
    }

    fn read_to_worker(&mut self, conn: ConnId, peer: Peer, worker: WorkerNo, body: &[u8]) {
        let life = self.broker.life;
        let Ok(message) = decode::<ToWorker<'_>>(body) else {
            return self.defect("the broker sent no message");
        };
        let incarnation = self.wire.workers.get(&conn).copied();
        match message {
            ToWorker::Welcome(welcome) => self.name_revision(conn, peer, welcome.revision),
            ToWorker::Heartbeat(beat) => self.name_revision(conn, peer, beat.revision),
            ToWorker::Tasks(dispatch) => {
                let Some(incarnation) = incarnation else {
                    return self.defect("tasks went out on a connection without a hello");
                };
                for item in &*dispatch.tasks {
                    let lease = LeaseId { task: item.task, epoch: dispatch.epoch, attempt: item.attempt };
                    let (kind, payload) = (kind_number(item.kind.0), Digest::of(item.payload.0));
                    let confirm = item.detail.as_ref().is_some_and(|detail| detail.confirm);
                    if !self.wire.waiting.remove(&(conn, lease)) {
                        self.note(Event::LeaseGiven {
                            life,
                            worker,
                            incarnation,
                            lease,
                            kind,
                            payload,
                            confirm,
                        });
                    }
                }
            }
            ToWorker::Recall(recall) => {
                self.note(Event::RecallSent { life, worker, count: recall.count });
            }
            ToWorker::Cancel(cancel) => {
                for one in &*cancel.leases {
                    let (lease, stale) = (lease(one), cancel.code.is_some());
                    self.note(Event::CancelSent { life, worker, lease, stale });
                }
            }
            ToWorker::Ack(ack) => {
                let incarnation = incarnation.unwrap_or(WorkerId::from_bytes([0; 16]));
                for one in &*ack.stale {
                    let lease = lease(one);
                    self.note(Event::EndStale { life, worker, incarnation, lease });
                }
                let upto = (conn, ack.upto);
                while let Some((at, _)) = self.wire.reports.range((conn, 0)..=upto).next()
                    && let Some(leases) = self.wire.reports.remove(&at.clone())
                {
                    for lease in leases {
                        self.promise(Some(peer), Promise::EndAcknowledged(lease));
                    }
                }
            }
            ToWorker::Knowledge(reply) => self.name_answer(conn, peer, &reply.answer),
            ToWorker::Goodbye(goodbye) => {
                self.note(Event::GoodbyeSent { life, to: peer, code: goodbye.code });
            }
            ToWorker::Start(_) | ToWorker::Drain(_) | ToWorker::Error(_) => {}
        }
    }

    /// A lease counts from the moment when it is given, whatever has to be read before it leaves.
    pub(super) fn note_waiting_leases(&mut self) {
        let (life, epoch) = (self.broker.life, self.broker.epoch);
        let Some(shell) = &self.broker.shell else { return };
        let mut waiting: Vec<(ConnId, Dispatch)> =
            shell.waiting_leases().map(|(conn, dispatch)| (conn, dispatch.clone())).collect();
        waiting.sort_unstable_by_key(|(conn, dispatch)| (*conn, dispatch.task));
        for (conn, dispatch) in waiting {
            let lease = LeaseId { task: dispatch.task, epoch, attempt: dispatch.attempt };
            let Some(Peer::Worker(worker)) = self.conns.get(&conn).map(|it| it.peer) else { continue };
            let Some(incarnation) = self.wire.workers.get(&conn).copied() else { continue };
            if !self.wire.waiting.insert((conn, lease)) {
                continue;
            }
            let (kind, confirm) = (kind_number(&dispatch.kind), dispatch.confirm());
            let payload = match dispatch.payload {
                Data::Inline(bytes) => Some(bytes),
                Data::Stored(stored) => self.disk.value(stored),
            };
            let payload = Digest::of(&payload.unwrap_or_default());
            self.note(Event::LeaseGiven { life, worker, incarnation, lease, kind, payload, confirm });
        }
    }

    /// Something is published.
    pub(super) fn read_published(&mut self, parts: &[Bytes; 3]) {
        let revision = match &*parts[0] {
            topic if topic == BEAT.as_bytes() || topic == PULSE.as_bytes() || topic.starts_with(b"b/") => {
                decode_header::<BeatHeader>(&parts[1]).map(|header| header.revision)
            }
            _ => decode_header::<DeltaHeader<'_>>(&parts[1]).map(|header| header.revision),
        };
        match revision {
            Ok(revision) if revision > self.published => {
                self.published = revision;
                self.promise(None, Promise::RevisionNamed(revision));
            }
            Ok(_) => {}
            Err(_) => self.defect("the broker published what cannot be read"),
        }
    }

    /// A broker is gone, and with it every question.
    pub(super) fn forget_wire(&mut self, _life: Life) {
        self.wire = Wire::default();
        self.published = Revision(0);
    }
}
