//! The injector: what goes wrong, where, and for how long.

use ganger_common::ConnId;
use ganger_worker::session::Input;
use std::time::Duration;

use super::client::{ClientNode, Wait};
use super::desk::Answers;
use super::log::{ClientNo, CutBy, Event, Fault, Peer, WorkerNo};
use super::plan::{Act, Flavour, MS, S};
use super::queue::{Happening, Node};
use super::world::World;

/// A fault that finds nobody tries again after this.
const AGAIN: u64 = 120 * MS;

/// What programs wait for at the most when a fault hands in more.
const WAITS_MAX: usize = 100;

/// The end of something that lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Over {
    Resume(Node),
    Unmute(ConnId),
    /// A connection in which only one side believes is found out by the other.
    FindOut(ConnId),
    Unpart(Peer),
    /// A stranger leaves.
    Leave(ConnId),
    /// The disk has no room.
    NoRoom,
}

impl World {
    /// Counts a fault, and writes it down.
    pub(super) fn fault(&mut self, fault: Fault) {
        self.note(Event::Fault(fault));
        *self.figures.faults.entry(fault).or_default() += 1;
    }

    pub(super) fn on_fault(&mut self, place: usize) {
        let Some((_, fault)) = self.faults.get(place).copied() else { return };
        match self.inject(fault) {
            true => self.faults_left -= 1,
            false if self.is_chaos => self.queue.push(self.now + AGAIN, Happening::Fault(place)),
            false => {}
        }
    }

