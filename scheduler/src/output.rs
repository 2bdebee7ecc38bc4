//! What is to be done, and what may not be said yet.
//!
//! A promise is an effect that tells somebody about a fact. It may leave only when the journal has the
//! fact, so it waits here behind the last record that was appended when it was made.

use std::collections::VecDeque;

use ganger_common::Revision;

use crate::effect::Effect;
use crate::record::{Lsn, Record};

/// Effects on their way out.
#[derive(Debug, Default)]
pub(crate) struct Output {
    ready: VecDeque<Effect>,
    held: VecDeque<(Lsn, Effect)>,
    /// Knowledge revisions that the journal may not have yet, and the newest one that it has.
    revisions: VecDeque<(Lsn, Revision)>,
    revision: Revision,
    appended: Lsn,
    journaled: Lsn,
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

    /// Whether everything has been said.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.held.is_empty()
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
