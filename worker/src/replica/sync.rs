//! Bringing the map to the newest revision.

use std::collections::BTreeSet;
use std::time::Duration;

use ganger_common::message::{FromWorker, KnowledgeOp, KnowledgeRequest, Topic};
use ganger_common::{ErrorCode, Revision};

use super::{Answer, Change, EARLY_MAX, Replica, ReplicaEffect};
use crate::time::Time;

/// A newer revision was heard of: its change may be on its way. Asking at once would ask for nearly
/// everything that is published.
const CHECK_AFTER: Duration = Duration::from_millis(50);
/// A question without an answer is asked again after this.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// After an answer that did not help.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How the map gets on.
#[derive(Debug)]
pub(super) enum Stage {
    /// There is no broker.
    Detached,
    /// Changes come as they are published.
    Following {
        /// Ask for what is missing then.
        check_at: Option<Time>,
    },
    /// Changes were asked for.
    Asked { req: u64, until: Time },
    /// The whole map is being fetched, page by page.
    Snapshot(Snapshot),
}

#[derive(Debug)]
pub(super) struct Snapshot {
    /// The question that is open, or when to ask.
    req: Option<u64>,
    until: Time,
    /// The revision of the first page.
    first: Option<Revision>,
    /// Topic and key of the last entry.
    after: Option<(String, String)>,
    /// The names that it contains; all of them are in the map.
    seen: BTreeSet<(String, String)>,
}

impl Replica {
    /// There is a revision of this number.
    pub fn on_newest(&mut self, now: Time, revision: Revision) {
        self.newest = self.newest.max(revision);
        if self.newest > self.applied {
            self.check_soon(now);
        }
    }

    pub(super) fn check_soon(&mut self, now: Time) {
        if let Stage::Following { check_at: check_at @ None } = &mut self.stage {
            *check_at = Some(now.plus(CHECK_AFTER));
        }
    }

