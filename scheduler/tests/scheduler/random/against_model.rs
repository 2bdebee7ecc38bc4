//! The scheduler and the model do the same, and say the same of every task after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ganger_common::message::Lease;
use ganger_common::view::TaskState;
use ganger_common::{AttemptEnd, ErrorCode, Outcome};
use ganger_scheduler::effect::ClientReply;
use ganger_scheduler::input::{ClientRequest, NewTask, TaskFilter};
use proptest::prelude::*;

use super::model::{Link, Model, Wish};
use crate::support::*;

const PLACES: usize = 3;
const TASKS: u32 = 20;
/// Few enough that the queue is full now and then.
const QUEUE_MAX: usize = 12;
/// After a failure; the usual back-off is drawn.
const RETRY_AFTER: Duration = Duration::from_millis(300);

#[derive(Clone, Debug)]
enum Step {
    Submit(Vec<(u32, Flavour)>),
    Cancel(Vec<u32>),
    Retry(Vec<u32>),
    Join(usize),
    Cut(usize),
    Start(usize, usize),
    End(usize, usize, AttemptEnd),
    /// A lease that was taken away ends.
    Stop(usize),
    /// A claim about anything.
    Claim(usize, u32, u32, AttemptEnd),
    Pass(u64),
}

#[derive(Clone, Copy, Debug)]
enum Flavour {
    Plain,
    Delayed,
    Short,
    Fragile,
}

impl Flavour {
    fn wish(self) -> Wish {
        match self {
            Self::Plain => Wish::default(),
            Self::Delayed => Wish { delay: ms(1_500), ..Wish::default() },
            Self::Short => Wish { ttl: Some(ms(2_000)), ..Wish::default() },
            Self::Fragile => Wish { fragile: true, ..Wish::default() },
        }
    }

