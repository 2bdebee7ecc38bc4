//! What a seed means: everything about a run that is drawn before it begins.

use std::time::Duration;

use ganger_common::Epoch;
use ganger_common::message::Durability;
use ganger_scheduler::Config;

use super::desk::Answers;
use super::facts::Facts;
use super::log::{ClientNo, Fault};
use super::profile::Profile;
use super::random::Rng;

/// Microseconds in a millisecond.
pub(super) const MS: u64 = 1_000;
/// Microseconds in a second.
pub(super) const S: u64 = 1_000_000;

/// One thing that a program does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// Hands in so many tasks of one flavour.
    Submit(u16, Flavour),
    /// Hands in again what it handed in before.
    Resubmit(u16),
    /// Hands in what another program handed in.
    SubmitTheirs,
    /// Waits for what another program handed in.
    Watch,
    /// Cancels some of its own tasks.
    Cancel(u16),
    /// Cancels a task of another program.
    CancelTheirs,
    /// Asks for another try at something that failed.
    Retry,
    /// Lets some tasks go that failed.
    Discard(u16),
    /// Lets go of all that is in the dead set.
    DiscardAll,
    /// Pauses a kind.
    Pause(u8),
    Resume(u8),
    Put,
    Delete,
    /// A change that names the revision that it replaces.
    PutExpecting,
    /// Asks for a listing, a status, an explanation, a task.
    Ask,
    /// Drains a worker from afar.
    DrainWorker,
    /// A broadcast.
    Publish,
}

/// What the tasks of a batch have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flavour {
    /// Any mixture.
    Mixed,
    /// Many, tiny.
    Tiny,
    /// One kind, one priority, no options.
    Plain,
    /// Longer than most.
    Long,
    /// They take their worker down.
    Poison,
    /// They do not stop when told to.
    Stubborn,
    /// They need the newest knowledge.
    Gated,
    /// Every worker should have to do with them.
    Closing,
}

/// One kind of worker process.
#[derive(Clone, Debug)]
pub(super) struct WorkerPlan {
    pub(super) slots: u32,
    pub(super) kinds: Vec<u8>,
}

/// A run, drawn.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) profile: Profile,
    pub(super) scheduler: Config,
    pub(super) answers: Answers,
    /// With so many records more the journal counts as long, and its state is carried.
    pub(super) long_from: u64,
    /// With so much that waits for the disk clients have to wait: records, and tasks in them.
    pub(super) behind_from: u64,
    /// A sync takes from here to there.
    pub(super) sync: (u64, u64),
    pub(super) kinds: u8,
    pub(super) clients: u16,
    pub(super) workers: Vec<WorkerPlan>,
    /// Tasks that a client may have unacknowledged.
    pub(super) window: usize,
    /// A message takes from here to there.
    pub(super) latency: (u64, u64),
    /// A process takes this long to look at what came.
    pub(super) turn: (u64, u64),
    pub(super) outbox_messages: u64,
    pub(super) outbox_bytes: u64,
    /// Publications that get lost, in a hundred.
    pub(super) pub_loss: u64,
    pub(super) payload_max: u64,
    /// The usual run of a task.
    pub(super) run: (u64, u64),
    pub(super) acts: Vec<(u64, ClientNo, Act)>,
    pub(super) faults: Vec<(u64, Fault)>,
    /// The phase of faults is at least this long.
    pub(super) faults_end: u64,
    /// Invariants of the scheduler are checked after every so many turns.
    pub(super) check_every: u64,
}

