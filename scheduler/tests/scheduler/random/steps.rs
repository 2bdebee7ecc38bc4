//! What may happen next.

use ganger_common::AttemptEnd;
use ganger_common::view::Among;
use proptest::prelude::*;

/// Peers and tasks are few, so that what happens to them meets.
pub(super) const CLIENTS: usize = 3;
pub(super) const WORKERS: usize = 4;
pub(super) const TASKS: u32 = 24;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Submit { client: usize, tasks: Vec<(u32, Flavour)> },
    Cancel { client: usize, tasks: Vec<u32> },
    Retry { client: usize, tasks: Vec<u32> },
    Discard { client: usize, tasks: Vec<u32> },
    DiscardAll { client: usize, among: Among },
    Pause { client: usize, other: bool },
    Resume { client: usize, other: bool },
    Watch { client: usize, tasks: Vec<u32> },
    Ack { client: usize },
    Start { worker: usize, at: usize },
    End { worker: usize, at: usize, end: AttemptEnd },
    Report { worker: usize },
    Forge { worker: usize, task: u32, attempt: u32, epoch: u64, end: AttemptEnd },
    WorkerCut { worker: usize },
    WorkerCrash { worker: usize },
    WorkerForgets { worker: usize },
    WorkerGoodbye { worker: usize },
    WorkerDrain { worker: usize },
    WorkerBack { worker: usize },
    ClientCut { client: usize },
    ClientBack { client: usize },
    Know { client: usize, key: u8, delete: bool },
    Beat,
    Live { ms: u64 },
    Silence { ms: u64 },
    Stall { ms: u64 },
    WallJump { ms: i64 },
    Journal { count: usize },
    JournalAll,
    Carry,
    Restart,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Flavour {
    Plain,
    Other,
    Urgent,
    Delayed,
    Short,
    Limited,
    Fragile,
    Gated,
    Events,
    Detached,
}

fn flavour() -> impl Strategy<Value = Flavour> {
    use Flavour::*;
    prop_oneof![
        4 => Just(Plain),
        2 => Just(Other),
        1 => prop_oneof![
            Just(Urgent), Just(Delayed), Just(Short), Just(Limited), Just(Fragile), Just(Gated), Just(Events),
            Just(Detached)
        ],
    ]
}

fn end() -> impl Strategy<Value = AttemptEnd> {
    prop_oneof![
        4 => Just(AttemptEnd::Succeeded),
        3 => proptest::sample::select(&AttemptEnd::ALL[..]),
    ]
}

fn some_tasks() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..TASKS, 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let (client, worker) = (0..CLIENTS, 0..WORKERS);
    let (c, w) = (client.clone(), worker.clone());
    let asked = prop_oneof![
        6 => (c.clone(), prop::collection::vec((0..TASKS, flavour()), 1..6))
            .prop_map(|(client, tasks)| Step::Submit { client, tasks }),
        1 => (c.clone(), some_tasks()).prop_map(|(client, tasks)| Step::Cancel { client, tasks }),
        1 => (c.clone(), some_tasks()).prop_map(|(client, tasks)| Step::Retry { client, tasks }),
        1 => (c.clone(), any::<bool>()).prop_map(|(client, other)| Step::Pause { client, other }),
        2 => (c.clone(), any::<bool>()).prop_map(|(client, other)| Step::Resume { client, other }),
        1 => (c.clone(), some_tasks()).prop_map(|(client, tasks)| Step::Watch { client, tasks }),
        3 => c.clone().prop_map(|client| Step::Ack { client }),
        1 => (c.clone(), 0..4_u8, any::<bool>()).prop_map(|(client, key, delete)| Step::Know { client, key, delete }),
    ];
    let worked = prop_oneof![
        4 => (w.clone(), 0..8_usize).prop_map(|(worker, at)| Step::Start { worker, at }),
        8 => (w.clone(), 0..8_usize, end()).prop_map(|(worker, at, end)| Step::End { worker, at, end }),
        4 => w.clone().prop_map(|worker| Step::Report { worker }),
        1 => (w.clone(), 0..TASKS, 0..4_u32, 0..3_u64, end())
            .prop_map(|(worker, task, attempt, epoch, end)| Step::Forge { worker, task, attempt, epoch, end }),
    ];
    let failed = prop_oneof![
        2 => w.clone().prop_map(|worker| Step::WorkerCut { worker }),
        1 => w.clone().prop_map(|worker| Step::WorkerCrash { worker }),
        1 => w.clone().prop_map(|worker| Step::WorkerForgets { worker }),
        1 => w.clone().prop_map(|worker| Step::WorkerGoodbye { worker }),
        1 => w.clone().prop_map(|worker| Step::WorkerDrain { worker }),
        6 => w.prop_map(|worker| Step::WorkerBack { worker }),
        1 => c.clone().prop_map(|client| Step::ClientCut { client }),
        4 => c.prop_map(|client| Step::ClientBack { client }),
        1 => Just(Step::Restart),
    ];
    let passed = prop_oneof![
        2 => Just(Step::Beat),
        6 => (1..1_000_u64).prop_map(|ms| Step::Live { ms }),
        1 => (1..4_000_u64).prop_map(|ms| Step::Silence { ms }),
        1 => (1..20_000_u64).prop_map(|ms| Step::Stall { ms }),
        1 => (-10_000_000..10_000_000_i64).prop_map(|ms| Step::WallJump { ms }),
        2 => (1..5_usize).prop_map(|count| Step::Journal { count }),
        4 => Just(Step::JournalAll),
        2 => Just(Step::Carry),
    ];
    prop_oneof![4 => asked, 6 => worked, 3 => failed, 4 => passed]
}

pub(super) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..most)
}

/// The same, with somebody who lets go of the dead set.
pub(super) fn steps_with_discards(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS;
    let discard = prop_oneof![
        2 => (client.clone(), some_tasks()).prop_map(|(client, tasks)| Step::Discard { client, tasks }),
        1 => (client, proptest::sample::select(&Among::ALL[..]))
            .prop_map(|(client, among)| Step::DiscardAll { client, among }),
    ];
    prop::collection::vec(prop_oneof![30 => step(), 1 => discard], 1..most)
}
