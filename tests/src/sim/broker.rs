//! The broker's process: the real shell around the real scheduler, turned by hand.

use std::collections::VecDeque;
use std::time::Duration;

use ganger_broker::sans_io::{Clock, Shell, Side, Sockets};
use ganger_common::message::Durability;
use ganger_common::{Epoch, TaskId};
use ganger_scheduler::{Config, Lsn, Now, Record, Scheduler, Time, Wall};
use ganger_transport::ServerEvent;

use super::desk::{Answers, Done, SharedDesk, SimJournal, SimPublisher, SimServer};
use super::log::{BrokerEnd, Digest, Event, Fact, Fault, Life};
use super::plan::S;
use super::queue::{Happening, Node, Wake};
use super::wire::kind_number;
use super::world::World;

/// Events that the loop of the broker takes in before it carries out what they lead to.
const TURN_EVENTS: usize = 256;
/// How long the loop of the broker puts off what is due while there is input.
const LATE_MAX: Duration = Duration::from_millis(50);
/// The wall clock at the beginning of the world: some day in 2026.
const WALL_START: u64 = 1_770_000_000_000;

type SimShell = Shell<SimServer, SimPublisher, SimJournal>;

/// The place where the broker runs, and its process if there is one.
pub(super) struct BrokerNode {
    pub(super) life: Life,
    pub(super) epoch: Epoch,
    pub(super) shell: Option<SimShell>,
    pub(super) desk: SharedDesk,
    pub(super) inbox: VecDeque<(Side, ServerEvent)>,
    born: u64,
    pub(super) paused_until: Option<u64>,
    wall_offset: i64,
    wake: Wake,
    turns: u64,
}

