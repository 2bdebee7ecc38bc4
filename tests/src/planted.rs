//! Bugs on demand in the crates under test: which there are, and how to run something with one of them.
//!
//! Only with the feature `planted`. The switch belongs to the thread, so a run must stay on the thread that
//! planted its bug.

use std::fmt;

use ganger_client::planted as client;
use ganger_scheduler::planted as scheduler;
use ganger_worker::planted as worker;

use crate::sim::planted as journal;

/// A bug in one of the crates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Planted {
    /// In the broker's scheduler.
    Scheduler(scheduler::Bug),
    /// In the worker's session or replica.
    Worker(worker::Bug),
    /// In the client's session.
    Client(client::Bug),
    /// In the simulated journal.
    Journal(journal::Bug),
}

impl Planted {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let in_scheduler = scheduler::Bug::ALL.into_iter().map(Self::Scheduler);
        let in_worker = worker::Bug::ALL.into_iter().map(Self::Worker);
        let in_client = client::Bug::ALL.into_iter().map(Self::Client);
        let in_journal = journal::Bug::ALL.into_iter().map(Self::Journal);
        in_scheduler.chain(in_worker).chain(in_client).chain(in_journal).collect()
    }

    /// Does something while this thread has the bug.
    pub fn during<T>(self, run: impl FnOnce() -> T) -> T {
        let _weeded = Weeded;
        match self {
            Self::Scheduler(bug) => scheduler::plant(Some(bug)),
            Self::Worker(bug) => worker::plant(Some(bug)),
            Self::Client(bug) => client::plant(Some(bug)),
            Self::Journal(bug) => journal::plant(Some(bug)),
        }
        run()
    }
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheduler(bug) => f.pad(&format!("scheduler: {bug:?}")),
            Self::Worker(bug) => f.pad(&format!("worker: {bug:?}")),
            Self::Client(bug) => f.pad(&format!("client: {bug:?}")),
            Self::Journal(bug) => f.pad(&format!("journal: {bug:?}")),
        }
    }
}

/// Takes every bug out of this thread, also when a run panics.
struct Weeded;

impl Drop for Weeded {
    fn drop(&mut self) {
        scheduler::plant(None);
        worker::plant(None);
        client::plant(None);
        journal::plant(None);
    }
}
