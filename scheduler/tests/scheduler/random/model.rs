//! A scheduler so simple that it is obviously right: a map of tasks, lines of them, some workers. It knows
//! nothing of journals, sessions, credit or kinds, and decides nothing that is left to choice: who gets a
//! task is told to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ganger_common::view::TaskState;
use ganger_common::{AttemptEnd, ErrorCode, Outcome};
use ganger_scheduler::Time;

/// A client may hold this many times what is free.
const SHARE_OF_FREE: usize = 8;

/// What there is to know of a task.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) state: State,
    pub(super) attempt: u32,
    /// The order in which they came.
    seq: usize,
    failures: u32,
    crashes: u32,
    /// May neither fail nor crash.
    fragile: bool,
    /// When it expires, if it has not started by then.
    expires: Option<Time>,
    /// Counts against the share of its client.
    paid: bool,
    /// The client waits for its outcome: not after a retry, unless it says so again.
    awaited: bool,
    /// Attempts that ended otherwise than by handing back, and who had them.
    past: BTreeSet<(u32, u8)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Queued,
    Delayed(Time),
    Held { place: usize, started: bool },
    Settled(Outcome),
}

/// A worker at its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Worker {
    /// Counts the processes at this place.
    pub(super) incarnation: u8,
    pub(super) slots: usize,
    /// Tasks that it has, in the order in which it got them, and in the order in which they started.
    pub(super) waiting: Vec<u32>,
    pub(super) running: Vec<u32>,
    /// Leases that were taken from it, until it says that they ended.
    pub(super) stopping: BTreeSet<(u32, u32)>,
    pub(super) link: Link,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Link {
    #[default]
    None,
    Open,
    /// Broken; it is given up then.
    Broken(Time),
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) now: Time,
    pub(super) tasks: BTreeMap<u32, Task>,
    /// Whose turn it is comes first: a line for what counts on the account of the client, one for what was put
    /// back.
    lines: VecDeque<(bool, VecDeque<u32>)>,
    pub(super) workers: Vec<Worker>,
    /// Outcomes that the client has not heard.
    pub(super) told: BTreeMap<u32, Outcome>,
    tasks_max: usize,
    grace: Duration,
}

/// What a task of a flavour asks for.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Wish {
    pub(super) delay: Duration,
    pub(super) ttl: Option<Duration>,
    pub(super) fragile: bool,
}