impl Plan {
    pub(super) fn draw(seed: u64, profile: Profile) -> Self {
        // Each profile has its own stream, so that one seed is a different story in each.
        let mut rng = Rng::new(seed.wrapping_mul(31).wrapping_add(profile as u64));
        let durability = match profile.is_in_memory(&mut rng) {
            true => Durability::Memory,
            false => Durability::Journal,
        };
        let faults_end = rng.between(4, 14) * S;
        let answers = match durability {
            Durability::Memory => Answers::AtOnce,
            Durability::Journal if rng.percent(10) => Answers::AtOnce,
            Durability::Journal => Answers::Later,
        };
        let faults = draw_faults(&mut rng, profile, answers, faults_end);
        let kinds = rng.between(1, 3) as u8;
        let clients = rng.between(1, 3) as u16;
        let workers = draw_workers(&mut rng, kinds);
        let outbox_messages = if rng.percent(20) { rng.between(12, 60) } else { 2_000 };
        let scheduler = draw_config(&mut rng, seed, durability, profile, faults.is_empty());
        let is_slow = rng.percent(20);
        let mut plan = Self {
            seed,
            profile,
            answers,
            sync: if is_slow { (MS, 40 * MS) } else { (200, 4 * MS) },
            kinds,
            clients,
            workers,
            window: if rng.percent(30) { rng.between(1, 24) as usize } else { 4_096 },
            latency: if rng.percent(20) { (5 * MS, 80 * MS) } else { (50, rng.between(100, 3 * MS)) },
            turn: (5, rng.between(10, 400)),
            outbox_messages,
            outbox_bytes: 1 << 20,
            pub_loss: if profile == Profile::Knowledge || rng.percent(10) { rng.between(0, 30) } else { 0 },
            payload_max: if rng.percent(15) { 9_000 } else { 120 },
            run: if rng.percent(30) { (50, 5 * MS) } else { (100, rng.between(5, 600) * MS) },
            acts: draw_acts(&mut rng, profile, clients, faults_end),
            faults,
            faults_end,
            check_every: 1,
            scheduler,
            long_from: u64::MAX,
            behind_from: u64::MAX,
        };
        // Drawn last, so that it changes nothing else of a seed.
        if rng.percent(70) {
            plan.long_from = rng.between(4, 200);
            plan.scheduler.carry_tasks_max = rng.between(1, 20) as usize;
        }
        if !plan.retains_all() {
            plan.draw_retention(&mut rng);
        }
        if plan.answers == Answers::Later {
            plan.draw_disk_troubles(&mut rng);
        }
        // Later than that, for the same reason. What gathers behind a value that is read leaves together: a
        // queue of a dozen messages, which is there for peers that do not read, would be full of it. A real one
        // takes 50,000. And where records are safe within the turn, the log cannot tell whether a lease that
        // waits for its payload was given before or after that.
        if plan.answers == Answers::Later && outbox_messages >= 2_000 && rng.percent(60) {
            plan.scheduler.stored_min = rng.between(1, 150) as usize;
        }
        if rng.percent(OPERATED) {
            plan.draw_operator(&mut rng);
        }
        plan
    }

    /// Kinds that are paused for a while, or until the faults are over, and tasks of the dead set that are let go.
    fn draw_operator(&mut self, rng: &mut Rng) {
        let mut acts = Vec::new();
        for _ in 0..rng.between(0, 3) {
            let kind = rng.below(u64::from(self.kinds)) as u8;
            let from = rng.between(0, self.faults_end);
            acts.push((from, Act::Pause(kind)));
            if rng.percent(80) {
                acts.push((rng.between(from, self.faults_end), Act::Resume(kind)));
            }
        }
        for _ in 0..rng.between(0, 3) {
            let at = rng.between(self.faults_end / 4, self.faults_end);
            acts.push((at, if rng.percent(60) { Act::Discard(3) } else { Act::DiscardAll }));
        }
        let clients = u64::from(self.clients);
        self.acts.extend(acts.into_iter().map(|(at, act)| (at, ClientNo(rng.below(clients) as u16), act)));
        self.acts.sort_by_key(|(at, _, _)| *at);
    }

