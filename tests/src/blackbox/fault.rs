//! What can happen, and what a profile is made of.

use std::time::Duration;

use super::settings::Profile;
use crate::dice::Dice;
use crate::proxy::{Cut, Path, Proxy, Silence, Trap, Way};

/// One thing that happens to somebody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// A worker is killed, and another takes its place at once.
    Kill,
    /// A worker is killed, and its place stays empty for a while.
    KillForAWhile,
    /// All workers are killed.
    KillAll,
    /// A worker is frozen for less than a silence may last.
    Hiccup,
    /// A worker is frozen for longer.
    Freeze,
    /// The broker is frozen, for any time.
    StallBroker,
    /// The connections of all workers are reset, and the broker is frozen before they are back.
    CutAndStall,
    /// A way is harmed.
    Harm(Harm, Party),
    /// A worker is asked by a signal to leave, and another takes its place.
    Leave,
    /// A worker is asked by a client to leave, and another takes its place.
    Drain,
    /// A client comes.
    Join,
    /// A client goes in the middle of everything.
    Part,
    /// A client goes without a word, its connection half open.
    Vanish,
    /// The broker is killed and started again at once.
    KillBroker,
    /// The broker is killed and stays away for a while.
    KillBrokerForAWhile,
}

/// What happens to a way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Harm {
    /// Bytes are late.
    Slow,
    /// Few bytes get through in a second.
    Narrow,
    /// Nothing gets through for less time than a silence may last.
    Gap,
    /// Nothing gets through for longer, either way; it arrives afterwards.
    Silence,
    /// Nothing gets to the broker for longer than a silence may last.
    DeafUp,
    /// Nothing comes from the broker for so long.
    DeafDown,
    /// Nothing gets through for so long, and what was sent is lost with its connection.
    Blackhole,
    /// The connection is reset.
    Reset,
    /// The connection is ended in order.
    End,
    /// Each connection is cut after a few bytes, for a moment.
    CutAtByte,
    /// Each connection stalls in the middle of a frame, for any time.
    Stall,
    /// The connection is reset, and none is taken for longer than the grace.
    Closed,
}

impl Harm {
    /// Every harm.
    pub const ALL: [Self; 12] = [
        Self::Slow,
        Self::Narrow,
        Self::Gap,
        Self::Silence,
        Self::DeafUp,
        Self::DeafDown,
        Self::Blackhole,
        Self::Reset,
        Self::End,
        Self::CutAtByte,
        Self::Stall,
        Self::Closed,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "way slow",
            Self::Narrow => "way narrow",
            Self::Gap => "way silent for a moment",
            Self::Silence => "way silent",
            Self::DeafUp => "way silent to the broker",
            Self::DeafDown => "way silent from the broker",
            Self::Blackhole => "way swallows",
            Self::Reset => "connection reset",
            Self::End => "connection ended",
            Self::CutAtByte => "connection cut after N bytes",
            Self::Stall => "connection stalls in a frame",
            Self::Closed => "connections refused",
        }
    }

    /// How long it goes on, from and to, in milliseconds; none: it is done at once.
    pub const fn lasts_ms(self) -> Option<(u64, u64)> {
        match self {
            Self::Reset | Self::End => None,
            Self::Gap => Some((100, 1_000)),
            Self::CutAtByte => Some((200, 900)),
            Self::Slow | Self::Narrow => Some((1_000, 4_000)),
            Self::Stall => Some((200, 5_000)),
            Self::Silence | Self::DeafUp | Self::DeafDown | Self::Blackhole | Self::Closed => {
                Some((3_600, 6_000))
            }
        }
    }

    /// Does it to a way.
    pub fn inflict(self, way: &Proxy, dice: &mut Dice) {
        let millis = |dice: &mut Dice, least, most| {
            dice.span(Duration::from_millis(least), Duration::from_millis(most))
        };
        let one_way = *dice.pick(&Way::BOTH).unwrap_or(&Way::Up);
        match self {
            Self::Slow => {
                let (delay, jitter) = (millis(dice, 5, 400), millis(dice, 0, 200));
                Way::BOTH.into_iter().for_each(|one| way.set(one, Path { delay, jitter, ..Path::default() }));
            }
            Self::Narrow => {
                let rate = Some(2_000 + dice.below(100_000));
                Way::BOTH.into_iter().for_each(|one| way.set(one, Path { rate, ..Path::default() }));
            }
            Self::Gap | Self::Silence => way.silence(&Way::BOTH, Silence::Held),
            Self::DeafUp => way.silence(&[Way::Up], Silence::Held),
            Self::DeafDown => way.silence(&[Way::Down], Silence::Held),
            Self::Blackhole => way.silence(&Way::BOTH, Silence::Swallowed),
            Self::Reset => way.cut(Cut::Rst),
            Self::End => way.cut(Cut::Fin),
            Self::CutAtByte => {
                let cut = if dice.permille(500) { Cut::Rst } else { Cut::Fin };
                way.trap(one_way, dice.below(3_000), Trap::Cut(cut));
            }
            Self::Stall => way.trap(one_way, dice.below(3_000), Trap::Stall),
            Self::Closed => {
                way.refuse(true);
                way.cut(Cut::Rst);
            }
        }
    }
}

