//! What the programs do.

use bytes::Bytes;
use ganger_client::session::request::{Ask, DiscardQuery, Request, TaskQuery};
use ganger_common::view::Among;
use ganger_common::{Revision, TaskId, TaskOptions};
use std::time::Duration;

use super::client::{Book, Wait};
use super::handler::{Script, Task};
use super::log::{ClientNo, Digest, Event, Fault};
use super::plan::{Act, Flavour, MS};
use super::world::World;

/// Topics of the knowledge map.
pub(super) const TOPICS: [&str; 3] = ["alpha", "beta", "gamma"];
/// Keys in each topic.
const KEYS: u64 = 5;
/// An act whose program is away waits for it.
const LATER: u64 = 150 * MS;

impl World {
    pub(super) fn on_act(&mut self, place: usize) {
        let Some((_, no, act)) = self.acts.get(place).copied() else { return };
        if !self.client(no).is_up() || self.client(no).is_paused {
            // Once the faults are over, everybody is there soon.
            self.queue.push(self.now + LATER, super::queue::Happening::Act(place));
            return;
        }
        self.acts_done += 1;
        self.act(no, act);
    }

    pub(super) fn act(&mut self, no: ClientNo, act: Act) {
        match act {
            Act::Submit(count, flavour) => self.submit_new(no, count, flavour),
            Act::Resubmit(count) => {
                let mine: Vec<TaskId> = self.client(no).books.keys().copied().collect();
                for _ in 0..count {
                    if let Some(task) = self.rng.pick(&mine).copied() {
                        self.fault(Fault::Resubmit);
                        self.submit_task(no, task);
                    }
                }
            }
            Act::SubmitTheirs => {
                if let Some(task) = self.any_task() {
                    self.fault(Fault::Resubmit);
                    self.submit_task(no, task);
                }
            }
            Act::Watch => {
                let tasks: Vec<TaskId> = (0..3).filter_map(|_| self.any_task()).collect();
                self.watch_tasks(no, tasks);
            }
            Act::Cancel(count) => {
                let mine: Vec<TaskId> = self
                    .client(no)
                    .books
                    .iter()
                    .filter(|(_, book)| matches!(book, Book::Asked | Book::Acknowledged))
                    .map(|(task, _)| *task)
                    .collect();
                let tasks: Vec<TaskId> = (0..count).filter_map(|_| self.rng.pick(&mine).copied()).collect();
                self.cancel(no, tasks);
            }
            Act::CancelTheirs => {
                let tasks = self.any_task().into_iter().collect();
                self.cancel(no, tasks);
            }
            Act::Retry => {
                let books = &self.client(no).books;
                let failed: Vec<TaskId> =
                    books.iter().filter(|(_, book)| **book == Book::Failed).map(|(task, _)| *task).collect();
                if let Some(task) = self.rng.pick(&failed).copied() {
                    let ask = self.next_ask();
                    self.fault(Fault::Retry);
                    self.note(Event::RetryAsked { client: no, ask, task });
                    self.ask(no, Wait::Retry { ask, tasks: vec![task] }, Request::Retry(vec![task]));
                }
            }
            Act::Discard(count) => {
                let books = &self.client(no).books;
                let failed: Vec<TaskId> =
                    books.iter().filter(|(_, book)| **book == Book::Failed).map(|(task, _)| *task).collect();
                let mut tasks: Vec<TaskId> =
                    (0..count).filter_map(|_| self.rng.pick(&failed).copied()).collect();
                // Somebody else's, which may be in any state.
                tasks.extend(self.any_task());
                tasks.sort_unstable();
                tasks.dedup();
                if !tasks.is_empty() {
                    self.discard(no, tasks.clone(), Request::Discard(tasks));
                }
            }
            Act::DiscardAll => {
                let query = DiscardQuery { among: Among::Any, kind: None, after: None };
                self.discard(no, Vec::new(), Request::DiscardAll(query));
            }
            // Once the faults are over, nothing is paused any more.
            Act::Pause(kind) if self.is_chaos => {
                self.fault(Fault::KindPause);
                self.ask_kind(no, kind, true);
            }
            Act::Pause(_) => {}
            Act::Resume(kind) => self.ask_kind(no, kind, false),
            Act::Put | Act::Delete | Act::PutExpecting => self.change_knowledge(no, act),
            Act::Ask => self.ask_something(no),
            Act::DrainWorker => {
                let names: Vec<String> =
                    self.workers.iter().map(|worker| format!("w{}", worker.no.0)).collect();
                let workers = self.rng.pick(&names).cloned().into_iter().collect();
                let deadline = Some(Duration::from_millis(self.rng.between(0, 2_000)));
                self.fault(Fault::WorkerDrain);
                self.ask(no, Wait::Any, Request::Drain { workers, broker: false, deadline });
            }
            Act::Publish => {
                let request = Request::Publish { topic: "news".to_owned(), body: Bytes::from_static(b"!") };
                self.ask(no, Wait::Any, request);
            }
        }
    }