    fn task(self, n: u32) -> NewTask {
        match self {
            Self::Plain => task(n),
            Self::Delayed => task_with(n, |options| options.delay_ms = 1_500),
            Self::Short => task_with(n, |options| options.ttl_ms = Some(2_000)),
            Self::Fragile => {
                task_with(n, |options| (options.max_attempts, options.crash_limit) = (Some(1), Some(1)))
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let flavour = prop_oneof![
        4 => Just(Flavour::Plain), 1 => Just(Flavour::Delayed), 1 => Just(Flavour::Short), 1 => Just(Flavour::Fragile)
    ];
    let end = prop_oneof![
        4 => Just(AttemptEnd::Succeeded), 3 => Just(AttemptEnd::Failed),
        1 => Just(AttemptEnd::Returned), 1 => Just(AttemptEnd::Interrupted)
    ];
    let some = prop::collection::vec(0..TASKS, 1..4);
    let step = prop_oneof![
        5 => prop::collection::vec((0..TASKS, flavour), 1..6).prop_map(Step::Submit),
        1 => some.clone().prop_map(Step::Cancel),
        1 => some.prop_map(Step::Retry),
        3 => (0..PLACES).prop_map(Step::Join),
        1 => (0..PLACES).prop_map(Step::Cut),
        5 => (0..PLACES, 0..4_usize).prop_map(|(place, at)| Step::Start(place, at)),
        7 => (0..PLACES, 0..4_usize, end.clone()).prop_map(|(place, at, end)| Step::End(place, at, end)),
        2 => (0..PLACES).prop_map(Step::Stop),
        2 => (0..PLACES, 0..TASKS, 1..5_u32, end).prop_map(|(place, n, attempt, end)| Step::Claim(place, n, attempt, end)),
        4 => (1..1_500_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..150)
}

/// Both of them, side by side.
struct Pair {
    desk: Desk,
    client: Client,
    workers: Vec<Option<Worker>>,
    model: Model,
    incarnations: u8,
}

impl Pair {
    fn new() -> Self {
        let mut desk = Desk::with(|config| {
            config.queue_tasks_max = QUEUE_MAX;
            config.credit_max = 0;
        });
        let client = desk.client(1);
        let model = Model::new(desk.now.time, PLACES, QUEUE_MAX, desk.scheduler.config().grace);
        Self { desk, client, workers: vec![None; PLACES], model, incarnations: 10 }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Submit(tasks) => {
                let wishes: Vec<_> = tasks.iter().map(|(n, flavour)| (*n, flavour.wish())).collect();
                let tasks = tasks.iter().map(|(n, flavour)| flavour.task(*n)).collect();
                let refused = self.desk.submit_some(self.client, false, tasks);
                let refused: Vec<_> = refused.iter().map(|no| (no.index, no.code)).collect();
                assert_eq!(refused, self.model.submit(&wishes), "refusals of a submission");
            }
            Step::Cancel(tasks) => {
                assert_eq!(self.desk.cancel(self.client, tasks), self.model.cancel(tasks), "cancel");
            }
            Step::Retry(tasks) => {
                assert_eq!(self.desk.retry(self.client, tasks), self.model.retry(tasks), "retry");
            }
            Step::Join(place) => self.join(*place),
            Step::Cut(place) => {
                if let (Some(worker), Link::Open) = (&self.workers[*place], self.model.workers[*place].link) {
                    self.desk.cut(worker.conn);
                    self.model.cut(*place);
                }
            }
            Step::Start(place, at) => self.start(*place, *at),
            Step::End(place, at, end) => {
                let worker = &self.model.workers[*place];
                let held: Vec<u32> = worker.running.iter().chain(&worker.waiting).copied().collect();
                if let Some(n) = held.get(at % held.len().max(1)).copied() {
                    // Only what has not started is handed back; anything else has started.
                    let started = worker.running.contains(&n);
                    let end = match (started, *end) {
                        (true, AttemptEnd::Returned) => AttemptEnd::Succeeded,
                        (_, end) => end,
                    };
                    let attempt = self.model.tasks[&n].attempt;
                    self.report(*place, n, attempt, end);
                }
            }
            Step::Stop(place) => {
                if let Some((n, attempt)) = self.model.workers[*place].stopping.first().copied() {
                    self.report(*place, n, attempt, AttemptEnd::Cancelled);
                }
            }
            Step::Claim(place, n, attempt, end) => self.report(*place, *n, *attempt, *end),
            Step::Pass(span) => self.pass(ms(*span)),
        }
        self.settle_turn();
        self.compare();
    }

    fn join(&mut self, place: usize) {
        if self.model.workers[place].link == Link::None {
            self.incarnations += 1;
            let slots = self.incarnations as u32 % 3 + 1;
            self.workers[place] = Some(self.desk.worker(self.incarnations, slots));
            self.model.join(place, self.incarnations, slots as usize);
        }
    }

    fn start(&mut self, place: usize, at: usize) {
        let worker = &self.model.workers[place];
        if let (Link::Open, Some(n)) =
            (worker.link, worker.waiting.get(at % worker.waiting.len().max(1)).copied())
        {
            let lease = lease(n, self.model.tasks[&n].attempt);
            let worker = self.workers[place].clone().expect("a worker with a task");
            self.desk.start(&worker, &[lease]);
            let _ = self.desk.pick(|effect| match effect {
                ganger_scheduler::effect::Effect::ToWorker {
                    command: ganger_scheduler::effect::WorkerCommand::Start { .. },
                    ..
                } => Some(()),
                _ => None,
            });
            self.model.start(place, n);
        }
    }

    fn report(&mut self, place: usize, n: u32, attempt: u32, end: AttemptEnd) {
        let (Some(worker), Link::Open) = (self.workers[place].clone(), self.model.workers[place].link) else {
            return;
        };
        let ended = match end {
            AttemptEnd::Failed => failure_with(n, attempt, |detail| detail.retry_after = Some(RETRY_AFTER)),
            end => ended(n, attempt, end),
        };
        let stale: Vec<Lease> = self.desk.report(&worker, vec![], vec![ended], 0);
        let counts = self.model.end(place, n, attempt, end, RETRY_AFTER);
        assert_eq!(stale.is_empty(), counts, "whether attempt {attempt} of {n}, {end}, counts");
    }

    /// From one deadline of the scheduler to the next, so that both see the same moments.
    fn pass(&mut self, span: Duration) {
        let end = self.desk.now.time.plus(span);
        while let Some((due, _)) = self.desk.scheduler.poll_timeout().filter(|(due, _)| *due <= end) {
            self.desk.pass(due.since(self.desk.now.time));
            self.model.advance(self.desk.now.time);
            self.settle_turn();
        }
        self.desk.pass(end.since(self.desk.now.time));
        self.model.advance(self.desk.now.time);
    }

    /// What the scheduler has chosen, the model follows, if it was a choice that there was.
    fn settle_turn(&mut self) {
        let mut given = Vec::new();
        for place in 0..PLACES {
            let Some(worker) = self.workers[place].clone() else { continue };
            for (n, attempt) in self.desk.given(&worker) {
                given.push((place, n, attempt));
            }
            // To stop, and to hand back, is up to the worker; a lost one is told nothing.
            self.desk.commands(&worker);
        }
        let first: BTreeSet<u32> = self.model.next(given.len());
        let chosen: BTreeSet<u32> = given.iter().map(|(_, n, _)| *n).collect();
        assert_eq!(chosen, first, "what is given out are the first of the queue");
        for (place, n, attempt) in given {
            self.model.give(place, n);
            assert_eq!(self.model.tasks[&n].attempt, attempt, "attempts of {n} are numbered through");
        }
        let (free, queued) = (self.model.free_slots(), self.model.queued());
        assert!(free == 0 || queued == 0, "{free} slots are free beside {queued} queued tasks");
        let told: BTreeMap<u32, Outcome> = self.desk.outcomes(self.client).into_iter().collect();
        assert_eq!(told, std::mem::take(&mut self.model.told), "outcomes that the client was told");
        self.desk.closed();
    }

    /// Tasks without an outcome.
    fn open(&self) -> usize {
        self.model.tasks.values().filter(|task| self.model.shown(task).1.is_none()).count()
    }

    fn compare(&mut self) {
        let mut shown: BTreeMap<u32, (TaskState, Option<Outcome>)> = BTreeMap::new();
        let filter = TaskFilter::default();
        match self.desk.request(self.client, |req| ClientRequest::List {
            req,
            filter,
            after: None,
            limit: None,
        }) {
            ClientReply::Tasks { rows, .. } => {
                shown.extend(rows.iter().map(|row| (number(row.id), (row.state, row.outcome))));
            }
            other => panic!("no rows: {other:?}"),
        }
        let expected = self.model.tasks.iter().map(|(n, task)| (*n, self.model.shown(task))).collect();
        assert_eq!(shown, expected, "what a listing shows");
    }
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn the_scheduler_does_what_the_model_does(steps in steps()) {
        let mut pair = Pair::new();
        steps.iter().for_each(|step| pair.step(step));
        // Everybody comes and works until nothing is left.
        for _ in 0..60 {
            if pair.open() == 0 {
                break;
            }
            for place in 0..PLACES {
                pair.step(&Step::Join(place));
                pair.step(&Step::Stop(place));
                pair.step(&Step::End(place, 0, AttemptEnd::Succeeded));
            }
            pair.step(&Step::Pass(250));
        }
        prop_assert_eq!(pair.open(), 0);
    }
}

#[test]
fn a_full_queue_and_a_share_are_refused_alike() {
    let mut pair = Pair::new();
    let all: Vec<_> = (0..TASKS).map(|n| (n, Flavour::Plain)).collect();
    pair.step(&Step::Submit(all));
    assert!(pair.model.tasks.len() < QUEUE_MAX + 1);
    let codes = pair.model.submit(&[(19, Wish::default())]);
    assert_eq!(codes, [(0, ErrorCode::Busy)]);
}
