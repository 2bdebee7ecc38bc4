//! Several hostile peers of one broker.
//!
//! The broker's shell and scheduler are real; sockets, journal and clock are the fuzzer. After each step
//! every index of the scheduler is checked against every other, and:
//! - The broker sends only messages that a peer can read.
//! - No timer goes off without end.
//! - What the journal has is enough to begin again: a broker that was killed at any moment recovers from
//!   the records that are safe.

mod journal;
mod peer;
mod says;
mod sockets;

use std::time::Duration;

use ganger_broker::sans_io::{Clock, Shell, Side, Sockets};
use ganger_common::message::Durability;
use ganger_common::{ConnId, Epoch};
use ganger_scheduler::{Config, Lsn, Now, Scheduler, Time, Wall};
use ganger_transport::{DownReason, MalformedReason, PeerMeta, ServerEvent};

use crate::choices::Choices;
use crate::golden::Direction;
use crate::hostile;
use journal::FuzzJournal;
use peer::Peer;
use sockets::{FuzzPublisher, FuzzServer, Wires};

/// Decisions after which an input ends: every step looks at everything.
const STEPS_MAX: usize = 400;
/// Connections at a time.
const PEERS_MAX: usize = 6;
/// Timers that may go off at one moment before it counts as a loop without end.
const TIMERS_MAX: usize = 64;

/// Runs one input.
pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut world = World::new(&mut choices);
    for _ in 0..STEPS_MAX {
        if choices.is_over() || world.is_over {
            break;
        }
        world.step(&mut choices);
    }
}