/// Whose way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Party {
    /// A worker's.
    Worker,
    /// A client's.
    Client,
    /// That of the publications to a worker.
    Knowledge,
}

impl Fault {
    /// In words, for the figures: harms by what they do, whoever suffers them.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "worker killed",
            Self::KillForAWhile => "worker killed and away",
            Self::KillAll => "all workers killed",
            Self::Hiccup => "worker paused for a moment",
            Self::Freeze => "worker paused",
            Self::StallBroker => "broker paused",
            Self::CutAndStall => "workers cut off, broker paused",
            Self::Harm(harm, _) => harm.as_str(),
            Self::Leave => "worker left by SIGTERM",
            Self::Drain => "worker drained by a client",
            Self::Join => "client came",
            Self::Part => "client left",
            Self::Vanish => "client vanished",
            Self::KillBroker => "broker killed",
            Self::KillBrokerForAWhile => "broker killed and away",
        }
    }

    /// Every fault of a profile in an order of chance: dealt out whole before the next deck, so that each
    /// comes up.
    pub fn deck(profile: Profile, dice: &mut Dice) -> Vec<Self> {
        let mut deck = match profile {
            Profile::None => vec![],
            Profile::Kill => {
                vec![Self::Kill, Self::Kill, Self::Kill, Self::Kill, Self::KillForAWhile, Self::KillAll]
            }
            // Seldom the broker: while it is frozen nobody is given up, and nothing happens.
            Profile::Pause => {
                [vec![Self::Hiccup; 6], vec![Self::Freeze; 5], vec![Self::StallBroker, Self::CutAndStall]]
                    .concat()
            }
            Profile::Partition => [Party::Worker, Party::Client, Party::Knowledge]
                .into_iter()
                .flat_map(|party| Harm::ALL.map(|harm| Self::Harm(harm, party)))
                .collect(),
            Profile::Churn => {
                vec![Self::Leave, Self::Leave, Self::Drain, Self::Join, Self::Part, Self::Vanish]
            }
            Profile::Broker => vec![Self::KillBroker, Self::KillBroker, Self::KillBrokerForAWhile],
        };
        dice.shuffle(&mut deck);
        deck
    }
}

/// The time between two faults in a long run: as dense as still lets work go on between them.
pub const fn longest_pace(profile: Profile) -> Duration {
    Duration::from_millis(match profile {
        Profile::None | Profile::Kill | Profile::Partition => 300,
        Profile::Churn => 500,
        // A freeze lasts long: of six workers three stand still at a time.
        Profile::Pause => 700,
        Profile::Broker => 1_500,
    })
}