    /// How little is kept, where not everything is: by bytes and by number as well as by time, and with
    /// clients that are given so few outcomes at a time that those behind wait for longer than they are kept.
    fn draw_retention(&mut self, rng: &mut Rng) {
        let config = &mut self.scheduler;
        if rng.percent(60) {
            config.retain_bytes_max = rng.between(200, 4_000) as usize;
        }
        if rng.percent(40) {
            config.dead_set_max = rng.between(1, 5) as usize;
        }
        if rng.percent(60) {
            config.client_window = rng.between(1, 6) as usize;
        }
    }

    /// When the disk has no room, and when it falls behind.
    fn draw_disk_troubles(&mut self, rng: &mut Rng) {
        let percent = self.profile.disk_troubles();
        for fault in [Fault::DiskFull, Fault::DiskBehind] {
            if rng.percent(percent) {
                let count = rng.between(1, 3);
                self.faults.extend((0..count).map(|_| (rng.between(300 * MS, self.faults_end), fault)));
                if fault == Fault::DiskBehind {
                    // No more than the smallest window lets programs hand in before the first sync is done.
                    self.behind_from = rng.between(2, 2 + self.window.min(20) as u64);
                }
            }
        }
        self.faults.sort_by_key(|(at, _)| *at);
    }

    /// Whether what has settled is kept for the whole run.
    fn retains_all(&self) -> bool {
        self.scheduler.retain_for >= Duration::from_secs(3_600)
    }

    pub(super) fn facts(&self) -> Facts {
        let config = &self.scheduler;
        Facts {
            seed: self.seed,
            profile: self.profile.name(),
            durability: config.durability,
            heartbeat: config.heartbeat,
            liveness: config.liveness,
            grace: config.grace,
            max_attempts: config.max_attempts,
            crash_limit: config.crash_limit,
            queue_tasks_max: config.queue_tasks_max as u64,
            queue_bytes_max: config.queue_bytes_max as u64,
            retains_all: self.retains_all(),
            payload_max: self.payload_max,
            outbox_bytes_max: self.outbox_bytes,
            settle_within: SETTLE_WITHIN,
            sync_max: Duration::from_micros(SLOWEST_SYNC),
        }
    }
}

/// Everything has settled this long after the faults have ended, beside the work that was left then. The
/// longest way there: a worker that must be found silent, a re-attach window, the pauses between tries, and
/// the closing tasks behind them.
pub(super) const SETTLE_WITHIN: Duration = Duration::from_secs(60);
/// Runs in a hundred in which somebody pauses kinds and lets go of the dead set.
const OPERATED: u64 = 30;
/// The slowest sync that a fault makes.
pub(super) const SLOWEST_SYNC: u64 = 3 * S;

fn draw_workers(rng: &mut Rng, kinds: u8) -> Vec<WorkerPlan> {
    let all: Vec<u8> = (0..kinds).collect();
    let mut workers: Vec<WorkerPlan> = (0..rng.between(1, 5))
        .map(|_| {
            let slots = if rng.percent(50) { 1 } else { rng.between(1, 4) as u32 };
            let some: Vec<u8> = all.iter().copied().filter(|_| rng.percent(70)).collect();
            WorkerPlan { slots, kinds: if some.is_empty() { all.clone() } else { some } }
        })
        .collect();
    // Somebody must serve everything, or tasks would stay parked for ever, rightly.
    if let Some(first) = workers.first_mut() {
        first.kinds = all;
    }
    workers
}