impl Model {
    pub(super) fn new(now: Time, places: usize, tasks_max: usize, grace: Duration) -> Self {
        let (tasks, lines, told) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new());
        Self { now, tasks, lines, workers: vec![Worker::default(); places], told, tasks_max, grace }
    }

    /// Time passes. At one moment what is due comes before what expires.
    pub(super) fn advance(&mut self, now: Time) {
        self.now = now;
        let due: Vec<u32> = self.all(|task| matches!(task.state, State::Delayed(due) if due <= now));
        let mut due: Vec<_> = due.into_iter().map(|n| (self.due(n), self.tasks[&n].seq, n)).collect();
        due.sort_unstable();
        for (_, _, n) in due {
            self.enqueue(n, false);
        }
        for n in self.all(|task| task.expires.is_some_and(|at| at <= now)) {
            self.take_away(n);
            self.settle(n, Outcome::Expired);
        }
        let late = |(place, worker): (usize, &Worker)| match worker.link {
            Link::Broken(until) if until <= now => Some((until, worker.incarnation, place)),
            _ => None,
        };
        let mut lost: Vec<_> = self.workers.iter().enumerate().filter_map(late).collect();
        lost.sort_unstable();
        for (_, _, place) in lost {
            self.lose(place);
        }
    }

    /// The refusals, by their places.
    pub(super) fn submit(&mut self, tasks: &[(u32, Wish)]) -> Vec<(u32, ErrorCode)> {
        let mut refused = Vec::new();
        let mut fresh: Vec<(u32, Wish)> = Vec::new();
        for (index, (n, wish)) in (0..).zip(tasks) {
            if let Some(task) = self.tasks.get_mut(n) {
                match task.state {
                    State::Settled(outcome) => drop(self.told.insert(*n, outcome)),
                    _ => task.awaited = true,
                }
                continue;
            }
            let unsettled = self.all(|task| !matches!(task.state, State::Settled(_))).len() + fresh.len();
            let paid = self.all(|task| task.paid).len() + fresh.len();
            let free = self.tasks_max.saturating_sub(unsettled);
            match free == 0 || paid > free * SHARE_OF_FREE {
                true => refused.push((index, ErrorCode::Busy)),
                false => fresh.push((*n, *wish)),
            }
        }
        for (n, wish) in fresh {
            if !self.tasks.contains_key(&n) {
                self.add(n, wish);
            }
        }
        refused
    }

    fn add(&mut self, n: u32, wish: Wish) {
        let task = Task {
            state: State::Queued,
            attempt: 0,
            seq: self.tasks.len(),
            failures: 0,
            crashes: 0,
            fragile: wish.fragile,
            expires: wish.ttl.map(|ttl| self.now.plus(ttl)),
            paid: true,
            awaited: true,
            past: BTreeSet::new(),
        };
        self.tasks.insert(n, task);
        match wish.delay.is_zero() {
            true => self.enqueue(n, false),
            false => self.task(n).state = State::Delayed(self.now.plus(wish.delay)),
        }
    }

    pub(super) fn cancel(&mut self, tasks: &[u32]) -> Vec<(u32, ErrorCode)> {
        let mut refused = Vec::new();
        for (index, n) in (0..).zip(tasks) {
            match self.tasks.get(n).map(|task| task.state) {
                None => refused.push((index, ErrorCode::UnknownTask)),
                Some(State::Settled(Outcome::Cancelled)) => {}
                Some(State::Settled(_)) => refused.push((index, ErrorCode::AlreadySettled)),
                Some(_) => {
                    self.take_away(*n);
                    self.settle(*n, Outcome::Cancelled);
                }
            }
        }
        refused
    }

    pub(super) fn retry(&mut self, tasks: &[u32]) -> Vec<(u32, ErrorCode)> {
        let mut refused = Vec::new();
        let mut retried = BTreeSet::new();
        let mut order = Vec::new();
        for (index, n) in (0..).zip(tasks) {
            match self.tasks.get(n).map(|task| task.state) {
                None => refused.push((index, ErrorCode::UnknownTask)),
                Some(State::Settled(Outcome::Failed | Outcome::Dead)) => {
                    retried.insert(*n).then(|| order.push(*n));
                }
                Some(_) => refused.push((index, ErrorCode::NotRetryable)),
            }
        }
        for n in order {
            (self.task(n).failures, self.task(n).crashes) = (0, 0);
            self.enqueue(n, false);
        }
        refused
    }

    /// A worker joins at an empty place, as another process.
    pub(super) fn join(&mut self, place: usize, incarnation: u8, slots: usize) {
        let link = Link::Open;
        self.workers[place] = Worker { incarnation, slots, link, ..Worker::default() };
    }

    pub(super) fn cut(&mut self, place: usize) {
        self.workers[place].link = Link::Broken(self.now.plus(self.grace));
    }

    /// A worker was given a task: somebody has to choose.
    pub(super) fn give(&mut self, place: usize, n: u32) {
        let task = self.task(n);
        task.attempt += 1;
        task.state = State::Held { place, started: false };
        self.workers[place].waiting.push(n);
    }

    pub(super) fn start(&mut self, place: usize, n: u32) {
        self.task(n).state = State::Held { place, started: true };
        self.task(n).expires = None;
        let worker = &mut self.workers[place];
        worker.waiting.retain(|other| *other != n);
        worker.running.push(n);
    }

    /// The end of an attempt. Returns whether it counts.
    pub(super) fn end(
        &mut self,
        place: usize,
        n: u32,
        attempt: u32,
        end: AttemptEnd,
        retry: Duration,
    ) -> bool {
        let was_stopping = self.workers[place].stopping.remove(&(n, attempt));
        let Some(task) = self.tasks.get(&n) else { return was_stopping };
        let holds = matches!(task.state, State::Held { place: holder, .. } if holder == place);
        if !was_stopping && holds && task.attempt == attempt {
            self.end_current(place, n, end, retry);
            return true;
        }
        let is_open = !matches!(task.state, State::Settled(_));
        let had_it = task.past.contains(&(attempt, self.workers[place].incarnation));
        let is_late = end == AttemptEnd::Succeeded && is_open && had_it;
        if is_late {
            self.take_away(n);
            self.settle(n, Outcome::Succeeded);
        }
        is_late || was_stopping
    }

    fn end_current(&mut self, place: usize, n: u32, end: AttemptEnd, retry: Duration) {
        self.drop_from(place, n);
        if end == AttemptEnd::Returned {
            return self.enqueue(n, true);
        }
        self.remember(place, n);
        self.task(n).expires = None;
        let task = self.task(n);
        match end {
            AttemptEnd::Succeeded => self.settle(n, Outcome::Succeeded),
            AttemptEnd::Failed => {
                task.failures += 1;
                match task.failures >= if task.fragile { 1 } else { 3 } {
                    true => self.settle(n, Outcome::Failed),
                    false => self.task(n).state = State::Delayed(self.now.plus(retry)),
                }
            }
            _ => self.enqueue(n, true),
        }
    }

    /// A worker is gone for good. From the back, so that what it had keeps its order at the front.
    fn lose(&mut self, place: usize) {
        let Worker { waiting, running, .. } = std::mem::take(&mut self.workers[place]);
        let incarnation = self.workers[place].incarnation;
        debug_assert_eq!(incarnation, 0);
        for n in waiting.into_iter().rev() {
            self.enqueue(n, true);
        }
        for n in running.into_iter().rev() {
            let task = self.task(n);
            task.crashes += 1;
            task.expires = None;
            match task.crashes >= if task.fragile { 1 } else { 3 } {
                true => self.settle(n, Outcome::Dead),
                false => self.enqueue(n, true),
            }
        }
    }

    /// The state as a listing shows it.
    pub(super) fn shown(&self, task: &Task) -> (TaskState, Option<Outcome>) {
        let is_parked = self.workers.iter().all(|worker| worker.link == Link::None);
        match task.state {
            State::Queued if is_parked => (TaskState::Parked, None),
            State::Queued => (TaskState::Queued, None),
            State::Delayed(_) => (TaskState::Delayed, None),
            State::Held { started: false, .. } => (TaskState::Assigned, None),
            State::Held { started: true, .. } => (TaskState::Running, None),
            State::Settled(outcome) => (TaskState::Settled, Some(outcome)),
        }
    }

    /// Slots with nothing to do at workers that can be reached.
    pub(super) fn free_slots(&self) -> usize {
        let open = self.workers.iter().filter(|worker| worker.link == Link::Open);
        let busy = |worker: &Worker| worker.waiting.len() + worker.running.len() + worker.stopping.len();
        open.map(|worker| worker.slots.saturating_sub(busy(worker))).sum()
    }

    pub(super) fn task(&mut self, n: u32) -> &mut Task {
        self.tasks.get_mut(&n).expect("a task of the model")
    }

    fn due(&self, n: u32) -> Time {
        match self.tasks[&n].state {
            State::Delayed(due) => due,
            _ => self.now,
        }
    }

    fn all(&self, wanted: impl Fn(&Task) -> bool) -> Vec<u32> {
        self.tasks.iter().filter(|(_, task)| wanted(task)).map(|(n, _)| *n).collect()
    }

    fn enqueue(&mut self, n: u32, front: bool) {
        self.task(n).state = State::Queued;
        let paid = self.task(n).paid;
        let line = match self.lines.iter().position(|(whose, _)| *whose == paid) {
            Some(at) => &mut self.lines[at].1,
            None if front => &mut self.lines.push_front_mut((paid, VecDeque::new())).1,
            None => &mut self.lines.push_back_mut((paid, VecDeque::new())).1,
        };
        match front {
            true => line.push_front(n),
            false => line.push_back(n),
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.lines.iter().map(|(_, line)| line.len()).sum()
    }

    /// Takes out those whose turn it is.
    pub(super) fn next(&mut self, count: usize) -> BTreeSet<u32> {
        (0..count).filter_map(|_| self.next_one()).collect()
    }

    fn next_one(&mut self) -> Option<u32> {
        let (paid, mut line) = self.lines.pop_front()?;
        let first = line.pop_front();
        if !line.is_empty() {
            self.lines.push_back((paid, line));
        }
        first
    }

    fn settle(&mut self, n: u32, outcome: Outcome) {
        self.lines.iter_mut().for_each(|(_, line)| line.retain(|other| *other != n));
        self.lines.retain(|(_, line)| !line.is_empty());
        let task = self.task(n);
        task.state = State::Settled(outcome);
        (task.expires, task.paid) = (None, false);
        if std::mem::take(&mut task.awaited) {
            self.told.insert(n, outcome);
        }
    }

    /// A lease is taken away from a worker that may still be at it.
    fn take_away(&mut self, n: u32) {
        if let State::Held { place, .. } = self.tasks[&n].state {
            let attempt = self.tasks[&n].attempt;
            self.drop_from(place, n);
            self.workers[place].stopping.insert((n, attempt));
        }
    }

    fn drop_from(&mut self, place: usize, n: u32) {
        self.workers[place].waiting.retain(|other| *other != n);
        self.workers[place].running.retain(|other| *other != n);
    }

    fn remember(&mut self, place: usize, n: u32) {
        let incarnation = self.workers[place].incarnation;
        let task = self.task(n);
        task.past.insert((task.attempt, incarnation));
    }
}