    fn cancel(&mut self, no: ClientNo, mut tasks: Vec<TaskId>) {
        tasks.sort_unstable();
        tasks.dedup();
        if tasks.is_empty() {
            return;
        }
        let ask = self.next_ask();
        for task in &tasks {
            self.fault(Fault::Cancel);
            self.note(Event::CancelAsked { client: no, ask, task: *task });
        }
        self.ask(no, Wait::Cancel { ask, tasks: tasks.clone() }, Request::Cancel(tasks));
    }

    fn discard(&mut self, no: ClientNo, tasks: Vec<TaskId>, request: Request) {
        let ask = self.next_ask();
        self.fault(Fault::Discard);
        self.note(Event::DiscardAsked { client: no, ask, tasks: tasks.clone() });
        self.ask(no, Wait::Discard { ask, tasks }, request);
    }

    fn ask_kind(&mut self, no: ClientNo, kind: u8, pauses: bool) {
        let ask = self.next_ask();
        self.note(Event::KindAsked { client: no, ask, kind, pauses });
        let name = format!("k{kind}");
        let request = match pauses {
            true => Request::Pause { kind: name },
            false => Request::Resume { kind: name },
        };
        self.ask(no, Wait::Kind { ask }, request);
    }

    fn any_task(&mut self) -> Option<TaskId> {
        let place = self.rng.below(self.tasks.len() as u64) as usize;
        self.tasks.keys().nth(place).copied()
    }

    pub(super) fn next_ask(&mut self) -> u64 {
        self.asks += 1;
        self.asks
    }

    /// Makes up tasks and hands them in.
    pub(super) fn submit_new(&mut self, no: ClientNo, count: u16, flavour: Flavour) {
        for _ in 0..count {
            let task = self.make_task(flavour);
            let id = TaskId::from_bytes(self.rng.id());
            self.tasks.insert(id, task);
            self.submit_task(no, id);
        }
    }

    fn make_task(&mut self, flavour: Flavour) -> Task {
        let kinds = u64::from(self.plan.kinds);
        let mut run = self.plan.run;
        let mut options = TaskOptions::default();
        let mut script = Script::Succeeds;
        let mut is_stubborn = false;
        match flavour {
            Flavour::Mixed => {
                script = self.draw_script(&mut options);
                self.draw_options(&mut options);
            }
            Flavour::Tiny => run = (20, 500),
            Flavour::Plain => {}
            Flavour::Long => {
                run = (run.1 / 2 + 300 * MS, run.1 + 2_000 * MS);
                if self.rng.percent(50) {
                    options.ttl_ms = Some(self.rng.between(500, 3_000));
                }
            }
            Flavour::Poison => script = Script::Poison(self.rng.between(1, 4) as u32),
            Flavour::Stubborn => {
                is_stubborn = true;
                run = (500 * MS, 4_000 * MS);
                options.run_limit_ms = self.rng.percent(50).then(|| self.rng.between(100, 2_000));
            }
            Flavour::Gated => options.knowledge = Some(Revision(self.acknowledged_revision)),
            Flavour::Closing => run = (100 * MS, 400 * MS),
        }
        let kind = if flavour == Flavour::Plain { 0 } else { self.rng.below(kinds) as u8 };
        let size = match self.rng.below(10) {
            0 => 0,
            1 => self.plan.payload_max,
            _ => self.rng.between(1, 40),
        };
        let payload: Vec<u8> = (0..size).map(|place| (place as u8) ^ (size as u8)).collect();
        let mut payload = payload;
        // No two tasks have the same bytes, as far as there is room for that.
        for (place, byte) in payload.iter_mut().zip(self.rng.id()) {
            *place = byte;
        }
        let payload = Bytes::from(payload);
        Task { kind, payload, options, script, run, is_stubborn, runs: 0, kills: 0 }
    }

