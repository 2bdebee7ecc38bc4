//! What the shell has counted. The scheduler counts what happens to tasks; here is what never reached it.

use std::collections::BTreeMap;

use ganger_common::ErrorCode;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Counters since the broker started. Nothing is decided by them.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: u64,)+
            /// Errors that the shell answered with, by code.
            pub(crate) errors: BTreeMap<ErrorCode, u64>,
        }

        impl Counters {
            /// The counters by name, as a status reply shows them.
            pub(crate) fn by_name(&self) -> impl Iterator<Item = (String, u64)> + '_ {
                let plain = [$((stringify!($name).to_owned(), self.$name),)+].into_iter();
                plain.chain(self.errors.iter().map(|(code, count)| (format!("errors_{code}"), *count)))
            }
        }
    };
}

counters! {
    /// Connections that came.
    connections_opened,
    /// Connections that ended, whoever ended them.
    connections_closed,
    /// Messages taken in, the bad ones included.
    messages_in,
    /// Messages sent.
    messages_out,
    /// Messages that could not be decoded.
    messages_undecodable,
    /// Messages that were too large or of several parts.
    messages_malformed,
    /// Tasks refused for their options or their kind.
    tasks_invalid,
    /// Progress and partial results that were dropped because their reader is behind.
    events_dropped,
    /// Requests that waited because the asker had not read earlier answers.
    requests_postponed,
    /// Peers cut because they did not read what they were sent.
    slow_readers_cut,
    /// Peers cut because the queue of their connection was full.
    queues_full,
    /// Changes and broadcasts that the publisher could not take.
    publications_dropped,
    /// Messages that waited for values to be read from the journal.
    values_read,
    /// Times that so much waited for the journal that clients had to wait.
    journal_behind,
    /// Times that the state was carried on, so that the journal's beginning could go.
    journal_carried,
}

impl Counters {
    pub(crate) fn count_error(&mut self, code: ErrorCode) {
        *self.errors.entry(code).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_hides_one_of_the_scheduler() {
        let mut counters = Counters::default();
        ErrorCode::ALL.iter().for_each(|code| counters.count_error(*code));
        let theirs = ganger_scheduler::Counters::default().by_name();
        for (name, _) in counters.by_name() {
            assert!(!theirs.contains_key(&name), "{name}");
        }
    }
}