impl BrokerNode {
    pub(super) fn new() -> Self {
        Self {
            life: Life(0),
            epoch: Epoch(0),
            shell: None,
            desk: SharedDesk::new(0, 0, Answers::AtOnce),
            inbox: VecDeque::new(),
            born: 0,
            paused_until: None,
            wall_offset: 0,
            wake: Wake::default(),
            turns: 0,
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// Whether somebody who connects now is served.
    pub(super) fn is_up(&self) -> bool {
        self.shell.is_some()
    }

    pub(super) fn scheduler(&self) -> Option<&Scheduler> {
        self.shell.as_ref().map(Shell::scheduler)
    }

    fn next_event(&mut self, hears_clients: bool) -> Option<(Side, ServerEvent)> {
        match hears_clients {
            true => self.inbox.pop_front(),
            false => {
                let place = self.inbox.iter().position(|(side, _)| *side == Side::Worker)?;
                self.inbox.remove(place)
            }
        }
    }

    fn has_more(&self, hears_clients: bool) -> bool {
        self.inbox.iter().any(|(side, _)| hears_clients || *side == Side::Worker)
    }
}

impl World {
    pub(super) fn broker_now(&self) -> Now {
        let wall = (WALL_START + self.now / 1_000).saturating_add_signed(self.broker.wall_offset);
        Now { time: Time(self.now - self.broker.born), wall: Wall(wall) }
    }

    /// A broker starts, from what the disk has kept.
    pub(super) fn start_broker(&mut self) {
        if self.broker.is_up() {
            return;
        }
        let in_memory = self.plan.scheduler.durability == Durability::Memory;
        if in_memory {
            self.disk.kept.clear();
        }
        self.broker.life.0 += 1;
        let life = self.broker.life;
        self.broker.born = self.now;
        let recovered = self.disk.kept.last().map_or(Lsn(0), |(lsn, _)| *lsn);
        // A broker that keeps nothing takes the time as its epoch.
        let epoch = if in_memory { Epoch(self.now / 1_000 + 1) } else { Epoch(u64::from(life.0)) };
        let config = Config { epoch, ..self.plan.scheduler.clone() };
        let now = self.broker_now();
        let scheduler = match recovered {
            Lsn(0) => Ok(Scheduler::new(config, now)),
            _ => {
                let kept = self.disk.named(config.stored_min);
                let records = kept.iter().map(|(lsn, record)| (*lsn, &**record));
                Scheduler::recover(config, now, records)
            }
        };
        let scheduler = match scheduler {
            Ok(scheduler) => scheduler,
            Err(error) => return self.defect(&format!("the journal leads to no state: {error}")),
        };
        self.broker.epoch = scheduler.config().epoch;
        let (messages, bytes) = (self.plan.outbox_messages, self.plan.outbox_bytes);
        let first = self.disk.kept.first().map_or(Lsn(1), |(lsn, _)| *lsn);
        let desk = SharedDesk::new(messages, bytes, self.plan.answers);
        let desk = desk.with_journal(first, recovered, self.plan.long_from);
        let desk = desk.on_disk(self.disk.is_short(), self.plan.behind_from);
        let sockets = Sockets {
            clients: SimServer::new(desk.clone(), "clients"),
            workers: SimServer::new(desk.clone(), "workers"),
            knowledge: SimPublisher::new(desk.clone()),
        };
        let shell = Shell::around(Clock::ByHand(now), scheduler, sockets, SimJournal(desk.clone()));
        self.broker.desk = desk;
        self.broker.shell = Some(shell);
        self.broker.wake.clear();
        let epoch = self.broker.epoch;
        let durability = self.plan.scheduler.durability;
        self.note(Event::BrokerUp { life, epoch, durability, recovered: recovered.0 });
        self.wake_broker(self.now);
        if self.disk.is_short() {
            self.queue.push(self.now, Happening::DiskTells(life));
        }
        // The machine answers again: what peers still believe in is refused.
        for conn in std::mem::take(&mut self.silent_conns) {
            self.close_both(conn);
        }
    }

    /// Hands the broker something to take in at its next turn.
    pub(super) fn tell_broker(&mut self, side: Side, event: ServerEvent) {
        if !self.broker.is_up() {
            return;
        }
        self.broker.inbox.push_back((side, event));
        let takes = self.turn_takes();
        self.wake_broker(self.now + takes);
    }

    pub(super) fn wake_broker(&mut self, at: u64) {
        if self.broker.wake.want(at) {
            self.queue.push(at, Happening::Broker(self.broker.life));
        }
    }

    pub(super) fn on_broker(&mut self, life: Life) {
        if life != self.broker.life || !self.broker.wake.take(self.now) {
            return;
        }
        match self.broker.paused_until {
            Some(until) => self.wake_broker(until.max(self.now + 1)),
            None => self.turn_broker(),
        }
    }

    /// One turn of the broker's loop, as its server turns it.
    pub(super) fn turn_broker(&mut self) {
        let now = self.broker_now();
        let Some(mut shell) = self.broker.shell.take() else { return };
        shell.set_now(now);
        // While too much waits for the journal, clients wait at the door.
        let hears_clients = !shell.is_behind();
        for _ in 0..TURN_EVENTS {
            let Some((side, event)) = self.broker.next_event(hears_clients) else { break };
            shell.on_event(now, side, event);
        }
        let has_more = self.broker.has_more(hears_clients);
        if shell.late_by().is_some_and(|late| late >= LATE_MAX || !has_more) {
            shell.handle_timeout();
        }
        let carried_out = shell.carry_out();
        let due = shell.due().map(|due| self.broker.born + due.0);
        let drained = shell.is_drained();
        let is_behind = shell.is_behind();
        let has_more = self.broker.has_more(!is_behind);
        self.broker.shell = Some(shell);
        self.figures.turns += 1;
        if is_behind {
            self.note_behind();
        }
        self.carry_tape();
        self.note_waiting_leases();
        self.check_scheduler(carried_out.is_ok());
        match carried_out {
            Err(ganger_broker::BrokerError::Journal(_)) => self.end_broker(BrokerEnd::JournalFailed),
            Err(error) => self.end_broker(BrokerEnd::Error(error.to_string())),
            Ok(()) if drained => self.end_broker(BrokerEnd::Drained),
            Ok(()) => {
                if has_more {
                    let takes = self.turn_takes();
                    self.wake_broker(self.now + takes);
                }
                if let Some(due) = due {
                    // Timers are late by a little, always.
                    let late = self.rng.below(200);
                    self.wake_broker(due.max(self.now) + late);
                }
            }
        }
    }

    /// The broker finds its journal behind.
    fn note_behind(&mut self) {
        self.figures.turns_behind += 1;
        if self.disk.lags_until > self.now && !self.disk.is_found_lagging {
            self.disk.is_found_lagging = true;
            self.disk.lagged += 1;
            self.fault(Fault::DiskBehind);
        }
    }

    fn check_scheduler(&mut self, is_whole: bool) {
        self.broker.turns += 1;
        if !self.broker.turns.is_multiple_of(self.plan.check_every) {
            return;
        }
        let Some(shell) = self.broker.shell.as_ref() else { return };
        shell.scheduler().check_invariants();
        // What operators are woken by must never be wrong. In the middle of a turn much is half done.
        if is_whole && shell.late_by().is_none() {
            let watch = shell.scheduler().watchdogs();
            assert!(watch.is_quiet(), "a watchdog barks: {watch:?}");
        }
    }

    /// What the shell did goes where it belongs, in its order.
    pub(super) fn carry_tape(&mut self) {
        loop {
            let Some(done) = self.broker.desk.lock().tape.pop_front() else { return };
            match done {
                Done::Sent { conn, body } => {
                    self.read_down(conn, &body);
                    self.send_down(conn, body);
                }
                Done::Refused { conn, body } => self.read_refused(conn, &body),
                Done::Kicked { conn, reason } => self.close_from_broker(conn, reason),
                Done::Published(parts) => {
                    self.read_published(&parts);
                    self.publish(&parts);
                }
                Done::Appended { records, safe } => self.append(records, safe),
                Done::Asked { values } => self.ask_values(values),
                Done::Trimmed { before } => self.trim(before),
            }
        }
    }

    /// Writes down what is in a record.
    pub(super) fn note_record(&mut self, lsn: Lsn, record: &Record) {
        let (life, lsn) = (self.broker.life, lsn.0);
        let mut note = |fact| self.note(Event::Appended { life, lsn, fact });
        match record {
            Record::Started { .. } => note(Fact::Started),
            Record::Accepted { client, tasks, .. } => {
                tasks.iter().for_each(|task| note(Fact::Accepted(task.id, *client)));
            }
            Record::AttemptEnded(ended) => note(Fact::AttemptEnded {
                task: ended.task,
                attempt: ended.attempt,
                worker: ended.worker,
                end: ended.end,
            }),
            Record::Settled { tasks, .. } => {
                for one in tasks {
                    if let Some(ended) = &one.ended {
                        note(Fact::AttemptEnded {
                            task: one.task,
                            attempt: ended.attempt,
                            worker: ended.worker,
                            end: ended.end,
                        });
                    }
                    note(Fact::Settled {
                        task: one.task,
                        outcome: one.outcome,
                        attempt: one.attempt,
                        result: Digest::of(one.result.inline().map_or(&[], |result| result)),
                    });
                }
            }
            Record::Retried { tasks, .. } => {
                tasks.iter().for_each(|task: &TaskId| note(Fact::Retried(*task)));
            }
            Record::Discarded { tasks } => {
                tasks.iter().for_each(|task: &TaskId| note(Fact::Discarded(*task)));
            }
            Record::KindPaused { kind } => note(Fact::KindPaused(kind_number(kind))),
            Record::KindResumed { kind } => note(Fact::KindResumed(kind_number(kind))),
            Record::Forgotten { settled, dead } => note(Fact::Forgotten(*settled, *dead)),
            Record::Knowledge(change) => note(Fact::Knowledge {
                revision: change.revision,
                topic: change.topic.clone(),
                key: change.key.clone(),
                value: change.value.as_deref().map(Digest::of),
            }),
            // What is carried has been said before.
            Record::WorkerJoined { .. }
            | Record::WorkerLeft { .. }
            | Record::CarryBegun(_)
            | Record::CarriedTasks(_)
            | Record::CarriedTopic(_)
            | Record::CarriedHistory(_)
            | Record::CarryEnded { .. } => note(Fact::Other),
        }
    }

    /// The broker ends by itself, and somebody starts it again.
    pub(super) fn end_broker(&mut self, why: BrokerEnd) {
        let life = self.broker.life;
        if let BrokerEnd::Error(text) = &why {
            let text = format!("the broker ended with an error: {text}");
            self.defect(&text);
        }
        self.note(Event::BrokerEnded { life, why });
        self.stop_broker(0);
    }

    /// The broker is killed. Of what it wrote and did not sync, the disk keeps a random part, or nothing
    /// with `keep` = 0.
    pub(super) fn kill_broker(&mut self, loses_all: bool) {
        let life = self.broker.life;
        self.note(Event::BrokerKilled { life });
        let unsynced = self.disk.unsynced_batches() as u64;
        let keep = if loses_all { 0 } else { self.rng.between(0, unsynced) };
        self.stop_broker(keep);
    }

    fn stop_broker(&mut self, keep: u64) {
        self.broker.shell = None;
        self.broker.inbox.clear();
        self.broker.paused_until = None;
        self.broker.wake.clear();
        self.break_all();
        self.break_subscriptions();
        self.crash_disk(keep as usize);
        self.forget_wire(self.broker.life);
        let (first, last) = if self.rng.percent(70) { (20_000, S) } else { (S, 6 * S) };
        let pause = self.rng.between(first, last);
        self.queue.push(self.now + pause, Happening::Restart(Node::Broker));
    }

    /// The wall clock of the broker jumps.
    pub(super) fn jump_wall(&mut self, by_ms: i64) {
        self.broker.wall_offset += by_ms;
        let life = self.broker.life;
        self.note(Event::WallJumped { life, by_ms });
    }
}