    pub(super) fn on_change(&mut self, now: Time, change: Change) {
        self.newest = self.newest.max(change.revision);
        if change.revision <= self.applied {
            return;
        }
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::GapUnseen) {
            return self.apply(change);
        }
        let is_snapshot_first = self.owes_snapshot || matches!(self.stage, Stage::Snapshot(_));
        if is_snapshot_first || change.revision > self.applied.next() {
            if self.early.len() < EARLY_MAX {
                self.early.insert(change.revision, change);
            }
            // The knowledge socket keeps the order, so what is missing is lost.
            return self.catch_up(now);
        }
        self.apply(change);
        self.apply_early();
        if self.applied == self.newest
            && let Stage::Following { check_at } = &mut self.stage
        {
            *check_at = None;
        }
    }

    /// Asks for what is missing, unless a question is open.
    pub(super) fn catch_up(&mut self, now: Time) {
        if self.newest > self.applied && matches!(self.stage, Stage::Following { .. }) {
            self.ask_since(now);
        }
    }

    fn ask_since(&mut self, now: Time) {
        let req = self.ask(KnowledgeOp::Since { revision: self.applied });
        self.stage = Stage::Asked { req, until: now.plus(ANSWER_WITHIN) };
    }

    fn ask(&mut self, op: KnowledgeOp<'_>) -> u64 {
        self.last_req += 1;
        let request = FromWorker::Knowledge(KnowledgeRequest { req: self.last_req, op });
        self.effects.push_back(ReplicaEffect::Ask(ganger_common::encode(&request)));
        self.last_req
    }

    pub(super) fn begin_snapshot(&mut self, now: Time) {
        let until = now.plus(ANSWER_WITHIN);
        let snapshot = Snapshot { req: None, until, first: None, after: None, seen: BTreeSet::new() };
        self.stage = Stage::Snapshot(snapshot);
        self.ask_page(now);
    }

    fn ask_page(&mut self, now: Time) {
        let Stage::Snapshot(snapshot) = &self.stage else { return };
        let after = snapshot.after.clone();
        let after = after.as_ref().map(|(topic, key)| (topic.as_str().into(), key.as_str().into()));
        let prefix = Topic::default();
        let req = self.ask(KnowledgeOp::List { prefix, after, keys_only: false, limit: None });
        if let Stage::Snapshot(snapshot) = &mut self.stage {
            snapshot.req = Some(req);
            snapshot.until = now.plus(ANSWER_WITHIN);
        }
    }

    /// Takes in an answer; those to questions that are no longer open are ignored.
    pub fn on_answer(&mut self, now: Time, req: u64, answer: Answer) {
        match (&self.stage, answer) {
            (Stage::Asked { req: open, .. }, Answer::Changes { newest, changes }) if *open == req => {
                self.on_changes(now, newest, changes);
            }
            (Stage::Snapshot(snapshot), Answer::Entries { newest, entries, more })
                if snapshot.req == Some(req) =>
            {
                self.on_page(now, newest, entries, more);
            }
            _ => {}
        }
        self.check_room();
    }

    fn on_changes(&mut self, now: Time, newest: Revision, changes: Vec<Change>) {
        let before = self.applied;
        self.newest = self.newest.max(newest);
        for change in changes {
            if change.revision == self.applied.next() {
                self.apply(change);
            }
        }
        self.apply_early();
        self.stage = Stage::Following { check_at: None };
        if self.applied > before {
            self.catch_up(now);
        } else if self.newest > self.applied {
            self.stage = Stage::Following { check_at: Some(now.plus(ASK_AGAIN_AFTER)) };
        }
    }

    fn on_page(&mut self, now: Time, newest: Revision, entries: Vec<Change>, more: bool) {
        let Stage::Snapshot(snapshot) = &mut self.stage else { return };
        let first = *snapshot.first.get_or_insert(newest);
        let is_empty = entries.is_empty();
        for entry in entries {
            let name = (entry.topic.clone(), entry.key.clone());
            // A page that was not asked for names alone has values. A name without one is not remembered:
            // what bounds the map bounds the names too.
            if let Some(value) = entry.value {
                self.knowledge.set(entry.topic, entry.key, entry.revision, value);
                snapshot.seen.insert(name.clone());
            }
            snapshot.after = Some(name);
        }
        self.newest = self.newest.max(newest);
        // A page without entries leads nowhere, whatever it says about more.
        if more && !is_empty {
            return self.ask_page(now);
        }
        let seen = std::mem::take(&mut snapshot.seen);
        #[cfg(feature = "planted")]
        let seen = Keep(seen);
        self.knowledge.retain(|topic, key| seen.contains(&(topic.to_owned(), key.to_owned())));
        self.owes_snapshot = false;
        self.set_applied(first);
        self.stage = Stage::Following { check_at: None };
        self.apply_early();
        self.catch_up(now);
    }

    /// Takes in a refusal.
    pub fn on_refused(&mut self, now: Time, req: u64, code: ErrorCode, retry_after: Option<Duration>) {
        let again = now.plus(retry_after.unwrap_or(ASK_AGAIN_AFTER).min(ANSWER_WITHIN));
        match &mut self.stage {
            Stage::Asked { req: open, .. } if *open == req => match code {
                ErrorCode::HistoryGone => self.begin_snapshot(now),
                // Without the right to read, asking again is pointless until the next welcome.
                ErrorCode::Denied => self.stage = Stage::Detached,
                _ => self.stage = Stage::Following { check_at: Some(again) },
            },
            Stage::Snapshot(snapshot) if snapshot.req == Some(req) => match code {
                ErrorCode::Denied => self.stage = Stage::Detached,
                _ => {
                    snapshot.req = None;
                    snapshot.until = again;
                }
            },
            _ => {}
        }
    }

    pub(super) fn sync_timeout(&self) -> Option<Time> {
        match &self.stage {
            Stage::Detached => None,
            Stage::Following { check_at } => *check_at,
            Stage::Asked { until, .. } => Some(*until),
            Stage::Snapshot(snapshot) => Some(snapshot.until),
        }
    }

    pub(super) fn on_sync_timeout(&mut self, now: Time) {
        if self.sync_timeout().is_none_or(|due| due > now) {
            return;
        }
        match &self.stage {
            Stage::Snapshot(_) => self.ask_page(now),
            Stage::Following { .. } | Stage::Asked { .. } => self.ask_since(now),
            Stage::Detached => {}
        }
    }

    /// Makes one change, the one right after the last.
    fn apply(&mut self, change: Change) {
        // After a snapshot some keys are already newer than the revision says.
        let current = self.knowledge.get_with_revision(&change.topic, &change.key);
        let is_newer = current.is_none_or(|(revision, _)| revision < change.revision);
        match change.value {
            Some(value) if is_newer => {
                self.knowledge.set(change.topic, change.key, change.revision, value);
            }
            None if is_newer => self.knowledge.remove(&change.topic, &change.key),
            _ => {}
        }
        self.set_applied(change.revision);
    }

    fn apply_early(&mut self) {
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() > self.applied.next() {
                return;
            }
            let change = entry.remove();
            if change.revision > self.applied {
                self.apply(change);
            }
        }
    }
}

/// Everything is in it while [`crate::planted`] says so.
#[cfg(feature = "planted")]
struct Keep(BTreeSet<(String, String)>);

#[cfg(feature = "planted")]
impl Keep {
    fn contains(&self, name: &(String, String)) -> bool {
        self.0.contains(name) || crate::planted::is(crate::planted::Bug::SnapshotKeepsTheGone)
    }
}