    fn draw_script(&mut self, options: &mut TaskOptions) -> Script {
        match self.rng.below(100) {
            0..62 => Script::Succeeds,
            62..74 => Script::FailsAtFirst(self.rng.between(1, 3) as u32),
            74..82 => Script::Fails,
            82..86 => Script::FailsForGood,
            86..90 => Script::Panics,
            90..97 => {
                options.run_limit_ms = Some(self.rng.between(20, 1_500));
                Script::Hangs
            }
            _ => Script::Succeeds,
        }
    }

    fn draw_options(&mut self, options: &mut TaskOptions) {
        let rng = &mut self.rng;
        if rng.percent(30) {
            options.priority = rng.between(0, 6) as i16 - 3;
        }
        if rng.percent(12) {
            options.delay_ms = rng.between(1, 3_000);
        }
        if rng.percent(10) {
            options.ttl_ms = Some(rng.between(50, 6_000));
        }
        if rng.percent(10) && options.run_limit_ms.is_none() {
            options.run_limit_ms = Some(rng.between(5, 800));
        }
        if rng.percent(15) {
            options.max_attempts = Some(rng.between(1, 4) as u32);
        }
        if rng.percent(10) {
            options.crash_limit = Some(rng.between(1, 4) as u32);
        }
        if rng.percent(25) {
            options.backoff_ms = Some(rng.between(0, 300));
        }
        if rng.percent(6) {
            options.detached = true;
        }
        if rng.percent(10) {
            options.events = true;
        }
        if rng.percent(6) {
            options.knowledge = Some(Revision(self.acknowledged_revision));
        }
    }

    fn change_knowledge(&mut self, no: ClientNo, act: Act) {
        let topic = self.rng.pick(&TOPICS).copied().unwrap_or_default().to_owned();
        let key = format!("key{}", self.rng.below(KEYS));
        let ask = self.next_ask();
        let value = (act != Act::Delete).then(|| {
            // A few are too large to be published, and are fetched.
            let size = if self.rng.percent(8) { 5_000 } else { self.rng.between(0, 60) };
            let mut value = format!("{ask}:").into_bytes();
            value.resize(value.len() + size as usize, b'.');
            Bytes::from(value)
        });
        let expect = (act == Act::PutExpecting).then(|| {
            let most = self.acknowledged_revision;
            Revision(if self.rng.percent(40) { 0 } else { self.rng.between(most.saturating_sub(3), most) })
        });
        self.note(Event::KnowledgeAsked {
            client: no,
            ask,
            topic: topic.clone(),
            key: key.clone(),
            value: value.as_deref().map(Digest::of),
            expect,
        });
        let request = match value {
            Some(value) => Ask::Put { topic, key, value, expect },
            None => Ask::Delete { topic, key, expect },
        };
        self.ask(no, Wait::Knowledge { ask }, Request::Knowledge(request));
    }

    fn ask_something(&mut self, no: ClientNo) {
        let task = self.any_task();
        let request = match (self.rng.below(6), task) {
            (0, Some(task)) => Request::Fetch(task),
            (1, Some(task)) => Request::Explain(task),
            (2, _) => Request::Workers { after: None },
            (3, _) => Request::List(TaskQuery::default()),
            (4, _) => Request::Knowledge(Ask::Status),
            _ => Request::Status,
        };
        self.ask(no, Wait::Any, request);
    }
}
