//! What is to be done, and what may not be said yet.
//!
//! A promise is an effect that tells somebody about a fact. It may leave only when the journal has the
//! fact, so it waits here behind the last record that was appended when it was made.

use std::collections::VecDeque;

use ganger_common::message::Lease;
use ganger_common::{ConnId, Revision};

use crate::effect::{Effect, WorkerCommand};
use crate::record::{Lsn, Record};

/// Effects on their way out.
#[derive(Debug, Default)]
pub(crate) struct Output {
    ready: VecDeque<Effect>,
    held: VecDeque<(Lsn, Effect)>,
    /// Reports to be acknowledged, by the record that must be safe.
    acks: VecDeque<(Lsn, Ack)>,
    /// Knowledge revisions that the journal may not have yet, and the newest one that it has.
    revisions: VecDeque<(Lsn, Revision)>,
    revision: Revision,
    appended: Lsn,
    journaled: Lsn,
}

/// The acknowledgement of a worker's reports.
#[derive(Debug)]
struct Ack {
    conn: ConnId,
    upto: u64,
    stale: Vec<Lease>,
}

impl Output {
    /// Something that promises nothing.
    pub(crate) fn push(&mut self, effect: Effect) {
        self.ready.push_back(effect);
    }

    /// Something that may be said once everything that was appended so far is safe.
    pub(crate) fn promise(&mut self, effect: Effect) {
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::PromiseBeforeSync) {
            return self.push(effect);
        }
        if self.appended <= self.journaled {
            self.ready.push_back(effect);
        } else {
            self.held.push_back((self.appended, effect));
        }
    }

    /// A promise to a worker that nobody waits for: it leaves after what others wait for, with that of later reports
    /// that are safe by then.
    pub(crate) fn acknowledge(&mut self, conn: ConnId, upto: u64, stale: Vec<Lease>) {
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::PromiseBeforeSync) {
            return self.push(Effect::ToWorker { conn, command: WorkerCommand::Ack { upto, stale } });
        }
        match self.acks.back_mut() {
            Some((lsn, last)) if *lsn == self.appended && last.conn == conn => {
                last.upto = upto;
                last.stale.extend(stale);
            }
            _ => self.acks.push_back((self.appended, Ack { conn, upto, stale })),
        }
    }

    /// Lets acknowledgements go whose records are safe.
    pub(crate) fn release_acks(&mut self) {
        while let Some((_, ack)) = self.acks.pop_front_if(|(lsn, _)| *lsn <= self.journaled) {
            let Ack { conn, upto, stale } = ack;
            self.push(Effect::ToWorker { conn, command: WorkerCommand::Ack { upto, stale } });
        }
    }

    pub(crate) fn append(&mut self, record: Record) -> Lsn {
        self.appended = Lsn(self.appended.0 + 1);
        self.ready.push_back(Effect::Append { lsn: self.appended, record });
        self.appended
    }

    /// The journal has everything up to here. A number that was never appended is not believed.
    pub(crate) fn journaled(&mut self, upto: Lsn) {
        self.journaled = self.journaled.max(upto.min(self.appended));
        while let Some((lsn, revision)) = self.revisions.front().copied()
            && lsn <= self.journaled
        {
            self.revisions.pop_front();
            self.revision = revision;
        }
        while self.held.front().is_some_and(|(lsn, _)| *lsn <= self.journaled) {
            self.ready.extend(self.held.pop_front().map(|(_, effect)| effect));
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Effect> {
        self.ready.pop_front()
    }

    /// The last record that was appended.
    pub(crate) fn appended(&self) -> Lsn {
        self.appended
    }

    /// The last record that is safe.
    pub(crate) fn safe(&self) -> Lsn {
        self.journaled
    }

    /// Whether nothing waits for the journal: whatever is said next is the last.
    pub(crate) fn is_settled(&self) -> bool {
        self.held.is_empty() && self.acks.is_empty() && self.appended <= self.journaled
    }

    /// The change of this revision was appended just now.
    pub(crate) fn note_revision(&mut self, revision: Revision) {
        self.revisions.push_back((self.appended, revision));
    }

    /// The newest knowledge revision that may be named to anybody.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Continues the numbering of a journal that was read back.
    pub(crate) fn resume(&mut self, last: Lsn, revision: Revision) {
        (self.appended, self.journaled) = (last, last);
        self.revision = revision;
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::NumberSkipped) {
            self.appended = Lsn(last.0 + 1);
        }
    }
}
