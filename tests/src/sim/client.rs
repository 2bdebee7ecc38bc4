//! The clients' processes: the real session, and a program on top that keeps books.

use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ganger_client::NewTask;
use ganger_client::session::request::Request;
use ganger_client::session::{Effect, Input, Session, SessionConfig, Submission, Token};
use ganger_common::{ClientId, ConnId, SessionToken, TaskId};

use super::log::{ClientNo, CutBy, Digest, Event, Peer};
use super::net::Item;
use super::plan::S;
use super::queue::{Happening, Node, Wake};
use super::world::World;

/// A place where a program runs, its process if there is one, and its books, which survive it.
pub(super) struct ClientNode {
    pub(super) no: ClientNo,
    pub(super) process: u32,
    pub(super) client: ClientId,
    pub(super) token: SessionToken,
    pub(super) session: Option<Session>,
    inbox: VecDeque<Input>,
    pub(super) conn: Option<ConnId>,
    pub(super) attempt: u32,
    pub(super) connecting_since: Option<u64>,
    pub(super) is_paused: bool,
    wake: Wake,
    /// Tasks that wait for room in the window.
    pub(super) outside: VecDeque<TaskId>,
    /// Whoever waits for something.
    pub(super) waits: BTreeMap<Token, Wait>,
    next_token: Token,
    pub(super) books: BTreeMap<TaskId, Book>,
}

/// What a program knows of a task of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Book {
    /// It does not know whether the task is taken.
    Asked,
    Acknowledged,
    /// It has the outcome, or knows that there will be none.
    Over,
    /// It failed or is dead: it may be retried.
    Failed,
}

/// What a program waits for.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Wait {
    Submit {
        task: TaskId,
        acknowledged: bool,
    },
    Watch {
        task: TaskId,
    },
    Cancel {
        ask: u64,
        tasks: Vec<TaskId>,
    },
    Retry {
        ask: u64,
        tasks: Vec<TaskId>,
    },
    /// Of named tasks, or of everything.
    Discard {
        ask: u64,
        tasks: Vec<TaskId>,
    },
    /// A kind is paused or resumed.
    Kind {
        ask: u64,
    },
    Knowledge {
        ask: u64,
    },
    /// The answer does not matter.
    Any,
    /// The auditor's questions.
    Audit {
        task: TaskId,
    },
    AuditMap,
}

impl ClientNode {
    pub(super) fn new(no: ClientNo) -> Self {
        Self {
            no,
            process: 0,
            client: ClientId::from_bytes([0; 16]),
            token: SessionToken::from_bytes([0; 16]),
            session: None,
            inbox: VecDeque::new(),
            conn: None,
            attempt: 0,
            connecting_since: None,
            is_paused: false,
            wake: Wake::default(),
            outside: VecDeque::new(),
            waits: BTreeMap::new(),
            next_token: 0,
            books: BTreeMap::new(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.session.is_some()
    }

    pub(super) fn token(&mut self, wait: Wait) -> Token {
        self.next_token += 1;
        self.waits.insert(self.next_token, wait);
        self.next_token
    }
}

/// The moment at which every simulated world begins. Only differences to it matter.
pub(super) fn instant(now: u64) -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    *BEGINNING.get_or_init(Instant::now) + Duration::from_micros(now)
}

fn micros(at: Instant) -> u64 {
    (at - instant(0)).as_micros() as u64
}

impl World {
    pub(super) fn client(&self, no: ClientNo) -> &ClientNode {
        &self.clients[usize::from(no.0)]
    }

    pub(super) fn client_mut(&mut self, no: ClientNo) -> &mut ClientNode {
        &mut self.clients[usize::from(no.0)]
    }

    /// A program starts, and takes up what its books say is open.
    pub(super) fn start_client(&mut self, no: ClientNo) {
        if self.client(no).is_up() {
            return;
        }
        let (client, token) = (ClientId::from_bytes(self.rng.id()), SessionToken::from_bytes(self.rng.id()));
        let mut config = SessionConfig::new(client, token, self.rng.next());
        config.window_tasks = self.plan.window;
        config.name = format!("c{}", no.0);
        let now = self.now;
        let it = self.client_mut(no);
        it.process += 1;
        (it.client, it.token) = (client, token);
        it.session = Some(Session::new(config, instant(now)));
        it.wake.clear();
        self.note(Event::ClientUp { client: no });
        self.take_up(no);
        self.wake_client(no, now);
    }

