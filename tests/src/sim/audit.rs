//! The end of a run: everything settles, and an auditor who never fails asks for everything.

use ganger_client::Error;
use std::collections::BTreeSet;
use std::time::Duration;

use ganger_client::session::request::{Answer, Ask, Reply, Request};
use ganger_common::view::StatusView;
use ganger_common::{Revision, TaskId};

use super::client::{Book, ClientNode, Wait};
use super::handler::Script;
use super::log::{ClientNo, Digest, Event, Fact, map_checksum};
use super::plan::{Act, Flavour, MS};
use super::wire::kind_number;
use super::world::{Stage, World};

/// Questions of the auditor that are under way together.
const AUDITED_AT_ONCE: usize = 8;
/// More tries than any task gets.
const TRIES: u64 = 5;
/// Closing tasks for each slot that there is.
const CLOSING_PER_SLOT: u32 = 2;

impl World {
    /// Hands in more than all workers can hold, so that every one of them has to do with it.
    pub(super) fn close_up(&mut self) {
        let slots: u32 = self.workers.iter().map(|it| it.plan.slots).sum();
        // A task that asks for knowledge must find it.
        let kinds = u32::from(self.plan.kinds);
        let count = (slots * CLOSING_PER_SLOT * kinds).min(60);
        self.submit_new(ClientNo(0), count as u16, Flavour::Closing);
    }

    /// How long the worker that serves every kind would need, alone, for all that anybody still waits for and
    /// all that is left of what nobody waits for any more.
    pub(super) fn open_work(&self) -> Duration {
        let slots = self.workers.first().map_or(1, |it| u64::from(it.plan.slots.max(1)));
        let open = self.clients.iter().flat_map(|it| &it.books);
        let mut open: BTreeSet<&TaskId> = open
            .filter(|(_, book)| matches!(book, Book::Asked | Book::Acknowledged))
            .map(|(id, _)| id)
            .collect();
        let mut left = BTreeSet::new();
        for (_, entry) in self.log.iter() {
            match &entry.event {
                Event::Appended { fact: Fact::Accepted(task, _) | Fact::Retried(task), .. } => {
                    left.insert(task)
                }
                Event::Appended { fact: Fact::Settled { task, .. }, .. } => left.remove(task),
                _ => continue,
            };
        }
        open.append(&mut left);
        let each = open.into_iter().filter_map(|id| self.tasks.get(id)).map(|task| {
            let may_fail = task.script != Script::Succeeds || task.options.run_limit_ms.is_some();
            let tries = if may_fail { TRIES } else { 1 };
            let limit = task.options.run_limit_ms.map_or(0, |limit| limit * MS);
            tries * (task.run.1 + limit)
        });
        Duration::from_micros(each.sum::<u64>() / slots)
    }

    /// A broker that has lost its memory counts revisions anew. Tasks that ask for a revision of its last
    /// life wait, rightly, until there is one of that number.
    pub(super) fn open_gates(&mut self, newest: Revision) {
        let gate = self.tasks.values().filter_map(|task| task.options.knowledge).max().unwrap_or_default();
        let is_asking = self.clients[0].waits.values().any(|wait| matches!(wait, Wait::Knowledge { .. }));
        if newest < gate && !is_asking {
            (newest.0..gate.0).for_each(|_| self.act(ClientNo(0), Act::Put));
        }
    }

    /// Whatever was paused and not resumed is resumed now, or its tasks would wait for ever, rightly.
    pub(super) fn resume_kinds(&mut self, status: &StatusView) {
        let is_asking = self.clients[0].waits.values().any(|wait| matches!(wait, Wait::Kind { .. }));
        let paused = status.kinds.iter().filter(|kind| kind.paused && !is_asking);
        for kind in paused.map(|kind| kind_number(&kind.kind)).collect::<Vec<u8>>() {
            self.act(ClientNo(0), Act::Resume(kind));
        }
    }

    /// Whether nobody waits for anything and nothing is left to do.
    pub(super) fn is_settled(&self, status: &StatusView) -> bool {
        let nobody_waits = self.clients.iter().all(|it| it.waits.is_empty() && it.outside.is_empty());
        let is_told = self.acts_done == self.acts.len();
        let is_idle = status.queued + status.delayed + status.assigned + status.running == 0;
        let is_safe = self.disk.unsynced_batches() == 0;
        nobody_waits && is_told && is_idle && is_safe && self.replicas_converged(status.revision)
    }

    /// Whether every worker's copy of the knowledge map is the newest.
    pub(super) fn replicas_converged(&self, newest: Revision) -> bool {
        self.workers.iter().all(|it| it.has_caught_up(self.broker.epoch, newest))
    }

    pub(super) fn begin_audit(&mut self) {
        self.stage = Stage::Auditing;
        self.note(Event::Settled);
        let auditor = ClientNo(self.clients.len() as u16);
        self.clients.push(ClientNode::new(auditor));
        self.plan.window = 4_096;
        self.start_client(auditor);
        self.to_audit = self.tasks.keys().rev().copied().collect();
        self.ask_on();
        let everything = Ask::List { prefix: String::new(), after: None, keys_only: false };
        self.ask(auditor, Wait::AuditMap, Request::Knowledge(everything));
    }

    /// The auditor asks for some more. Not for all at once: the smallest queue of a connection that a seed
    /// draws would not hold the answers.
    pub(super) fn ask_on(&mut self) {
        let auditor = ClientNo(self.clients.len() as u16 - 1);
        if !self.client(auditor).waits.is_empty() {
            return;
        }
        for _ in 0..AUDITED_AT_ONCE {
            let Some(task) = self.to_audit.pop() else { return };
            self.ask(auditor, Wait::Audit { task }, Request::Fetch(task));
        }
    }

    pub(super) fn on_audit(&mut self, task: TaskId, result: Result<Answer, Error>) {
        self.note(match result {
            Ok(Answer::Task { task: view, result }) => Event::Audited {
                task,
                known: true,
                outcome: view.outcome,
                attempt: view.attempt,
                result: result.as_deref().map(Digest::of),
            },
            Err(Error::Refused { .. }) => Event::Audited {
                task,
                known: false,
                outcome: None,
                attempt: ganger_common::Attempt(0),
                result: None,
            },
            other => return self.defect(&format!("the auditor was answered {other:?}")),
        });
    }

    pub(super) fn on_audit_map(&mut self, result: Result<Answer, Error>) {
        let Ok(Answer::Knowledge(Reply::Entries { revision, items, more: false })) = result else {
            return self.defect("the auditor was not given the knowledge map");
        };
        for item in &items {
            self.note(Event::AuditedKnowledge {
                topic: item.topic.clone(),
                key: item.key.clone(),
                revision: item.revision,
                value: Digest::of(item.value.as_deref().unwrap_or_default()),
            });
        }
        let checksum = map_checksum(items.iter().map(|item| {
            let value = Digest::of(item.value.as_deref().unwrap_or_default());
            (&*item.topic, &*item.key, item.revision, value)
        }));
        self.note(Event::AuditedMap { revision, checksum });
        for place in 0..self.workers.len() {
            let no = self.workers[place].no;
            let is_there = self.worker(no).is_up() && self.worker(no).knowledge.revision() == revision;
            if is_there && self.replica_checksum(no) != checksum {
                let text = format!("the copy of worker {} is not the knowledge map", no.0);
                self.defect(&text);
            }
        }
    }

    pub(super) fn end_audit_if_done(&mut self) {
        if self.to_audit.is_empty() && self.clients.iter().all(|it| it.waits.is_empty()) {
            self.note(Event::Quiet);
            self.stage = Stage::Over;
        }
    }
}