struct World {
    shell: Shell<FuzzServer, FuzzPublisher, FuzzJournal>,
    wires: Wires,
    now: Now,
    peers: Vec<Peer>,
    conns: u64,
    /// The broker has ended: drained, or its journal failed.
    is_over: bool,
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        let now = Now { time: Time(1_000), wall: Wall(1_700_000_000_000) };
        let config = config(choices);
        let wires = Wires::default();
        let scheduler = Scheduler::new(config, now);
        let shell = around(scheduler, now, &wires, FuzzJournal::default());
        let mut world = Self { shell, wires, now, peers: Vec::new(), conns: 0, is_over: false };
        world.settle();
        // A client and a worker who have said hello are where every input that gets anywhere begins.
        if !choices.rarely(8) {
            for (side, name) in [(Side::Client, 0), (Side::Worker, 0)] {
                world.connect(side, name);
                let hello = says::plain_hello(side, name);
                world.say(world.peers.len() - 1, hello);
                world.settle();
            }
        }
        world
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.up_to(15) {
            0..=7 => {
                if let Some(place) = self.a_peer(choices) {
                    let message = says::anything(choices, &self.peers[place]);
                    self.say(place, message);
                }
            }
            8 | 9 => {
                if let Some(place) = self.a_peer(choices) {
                    let direction = match self.peers[place].side {
                        Side::Client => Direction::FromClient,
                        Side::Worker => Direction::FromWorker,
                    };
                    self.say(place, hostile::message(choices, direction));
                }
            }
            10 => {
                let side = if choices.flag() { Side::Worker } else { Side::Client };
                self.connect(side, choices.up_to(2));
            }
            11 => self.disturb(choices),
            12 | 13 => self.pass(choices),
            14 => self.journal(choices),
            _ if choices.rarely(4) => self.restart(choices),
            // What came together is answered together.
            _ => return,
        }
        self.settle();
    }

    fn a_peer(&self, choices: &mut Choices<'_>) -> Option<usize> {
        (!self.peers.is_empty()).then(|| usize::from(choices.up_to(self.peers.len() as u8 - 1)))
    }

    fn connect(&mut self, side: Side, name: u8) {
        if self.peers.len() == PEERS_MAX {
            let oldest = self.peers.remove(0);
            self.down(&oldest);
        }
        self.conns += 1;
        let conn = ConnId(self.conns);
        self.peers.push(Peer::new(conn, side, name));
        self.wires.open(conn);
        self.event(side, ServerEvent::Up { conn, peer: PeerMeta::default() });
    }

    fn say(&mut self, place: usize, message: Vec<u8>) {
        let (side, conn) = (self.peers[place].side, self.peers[place].conn);
        self.event(side, ServerEvent::Message { conn, body: message.into() });
    }

    fn disturb(&mut self, choices: &mut Choices<'_>) {
        let Some(place) = self.a_peer(choices) else { return };
        let (side, conn) = (self.peers[place].side, self.peers[place].conn);
        match choices.up_to(4) {
            0 => {
                let peer = self.peers.remove(place);
                self.down(&peer);
            }
            1 => self.wires.stuff(conn, true),
            2 => self.wires.stuff(conn, false),
            3 => {
                let reason = choices.pick(&[MalformedReason::Parts, MalformedReason::TooLarge]);
                self.event(side, ServerEvent::Malformed { conn, parts: 2, bytes: 1, reason });
            }
            _ if choices.rarely(16) => self.shell.drain(Duration::from_millis(choices.number().min(60_000))),
            // News of a connection that was never there.
            _ => self.event(side, ServerEvent::Down { conn: ConnId(u64::MAX), reason: DownReason::Closed }),
        }
    }

    fn down(&mut self, peer: &Peer) {
        self.wires.close(peer.conn);
        self.event(peer.side, ServerEvent::Down { conn: peer.conn, reason: DownReason::Closed });
    }

    fn event(&mut self, side: Side, event: ServerEvent) {
        self.shell.on_event(self.now, side, event);
    }

    /// Lets time pass: to the next deadline, a little, or long; the wall clock may jump.
    fn pass(&mut self, choices: &mut Choices<'_>) {
        let micros = match choices.up_to(3) {
            0 | 1 => self.shell.due().map_or(0, |due| due.0.saturating_sub(self.now.time.0)),
            2 => u64::from(choices.up_to(255)) * 10_000,
            _ => choices.number().min(u64::from(u32::MAX)) * 1_000,
        };
        self.now.time = Time(self.now.time.0.saturating_add(micros));
        self.now.wall = match choices.rarely(8) {
            true => Wall(choices.number()),
            false => Wall(self.now.wall.0.saturating_add(micros / 1_000)),
        };
        self.shell.set_now(self.now);
        for _ in 0..TIMERS_MAX {
            if self.shell.late_by().is_none() {
                return;
            }
            self.shell.handle_timeout();
            self.settle();
        }
        panic!("a timer goes off without end: {:?}", self.shell.scheduler().poll_timeout());
    }

    fn journal(&mut self, choices: &mut Choices<'_>) {
        match choices.up_to(7) {
            0 | 1 => self.shell.journal.is_slow = true,
            2 => self.shell.journal.is_slow = false,
            7 if choices.rarely(16) => self.shell.journal.is_broken = true,
            _ => {
                let upto = self.shell.journal.sync();
                self.shell.journaled(upto);
            }
        }
    }

    /// The broker is killed, and another one begins with what was safe, or with more: what was written
    /// may be there without anybody knowing.
    fn restart(&mut self, choices: &mut Choices<'_>) {
        let mut journal = std::mem::take(&mut self.shell.journal);
        journal.lose(usize::from(choices.up_to(7)));
        let mut config = self.shell.scheduler().config().clone();
        config.epoch = Epoch(if choices.rarely(4) { 0 } else { config.epoch.0 + 1 });
        let records = journal.records.iter().map(|(lsn, record)| (*lsn, record));
        let recovered = Scheduler::recover(config, self.now, records);
        let scheduler = recovered.unwrap_or_else(|error| panic!("the journal leads to no state: {error}"));
        scheduler.check_invariants();
        self.wires = Wires::default();
        self.peers.clear();
        self.shell = around(scheduler, self.now, &self.wires, journal);
    }

    /// Carries out what is to be done, reads what was sent, and looks at everything.
    fn settle(&mut self) {
        let is_done = self.shell.carry_out();
        assert!(is_done.is_ok() || self.shell.journal.is_broken, "only a journal ends a broker: {is_done:?}");
        self.is_over |= is_done.is_err() || self.shell.is_drained();
        if self.is_over {
            return;
        }
        for (conn, frame) in self.wires.take_sent() {
            if let Some(peer) = self.peers.iter_mut().find(|peer| peer.conn == conn) {
                peer.hear(&frame);
            }
        }
        for conn in self.wires.take_kicked() {
            self.peers.retain(|peer| peer.conn != conn);
        }
        self.shell.scheduler().check_invariants();
    }
}

fn around(
    scheduler: Scheduler,
    now: Now,
    wires: &Wires,
    journal: FuzzJournal,
) -> Shell<FuzzServer, FuzzPublisher, FuzzJournal> {
    let sockets = Sockets {
        clients: FuzzServer::new(wires),
        workers: FuzzServer::new(wires),
        knowledge: FuzzPublisher::default(),
    };
    Shell::around(Clock::ByHand(now), scheduler, sockets, journal)
}

/// Every limit is small, so that a short input meets it. The epoch is that of the examples.
fn config(choices: &mut Choices<'_>) -> Config {
    Config {
        epoch: Epoch(7),
        durability: if choices.flag() { Durability::Memory } else { Durability::Journal },
        queue_tasks_max: 12,
        queue_bytes_max: 1_000,
        retain_for: Duration::from_secs(20),
        retain_bytes_max: 100,
        dead_set_max: 3,
        dead_set_bytes_max: 200,
        workers_max: 3,
        clients_max: 3,
        kinds_max: 4,
        credit_max: 4,
        worker_bytes_max: 500,
        client_window: 3,
        client_window_bytes: 50,
        client_backlog_max: 5,
        knowledge_bytes_max: 2_000,
        knowledge_history_max: 4,
        carry_tasks_max: 2,
        ..Config::default()
    }
}

/// The first record of a journal.
const FIRST: Lsn = Lsn(1);