fn draw_config(rng: &mut Rng, seed: u64, durability: Durability, profile: Profile, is_calm: bool) -> Config {
    let is_tight = profile == Profile::Overload || rng.percent(15);
    let forgets = !is_calm && rng.percent(10);
    Config {
        broker: "sim".to_owned(),
        epoch: Epoch(1),
        durability,
        seed: rng.next() ^ seed,
        knowledge_port: 1,
        max_attempts: rng.between(1, 3) as u32,
        crash_limit: rng.between(1, 3) as u32,
        backoff_base: Duration::from_millis(rng.between(20, 1_000)),
        backoff_max: Duration::from_secs(4),
        queue_tasks_max: if is_tight { rng.between(10, 60) as usize } else { 100_000 },
        queue_bytes_max: if is_tight { rng.between(2_000, 40_000) as usize } else { 1 << 30 },
        retain_for: Duration::from_secs(if forgets { rng.between(5, 40) } else { 7_200 }),
        credit_max: if rng.percent(30) { rng.between(1, 16) as u32 } else { 4_096 },
        client_window: if rng.percent(33) { rng.between(1, 64) as usize } else { 16_384 },
        client_window_bytes: if rng.percent(20) { rng.between(100, 4_000) as usize } else { 8 << 20 },
        client_backlog_max: if is_tight { rng.between(20, 200) as usize } else { 1_000_000 },
        knowledge_history_max: if rng.percent(33) { rng.between(1, 12) as usize } else { 100_000 },
        ..Config::default()
    }
}

/// Every seed turns some of the faults of its profile on, each with an intensity of its own, so that runs
/// differ in what they are about.
fn draw_faults(rng: &mut Rng, profile: Profile, answers: Answers, end: u64) -> Vec<(u64, Fault)> {
    let mut kinds: Vec<Fault> = profile.faults().to_vec();
    if answers == Answers::AtOnce {
        kinds.retain(|fault| !matches!(fault, Fault::SlowSync | Fault::FailedSync | Fault::LostWrites));
    }
    rng.shuffle(&mut kinds);
    let most = (kinds.len() as u64).min(if profile == Profile::All { 8 } else { 4 });
    kinds.truncate(rng.between(u64::from(most > 0), most) as usize);
    let mut faults = Vec::new();
    for fault in kinds {
        for _ in 0..rng.between(1, 4) {
            faults.push((rng.between(300 * MS, end), fault));
        }
    }
    faults.sort_unstable_by_key(|(at, _)| *at);
    faults
}

fn draw_acts(rng: &mut Rng, profile: Profile, clients: u16, end: u64) -> Vec<(u64, ClientNo, Act)> {
    let mut acts = Vec::new();
    let knowledge = if profile == Profile::Knowledge { 60 } else { rng.between(0, 20) };
    for _ in 0..rng.between(6, 24) {
        let flavour = match rng.below(100) {
            0..45 => Flavour::Mixed,
            45..60 => Flavour::Plain,
            60..72 => Flavour::Tiny,
            72..82 => Flavour::Long,
            82..90 => Flavour::Gated,
            90..95 => Flavour::Stubborn,
            _ => Flavour::Mixed,
        };
        let count = match flavour {
            Flavour::Tiny => rng.between(5, 60),
            Flavour::Plain => rng.between(2, 20),
            _ => rng.between(1, 8),
        };
        acts.push(Act::Submit(count as u16, flavour));
    }
    for _ in 0..rng.between(0, 12) {
        acts.push(match rng.below(20) {
            0..3 => Act::Resubmit(rng.between(1, 8) as u16),
            3..5 => Act::SubmitTheirs,
            5..8 => Act::Watch,
            8..13 => Act::Cancel(rng.between(1, 4) as u16),
            13..14 => Act::CancelTheirs,
            14..17 => Act::Retry,
            17..18 => Act::DrainWorker,
            18..19 => Act::Publish,
            _ => Act::Ask,
        });
    }
    for _ in 0..rng.between(knowledge / 2, knowledge) {
        acts.push(match rng.below(10) {
            0..6 => Act::Put,
            6..8 => Act::Delete,
            _ => Act::PutExpecting,
        });
    }
    let mut timed: Vec<_> = acts
        .into_iter()
        .map(|act| (rng.between(0, end), ClientNo(rng.below(u64::from(clients)) as u16), act))
        .collect();
    timed.sort_by_key(|(at, _, _)| *at);
    timed
}
