//! What a run is asked to be.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What happens to the processes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Nothing: what fails here is broken without any fault.
    None,
    /// Workers are killed and replaced.
    Kill,
    /// Workers are frozen, shorter and longer than a silence may be; sometimes the broker is.
    Pause,
    /// The ways between all parties are slow, silent, cut, or stall in the middle of a frame.
    Partition,
    /// Workers and clients come and go, in order and without a word.
    Churn,
    /// The broker is killed and started again.
    Broker,
}

impl Profile {
    /// Every profile, from the mildest on.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Kill, Self::Pause, Self::Partition, Self::Churn, Self::Broker];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::Churn => "churn",
            Self::Broker => "broker",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|profile| profile.as_str() == text);
        found.ok_or_else(|| format!("{text} is no profile; there are {names}"))
    }
}

/// Where the broker keeps what it has acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// In its process: an acknowledgement binds for as long as that lives. What is lost with it, the
    /// clients hand in again.
    Memory,
    /// On disk: an acknowledgement binds for good.
    Journal,
}

impl FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "memory" => Ok(Self::Memory),
            "journal" => Ok(Self::Journal),
            other => Err(format!("{other} is no durability; there are memory and journal")),
        }
    }
}

/// One run.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// What happens.
    pub profile: Profile,
    /// How long the faults go on.
    pub time: Duration,
    /// And until the broker was killed so many times, in the profile that does so.
    pub kills: u64,
    /// Decides faults and tasks. Two runs under one seed meet the same faults in the same order; what the
    /// processes do meanwhile is theirs.
    pub seed: u64,
    /// Passed on to the broker.
    pub durability: Durability,
    /// Workers at a time.
    pub workers: usize,
    /// Tasks that each of them runs at a time.
    pub slots: u32,
    /// Clients at a time.
    pub clients: usize,
    /// Tasks that each of them has under way.
    pub in_flight: usize,
}

impl Settings {
    /// A run of a profile at its usual size.
    pub fn new(profile: Profile, time: Duration, seed: u64) -> Self {
        Self {
            profile,
            time,
            kills: 0,
            seed,
            durability: Durability::Memory,
            workers: 6,
            slots: 4,
            clients: 4,
            in_flight: 150,
        }
    }

    /// Whether what the broker acknowledged may be gone after its death.
    pub fn forgets(&self) -> bool {
        self.durability == Durability::Memory && self.profile == Profile::Broker
    }

    /// The command that has this run again.
    pub fn command(&self) -> String {
        let Self { profile, time, kills, seed, durability, .. } = self;
        let mut command = format!(
            "cargo blackbox --profile {profile} --time {} --seed {seed}",
            humantime::format_duration(*time)
        );
        if *kills > 0 {
            command.push_str(&format!(" --kills {kills}"));
        }
        if *durability == Durability::Journal {
            command.push_str(" --durability journal");
        }
        let usual = Self::new(*profile, *time, *seed);
        for (flag, value, usual) in [
            ("workers", self.workers, usual.workers),
            ("slots", self.slots as usize, usual.slots as usize),
            ("clients", self.clients, usual.clients),
            ("in-flight", self.in_flight, usual.in_flight),
        ] {
            if value != usual {
                command.push_str(&format!(" --{flag} {value}"));
            }
        }
        command
    }
}
