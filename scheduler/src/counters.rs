//! What has happened, counted.

use std::collections::BTreeMap;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Counters since the scheduler was made. Nothing is decided by them.
        #[derive(Clone, PartialEq, Eq, Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Counters {
            /// The counters by name.
            pub fn by_name(&self) -> BTreeMap<String, u64> {
                [$((stringify!($name).to_owned(), self.$name),)+].into()
            }
        }
    };
}

counters! {
    /// Tasks taken.
    tasks_accepted,
    /// Tasks handed in again that were known already.
    tasks_resubmitted,
    /// Tasks refused for want of room.
    tasks_refused_busy,
    /// Tasks refused for another reason.
    tasks_refused,
    /// Payloads over the size that is worth a warning.
    payloads_large,
    /// Leases given out.
    attempts_given,
    /// Attempts that ended with a result.
    attempts_succeeded,
    /// Attempts that failed.
    attempts_failed,
    /// Attempts that ran for too long.
    attempts_timed_out,
    /// Attempts that were stopped for a drain.
    attempts_interrupted,
    /// Leases handed back without a start.
    attempts_returned,
    /// Attempts that ran on a worker that died.
    attempts_crashed,
    /// Leases that were lost with a worker before a start was reported.
    attempts_lost,
    /// Tasks that succeeded.
    tasks_succeeded,
    /// Tasks that failed for good.
    tasks_failed,
    /// Tasks that were cancelled.
    tasks_cancelled,
    /// Tasks that expired.
    tasks_expired,
    /// Tasks that took too many workers down.
    tasks_dead,
    /// Tasks put back from the dead set.
    tasks_retried,
    /// Tasks that somebody let go from the dead set.
    tasks_discarded,
    /// Tasks settled by a result whose lease had moved on.
    late_successes,
    /// Reports that changed nothing, because their lease was not the current one.
    reports_stale,
    /// Leases taken over from the broker's last life.
    leases_adopted,
    /// Outcomes let go before their time, to stay within the byte budget.
    outcomes_dropped,
    /// Tasks that left the dead set because it was full.
    dead_dropped,
    /// Sessions of workers that opened.
    workers_joined,
    /// Workers that came back on another connection.
    workers_resumed,
    /// Workers that said goodbye.
    workers_left,
    /// Workers declared dead because their connection was gone for too long.
    workers_lost_connection,
    /// Workers declared dead because they were silent for too long.
    workers_lost_silent,
    /// Sessions of clients that opened.
    clients_joined,
    /// Clients given up because they were silent for too long.
    clients_lost,
    /// Recalls sent.
    recalls,
    /// Messages that came before a hello.
    messages_before_hello,
    /// Attempts to speak for somebody else's session.
    sessions_refused,
    /// Changes of the knowledge map.
    knowledge_changes,
    /// Broadcasts.
    broadcasts,
    /// Stalls of the broker itself that were forgiven to its peers.
    own_stalls,
}
