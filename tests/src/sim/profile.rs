//! Which faults a run is about.

use std::fmt;
use std::str::FromStr;

use super::log::Fault;
use super::random::Rng;

/// A family of runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Profile {
    /// Nothing goes wrong.
    Calm,
    /// Workers die, stand still, drain; tasks take them down.
    Workers,
    /// Connections break, fall silent, are slow.
    Network,
    /// The broker dies, stands still, drains.
    Broker,
    /// Syncs are slow, fail, lose what was not synced; there is no room, or too much to write.
    Disk,
    /// Processes stand still and wall clocks jump.
    Clock,
    /// More is asked than there is room for.
    Overload,
    /// The knowledge map changes all the time and what is published gets lost.
    Knowledge,
    /// The broker keeps its state in memory, and dies.
    Memory,
    /// Any of these together: every seed turns a part of them on.
    All,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 10] = [
        Self::Calm,
        Self::Workers,
        Self::Network,
        Self::Broker,
        Self::Disk,
        Self::Clock,
        Self::Overload,
        Self::Knowledge,
        Self::Memory,
        Self::All,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Workers => "workers",
            Self::Network => "network",
            Self::Broker => "broker",
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::Overload => "overload",
            Self::Knowledge => "knowledge",
            Self::Memory => "memory",
            Self::All => "all",
        }
    }

    /// The faults of this family, of which a run draws some.
    pub(super) fn faults(self) -> &'static [Fault] {
        match self {
            Self::Calm => &[],
            Self::Workers => &[
                Fault::WorkerKill,
                Fault::WorkerPause,
                Fault::WorkerDrain,
                Fault::PoisonTask,
                Fault::StubbornHandler,
            ],
            Self::Network => &[
                Fault::LinkCut,
                Fault::HalfOpen,
                Fault::SilenceIn,
                Fault::SilenceOut,
                Fault::SlowReader,
                Fault::Partition,
                Fault::ReconnectStorm,
                Fault::DuplicateSession,
                Fault::PubCut,
                Fault::ClientKill,
            ],
            Self::Broker => {
                &[Fault::BrokerKill, Fault::BrokerPause, Fault::BrokerDrain, Fault::ReconnectStorm]
            }
            Self::Disk => &[Fault::SlowSync, Fault::FailedSync, Fault::LostWrites, Fault::BrokerKill],
            Self::Clock => &[
                Fault::BrokerPause,
                Fault::WorkerPause,
                Fault::ClientPause,
                Fault::WallJump,
                Fault::LinkCut,
                Fault::WorkerKill,
            ],
            Self::Overload => &[Fault::Overload, Fault::SlowReader, Fault::WorkerKill, Fault::ClientKill],
            Self::Knowledge => &[
                Fault::PubLoss,
                Fault::PubCut,
                Fault::WorkerKill,
                Fault::LinkCut,
                Fault::SlowSync,
                Fault::BrokerKill,
            ],
            Self::Memory => &[
                Fault::BrokerKill,
                Fault::BrokerPause,
                Fault::LinkCut,
                Fault::ClientKill,
                Fault::WorkerKill,
                Fault::ReconnectStorm,
            ],
            Self::All => EVERYTHING,
        }
    }

    /// Runs in a hundred whose disk has no room at times, and those in which it does not keep up. Drawn apart
    /// from the other faults, which came first: a seed means what it meant.
    pub(super) fn disk_troubles(self) -> u64 {
        match self {
            Self::Disk => 40,
            Self::All => 15,
            _ => 0,
        }
    }

    /// Whether the broker of such a run keeps its state in memory.
    pub(super) fn is_in_memory(self, rng: &mut Rng) -> bool {
        match self {
            Self::Memory => true,
            Self::Disk | Self::Broker => false,
            Self::All | Self::Network | Self::Workers => rng.percent(15),
            Self::Calm | Self::Clock | Self::Overload | Self::Knowledge => rng.percent(10),
        }
    }
}

const EVERYTHING: &[Fault] = &[
    Fault::WorkerKill,
    Fault::WorkerPause,
    Fault::WorkerDrain,
    Fault::PoisonTask,
    Fault::StubbornHandler,
    Fault::ClientKill,
    Fault::ClientPause,
    Fault::BrokerKill,
    Fault::BrokerPause,
    Fault::BrokerDrain,
    Fault::LinkCut,
    Fault::HalfOpen,
    Fault::SilenceIn,
    Fault::SilenceOut,
    Fault::SlowReader,
    Fault::Partition,
    Fault::ReconnectStorm,
    Fault::DuplicateSession,
    Fault::PubLoss,
    Fault::PubCut,
    Fault::SlowSync,
    Fault::FailedSync,
    Fault::LostWrites,
    Fault::WallJump,
    Fault::Overload,
];

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|profile| profile.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no profile {text:?}; allowed are {names}")
        })
    }
}