    fn take_up(&mut self, no: ClientNo) {
        let open: Vec<_> = self
            .client(no)
            .books
            .iter()
            .filter(|(_, book)| matches!(book, Book::Asked | Book::Acknowledged))
            .map(|(task, book)| (*task, *book))
            .collect();
        let mut watched = Vec::new();
        for (task, book) in open {
            // What was acknowledged needs only to be waited for; handing it in again does no harm.
            match book == Book::Acknowledged && self.rng.percent(60) {
                true => watched.push(task),
                false => self.submit_task(no, task),
            }
        }
        self.watch_tasks(no, watched);
    }

    /// A program hands a task in.
    pub(super) fn submit_task(&mut self, no: ClientNo, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        let (kind, payload) = (task.kind, Digest::of(&task.payload));
        let options = Box::new(task.options.clone());
        self.note(Event::Submitted { client: no, task: id, kind, payload, options });
        let it = self.client_mut(no);
        it.books.entry(id).or_insert(Book::Asked);
        it.outside.push_back(id);
        self.fill_window(no);
    }

    /// Tasks enter the window as far as there is room.
    pub(super) fn fill_window(&mut self, no: ClientNo) {
        let now = instant(self.now);
        let mut batch = Vec::new();
        let it = &mut self.clients[usize::from(no.0)];
        let Some(session) = &it.session else { return };
        let mut room = session.room();
        while room > 0
            && let Some(id) = it.outside.pop_front()
        {
            let Some(task) = self.tasks.get(&id) else { continue };
            // The window counts bytes as well; a batch that fits the count of tasks fits them, too, since
            // payloads are small against it.
            room -= 1;
            let token = it.token(Wait::Submit { task: id, acknowledged: false });
            let new =
                NewTask::new(format!("k{}", task.kind), task.payload.clone()).options(task.options.clone());
            batch.push(Submission { token, id, task: new });
        }
        if !batch.is_empty()
            && let Some(session) = &mut it.session
        {
            session.handle(now, Input::Submit(batch));
            self.wake_client(no, self.now);
        }
    }

    pub(super) fn watch_tasks(&mut self, no: ClientNo, tasks: Vec<TaskId>) {
        if tasks.is_empty() {
            return;
        }
        for task in &tasks {
            self.note(Event::WatchAsked { client: no, task: *task });
        }
        let events = self.rng.percent(20);
        let it = self.client_mut(no);
        let tasks = tasks.into_iter().map(|task| (it.token(Wait::Watch { task }), task)).collect();
        self.tell_client(no, Input::Watch { tasks, events });
    }

    pub(super) fn ask(&mut self, no: ClientNo, wait: Wait, request: Request) {
        let token = self.client_mut(no).token(wait);
        self.tell_client(no, Input::Ask { token, request });
    }

    pub(super) fn wake_client(&mut self, no: ClientNo, at: u64) {
        if self.client_mut(no).wake.want(at) {
            self.queue.push(at, Happening::Client(no));
        }
    }

    /// Something arrived on a client's connection.
    pub(super) fn client_hears(&mut self, no: ClientNo, process: u32, conn: ConnId, item: Item) {
        let it = self.client_mut(no);
        if it.process != process || it.conn != Some(conn) {
            return;
        }
        let input = match item {
            Item::Frame(body) => Input::Received(body),
            Item::Close => {
                it.conn = None;
                Input::Lost { reason: "closed".to_owned() }
            }
        };
        self.tell_client(no, input);
    }

    pub(super) fn tell_client(&mut self, no: ClientNo, input: Input) {
        let takes = self.turn_takes();
        let at = self.now + takes;
        self.client_mut(no).inbox.push_back(input);
        self.wake_client(no, at);
    }

    pub(super) fn on_client(&mut self, no: ClientNo) {
        let now = self.now;
        let it = self.client_mut(no);
        if !it.wake.take(now) || it.is_paused || !it.is_up() {
            return;
        }
        let time = instant(now);
        let inbox = std::mem::take(&mut it.inbox);
        let Some(session) = &mut it.session else { return };
        for input in inbox {
            session.handle(time, input);
        }
        if session.poll_timeout().is_some_and(|(due, _)| due <= time) {
            session.handle_timeout(time);
        }
        while let Some(effect) = self.client_mut(no).session.as_mut().and_then(Session::poll_effect) {
            self.carry_out_client(no, effect);
        }
        if let Some((due, _)) = self.client(no).session.as_ref().and_then(Session::poll_timeout) {
            let late = self.rng.below(150);
            self.wake_client(no, micros(due).max(now) + late);
        }
    }