    /// Does it, if there is somebody to do it to.
    fn inject(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::WorkerKill => self.with_worker(fault, |world, no| world.kill_worker(no, None)),
            Fault::WorkerPause => self.with_worker(fault, World::pause_worker),
            Fault::WorkerDrain => self.with_worker(fault, World::drain_worker),
            Fault::ClientKill => self.with_client(fault, World::kill_client),
            Fault::ClientPause => self.with_client(fault, World::pause_client),
            Fault::PoisonTask => self.with_client(None, |world, no| world.submit_new(no, 1, Flavour::Poison)),
            Fault::StubbornHandler => {
                self.with_client(None, |world, no| world.submit_new(no, 2, Flavour::Stubborn))
            }
            Fault::Overload => self.with_client(fault, |world, no| {
                let count = world.rng.between(20, 120);
                world.submit_new(no, count as u16, Flavour::Tiny);
            }),
            Fault::BrokerKill => self.with_broker(fault, |world| world.kill_broker(false)),
            Fault::LostWrites => self.with_broker(fault, |world| world.disk.loses_power = true),
            Fault::BrokerPause => self.with_broker(fault, World::pause_broker),
            Fault::BrokerDrain => self.with_broker(fault, |world| {
                let deadline = Duration::from_millis(world.rng.between(0, 3_000));
                let now = world.broker_now();
                if let Some(shell) = &mut world.broker.shell {
                    shell.set_now(now);
                    shell.drain(deadline);
                    world.turn_broker();
                }
            }),
            Fault::WallJump => self.with_broker(fault, |world| {
                let by = world.rng.between(1, 40_000_000) as i64;
                let by = if world.rng.percent(50) { by } else { -by };
                world.jump_wall(by);
            }),
            Fault::SlowSync => self.with_broker(fault, |world| {
                world.disk.slow_until = world.now + world.rng.between(S / 2, 5 * S);
            }),
            Fault::FailedSync => self.with_broker(fault, |world| match world.plan.answers {
                Answers::AtOnce => world.broker.desk.lock().fails = true,
                Answers::Later => world.disk.fails = true,
            }),
            Fault::DiskFull => self.fill_soon(),
            Fault::DiskBehind => self.lag(),
            Fault::PubLoss => self.with_broker(fault, |world| {
                world.loss_until = world.now + world.rng.between(S, 5 * S);
            }),
            Fault::PubCut => self.with_worker(fault, |world, no| {
                let tells = world.rng.percent(60);
                world.break_subscription(no, tells);
            }),
            Fault::LinkCut => self.with_conn(fault, World::cut),
            Fault::HalfOpen => self.with_conn(fault, World::half_open),
            Fault::SilenceIn => self.with_conn(fault, |world, conn| world.mute(conn, true, false)),
            Fault::SilenceOut => self.with_conn(fault, |world, conn| world.mute(conn, false, true)),
            Fault::SlowReader => self.with_conn(fault, World::slow_down),
            Fault::Partition => self.with_broker(fault, World::part),
            Fault::ReconnectStorm => self.with_broker(fault, |world| {
                for conn in world.live_conns() {
                    world.cut(conn);
                }
            }),
            Fault::DuplicateSession => self.with_conn(fault, World::duplicate),
            Fault::LateReport
            | Fault::Cancel
            | Fault::Retry
            | Fault::Discard
            | Fault::KindPause
            | Fault::Resubmit => true,
        }
    }

    /// The disk runs full with the next thing that is written. Whether there was one shows later, so this
    /// comes back until it did, and has something written meanwhile.
    fn fill_soon(&mut self) -> bool {
        if self.disk.filled > 0 {
            self.disk.filled -= 1;
            return true;
        }
        if !self.disk.is_short() {
            self.disk.fills = true;
            self.have_written(1);
        }
        false
    }

    /// The disk falls behind, which it only does when there is much to write. Comes back until the broker has
    /// found it so.
    fn lag(&mut self) -> bool {
        if self.disk.lagged > 0 {
            self.disk.lagged -= 1;
            return true;
        }
        if self.broker.is_up() && !self.broker.is_paused() {
            self.disk.lags_until = self.now + self.rng.between(S, 4 * S);
            self.disk.is_found_lagging = false;
            let most = self.plan.behind_from;
            let count = self.rng.between(most / 2, most) as u16;
            self.have_written(count);
        }
        false
    }

    /// Makes a program have so many things written, of a kind of which not too many wait: tasks, or changes of
    /// the knowledge map, which need no worker.
    fn have_written(&mut self, count: u16) {
        let knowledge =
            |it: &ClientNode| it.waits.values().filter(|wait| matches!(wait, Wait::Knowledge { .. })).count();
        let changes: usize = self.clients.iter().map(knowledge).sum();
        let tasks: usize =
            self.clients.iter().map(|it| it.waits.len() + it.outside.len()).sum::<usize>() - changes;
        let able = self.clients.iter().filter(|it| it.conn.is_some() && !it.is_paused).map(|it| it.no);
        let able: Vec<ClientNo> = able.collect();
        let Some(no) = self.rng.pick(&able).copied() else { return };
        if tasks < WAITS_MAX {
            self.submit_new(no, count, Flavour::Tiny);
        } else if changes < WAITS_MAX {
            (0..count).for_each(|_| self.act(no, Act::Put));
        }
    }

    fn with_worker(&mut self, fault: Fault, does: impl FnOnce(&mut Self, WorkerNo)) -> bool {
        let able: Vec<WorkerNo> = self
            .workers
            .iter()
            .filter(|it| it.is_up() && !it.is_paused && !it.drains)
            .map(|it| it.no)
            .collect();
        let Some(no) = self.rng.pick(&able).copied() else { return false };
        self.fault(fault);
        does(self, no);
        true
    }

    fn with_client(
        &mut self,
        fault: impl Into<Option<Fault>>,
        does: impl FnOnce(&mut Self, ClientNo),
    ) -> bool {
        let able: Vec<ClientNo> =
            self.clients.iter().filter(|it| it.is_up() && !it.is_paused).map(|it| it.no).collect();
        let Some(no) = self.rng.pick(&able).copied() else { return false };
        if let Some(fault) = fault.into() {
            self.fault(fault);
        }
        does(self, no);
        true
    }

    fn with_broker(&mut self, fault: Fault, does: impl FnOnce(&mut Self)) -> bool {
        if !self.broker.is_up() || self.broker.is_paused() {
            return false;
        }
        self.fault(fault);
        does(self);
        true
    }

    fn live_conns(&self) -> Vec<ConnId> {
        let is_live =
            |it: &super::net::Conn| it.broker_open && it.peer_open && !it.is_muted && it.process.is_some();
        self.conns.iter().filter(|(_, it)| is_live(it)).map(|(conn, _)| *conn).collect()
    }

    fn with_conn(&mut self, fault: Fault, does: impl FnOnce(&mut Self, ConnId)) -> bool {
        let live = self.live_conns();
        let Some(conn) = self.rng.pick(&live).copied() else { return false };
        self.fault(fault);
        does(self, conn);
        true
    }

    pub(super) fn later(&mut self, after: u64, over: Over) {
        self.overs.push(over);
        self.queue.push(self.now + after, Happening::Over(self.overs.len() - 1));
    }

    // ---- Processes that stand still. -----------------------------------------------------------------

    /// Short stops that nobody should notice, and long ones that everybody must.
    fn draw_pause(&mut self) -> u64 {
        match self.rng.below(3) {
            0 => self.rng.between(20 * MS, 900 * MS),
            1 => self.rng.between(900 * MS, 3_200 * MS),
            _ => self.rng.between(3 * S, 10 * S),
        }
    }

    fn pause_worker(&mut self, no: WorkerNo) {
        let incarnation = self.worker(no).incarnation;
        self.worker_mut(no).is_paused = true;
        self.note(Event::WorkerPaused { worker: no, incarnation });
        let pause = self.draw_pause();
        self.later(pause, Over::Resume(Node::Worker(no)));
    }

    fn pause_client(&mut self, no: ClientNo) {
        self.client_mut(no).is_paused = true;
        self.note(Event::ClientPaused { client: no });
        let pause = self.draw_pause();
        self.later(pause, Over::Resume(Node::Client(no)));
    }

    fn pause_broker(&mut self) {
        let life = self.broker.life;
        let pause = self.draw_pause();
        self.broker.paused_until = Some(self.now + pause);
        self.note(Event::BrokerPaused { life });
        self.later(pause, Over::Resume(Node::Broker));
        // Connections break meanwhile, often enough, and the broker hears of it only afterwards.
        if self.rng.percent(40) {
            for conn in self.live_conns() {
                if self.rng.percent(50) {
                    self.cut(conn);
                }
            }
        }
    }

    pub(super) fn resume(&mut self, node: Node) {
        let now = self.now;
        match node {
            Node::Broker => {
                let Some(until) = self.broker.paused_until else { return };
                // The end of an earlier pause, of a broker that has died since.
                if self.is_chaos && until > now {
                    return;
                }
                self.broker.paused_until = None;
                let life = self.broker.life;
                self.note(Event::BrokerResumed { life });
                self.pump_all();
                if std::mem::take(&mut self.journaled_while_paused) {
                    let safe = self.broker.desk.lock().safe;
                    self.tell_journaled(safe);
                }
                self.wake_broker(now);
            }
            Node::Worker(no) => {
                if std::mem::replace(&mut self.worker_mut(no).is_paused, false) {
                    let incarnation = self.worker(no).incarnation;
                    self.note(Event::WorkerResumed { worker: no, incarnation });
                    self.pump_all();
                    self.wake_worker(no, now);
                }
            }
            Node::Client(no) => {
                if std::mem::replace(&mut self.client_mut(no).is_paused, false) {
                    self.note(Event::ClientResumed { client: no });
                    self.pump_all();
                    self.wake_client(no, now);
                }
            }
        }
    }

    fn drain_worker(&mut self, no: WorkerNo) {
        let incarnation = self.worker(no).incarnation;
        self.worker_mut(no).drains = true;
        self.note(Event::WorkerDrains { worker: no, incarnation });
        let deadline = Some(Duration::from_millis(self.rng.between(0, 3_000)));
        self.tell_worker(no, Input::Drain { deadline });
    }

    pub(super) fn on_over(&mut self, place: usize) {
        match self.overs.get(place).copied() {
            Some(Over::Resume(node)) => self.resume(node),
            Some(Over::Unmute(conn)) => self.unmute(conn),
            Some(Over::FindOut(conn)) => self.find_out(conn),
            Some(Over::Unpart(peer)) => self.unpart(peer),
            Some(Over::Leave(conn)) => self.close_from_peer(conn, CutBy::Peer),
            Some(Over::NoRoom) => self.make_room(),
            None => {}
        }
    }

    /// The faults are over: what was begun ends now.
    pub(super) fn heal_everything(&mut self) {
        for over in std::mem::take(&mut self.overs) {
            match over {
                // A place may have been paused again since; all of them go on.
                Over::Resume(node) => self.resume(node),
                Over::Unmute(conn) => self.unmute(conn),
                Over::FindOut(conn) if self.conns.get(&conn).is_some_and(|it| it.up.is_dead) => {
                    self.find_out(conn);
                }
                Over::FindOut(_) => {}
                Over::Unpart(peer) => self.unpart(peer),
                Over::Leave(conn) => self.close_from_peer(conn, CutBy::Peer),
                Over::NoRoom => self.make_room(),
            }
        }
        self.hurry();
        self.disk.slow_until = 0;
        self.disk.lags_until = 0;
        self.disk.fills = false;
        self.disk.fails = false;
        self.disk.loses_power = false;
        self.broker.desk.lock().fails = false;
        self.loss_until = 0;
        for conn in std::mem::take(&mut self.silent_conns) {
            self.close_both(conn);
        }
        for place in 0..self.workers.len() {
            let no = WorkerNo(place as u16);
            if self.worker(no).feed.is_dead {
                self.worker_mut(no).feed.is_dead = false;
                self.break_subscription(no, true);
            }
        }
        self.start_broker();
        for place in 0..self.workers.len() {
            self.start_worker(WorkerNo(place as u16));
        }
        for place in 0..self.clients.len() {
            self.start_client(ClientNo(place as u16));
        }
    }
}
