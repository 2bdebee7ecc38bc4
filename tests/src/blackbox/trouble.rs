//! What has begun and not ended yet, and who is free of it.

use std::time::{Duration, Instant};

use super::clientele::Visitor;
use super::fault::{Harm, Party};
use super::stage::Stage;
use crate::diary::now_ns;
use crate::proxy::Proxy;

/// All that goes on.
#[derive(Debug, Default)]
pub struct Troubles {
    list: Vec<Trouble>,
}

/// Something that has an end.
#[derive(Debug)]
pub struct Trouble {
    /// When it ends.
    pub until: Instant,
    /// When it began.
    pub since_ns: u64,
    /// What it is.
    pub what: What,
}

/// What it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A worker is frozen.
    Frozen(usize),
    /// The broker is frozen.
    BrokerFrozen,
    /// A place is empty.
    Empty(usize),
    /// The broker is away.
    BrokerAway,
    /// A way is harmed.
    Harmed(Target, Harm),
}

/// Whose way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A worker's.
    Worker(usize),
    /// That of the publications to a worker.
    Knowledge(usize),
    /// A client's, by name: places of clients move.
    Client(String),
}

impl Troubles {
    /// Something begins now and lasts for a span.
    pub fn begin(&mut self, span: Duration, what: What) {
        self.list.push(Trouble { until: Instant::now() + span, since_ns: now_ns(), what });
    }

    /// Takes out what is over.
    pub fn take(&mut self, is_over: impl Fn(&Trouble) -> bool) -> Vec<Trouble> {
        let (over, on) = std::mem::take(&mut self.list).into_iter().partition(is_over);
        self.list = on;
        over
    }

    /// Whether this goes on.
    pub fn has(&self, what: &What) -> bool {
        self.list.iter().any(|trouble| trouble.what == *what)
    }

    /// The workers to whom nothing happens now.
    pub fn free_workers(&self, stage: &Stage) -> Vec<usize> {
        (0..stage.crew.len()).filter(|place| self.is_free(*place)).collect()
    }

    /// The ways of a kind that nothing is wrong with.
    pub fn free_ways(&self, party: Party, stage: &Stage) -> Vec<Target> {
        let workers = 0..stage.crew.len();
        let mut targets: Vec<Target> = match party {
            Party::Worker => workers.map(Target::Worker).collect(),
            Party::Knowledge => workers.map(Target::Knowledge).collect(),
            Party::Client => {
                stage.visitors.iter().map(|visitor| Target::Client(visitor.name().to_owned())).collect()
            }
        };
        targets.retain(|target| !self.list.iter().any(|trouble| trouble.harms(target)));
        targets
    }

    fn is_free(&self, place: usize) -> bool {
        !self.list.iter().any(|trouble| match &trouble.what {
            What::Frozen(other) | What::Empty(other) => *other == place,
            What::Harmed(target, _) => *target == Target::Worker(place),
            What::BrokerFrozen | What::BrokerAway => false,
        })
    }
}

impl Trouble {
    fn harms(&self, target: &Target) -> bool {
        matches!(&self.what, What::Harmed(other, _) if other == target)
    }
}

impl Target {
    /// The proxy on that way, if its party is still here.
    pub fn way<'a>(&self, stage: &'a Stage) -> Option<&'a Proxy> {
        match self {
            Self::Worker(place) => Some(&stage.crew[*place].work),
            Self::Knowledge(place) => Some(&stage.crew[*place].knowledge),
            Self::Client(name) => {
                stage.visitors.iter().find(|visitor| visitor.name() == name).map(Visitor::proxy)
            }
        }
    }
}