    fn carry_out_client(&mut self, no: ClientNo, effect: Effect) {
        match effect {
            Effect::Connect => {
                let now = self.now;
                let it = self.client_mut(no);
                it.attempt += 1;
                it.connecting_since = Some(now);
                let attempt = it.attempt;
                self.reach(Peer::Client(no), attempt);
            }
            Effect::Send(frame) => {
                let Some(conn) = self.client(no).conn else { return };
                if !self.send_up(conn, frame) {
                    self.client_mut(no).conn = None;
                    self.close_from_peer(conn, CutBy::Overflow);
                    self.tell_client(no, Input::Lost { reason: "full".to_owned() });
                }
            }
            Effect::Disconnect => {
                let it = self.client_mut(no);
                it.connecting_since = None;
                if let Some(conn) = it.conn.take() {
                    self.close_from_peer(conn, CutBy::Peer);
                }
            }
            Effect::Opened(broker) => {
                self.note(Event::Joined { peer: Peer::Client(no), epoch: broker.epoch });
            }
            Effect::Accepted { tokens, durability } => {
                for token in tokens {
                    let (task, acknowledged) = match self.client_mut(no).waits.get_mut(&token) {
                        Some(Wait::Submit { task, acknowledged }) => (task, acknowledged),
                        // It waits for a task that the same program hands in.
                        Some(Wait::Watch { .. }) => continue,
                        _ => return self.defect("an acknowledgement for nobody"),
                    };
                    if std::mem::replace(acknowledged, true) {
                        self.defect("a task was acknowledged twice to the same waiter");
                        continue;
                    }
                    let task = *task;
                    self.note(Event::Acknowledged { client: no, task, durability });
                    self.client_mut(no).books.entry(task).and_modify(|book| {
                        if *book == Book::Asked {
                            *book = Book::Acknowledged;
                        }
                    });
                }
            }
            Effect::Settled(settled) => {
                for one in settled {
                    self.on_settled(no, one.token, &one.outcome);
                }
            }
            Effect::Failed { token, task, error } => self.on_failed(no, token, task, &error),
            Effect::Answer { token, result } => self.on_answer(no, token, result),
            Effect::Room { .. } => self.fill_window(no),
            Effect::Event { .. } => self.figures.task_events += 1,
            Effect::Down { .. } | Effect::Notice { .. } => {}
            Effect::Ended(error) => {
                let text = format!("the session of a client ended: {error}");
                self.defect(&text);
            }
        }
    }

    /// A program is killed: what it waited for it will never know, and its next process asks again.
    pub(super) fn kill_client(&mut self, no: ClientNo) {
        self.note(Event::ClientKilled { client: no });
        let it = self.client_mut(no);
        it.session = None;
        it.inbox.clear();
        it.is_paused = false;
        it.connecting_since = None;
        it.wake.clear();
        let conn = it.conn.take();
        let outside = std::mem::take(&mut it.outside);
        let waits = std::mem::take(&mut it.waits);
        for task in outside {
            self.note(Event::Unknown { client: no, task });
        }
        for wait in waits.into_values() {
            self.give_up(no, wait);
        }
        if let Some(conn) = conn {
            self.close_from_peer(conn, CutBy::Network);
        }
        let pause = self.rng.between(20_000, 3 * S);
        self.queue.push(self.now + pause, Happening::Restart(Node::Client(no)));
    }

    fn give_up(&mut self, client: ClientNo, wait: Wait) {
        match wait {
            Wait::Submit { task, acknowledged: false } => self.note(Event::Unknown { client, task }),
            Wait::Submit { task, .. } | Wait::Watch { task } => {
                self.note(Event::WaitAbandoned { client, task });
            }
            Wait::Cancel { ask, tasks } => {
                tasks.into_iter().for_each(|task| self.note(Event::CancelUnknown { client, ask, task }));
            }
            Wait::Retry { ask, tasks } => {
                tasks.into_iter().for_each(|task| self.note(Event::RetryUnknown { client, ask, task }));
            }
            Wait::Discard { ask, .. } => self.note(Event::DiscardUnknown { client, ask }),
            Wait::Kind { ask } => self.note(Event::KindUnknown { client, ask }),
            Wait::Knowledge { ask } => self.note(Event::KnowledgeUnknown { client, ask }),
            Wait::Any | Wait::Audit { .. } | Wait::AuditMap => {}
        }
    }
}
