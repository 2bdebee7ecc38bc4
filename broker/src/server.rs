//! The one loop: what came in, what it leads to, what goes out.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use ganger_common::message::{FromClient, FromWorker};
use ganger_common::{ConnId, DecodeError, ErrorCode, decode};
use ganger_scheduler::effect::{ClientReply, Refusal, Refused, WorkerCommand};
use ganger_scheduler::{Effect, Input, Lsn, Now, Record, Scheduler, Time, Wall};
use ganger_transport::{DownReason, MalformedReason, Publisher, SendError, Server, ServerEvent};
use tokio::sync::mpsc;

use crate::convert::{self, Incoming, PreRefused};
use crate::error::BrokerError;
use crate::journal::Journal;
use crate::kinds::Kinds;
use crate::outbox::{Outbox, Room};
use crate::publisher;

/// Messages taken in before their effects are carried out. More would let replies wait, fewer would make
/// batches smaller.
const TURN_MESSAGES: usize = 256;

/// How long the transports may take at the end to deliver what was said.
const LINGER: Duration = Duration::from_millis(250);

/// What the operator wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Take nothing new, let what runs finish, then end.
    Drain,
    /// End at once.
    Now,
}

/// The sockets of a broker.
#[derive(Debug)]
pub struct Sockets<S, P> {
    /// Where clients are.
    pub clients: S,
    /// Where workers are.
    pub workers: S,
    /// Where everybody listens.
    pub knowledge: P,
}

/// Which socket a connection belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Client,
    Worker,
}

/// Runs a broker until it is drained or stopped.
///
/// # Errors
/// When the journal fails: no promise was made after that.
pub async fn run<S: Server, P: Publisher, J: Journal>(
    config: ganger_scheduler::Config,
    drain_deadline: Duration,
    sockets: Sockets<S, P>,
    journal: J,
    mut stop: mpsc::Receiver<Stop>,
) -> Result<(), BrokerError> {
    let clock = Clock::start();
    let scheduler = Scheduler::new(config, clock.now());
    let mut shell = Shell {
        clock,
        scheduler,
        sockets,
        journal,
        batch: Vec::new(),
        kinds: Kinds::default(),
        outbox: Outbox::default(),
        sides: HashMap::new(),
        pre_refused: HashMap::new(),
        counters: BTreeMap::new(),
        drained: false,
    };
    let mut events = Vec::with_capacity(TURN_MESSAGES);
    shell.carry_out()?;
    while !shell.drained {
        let arrived = shell.take_in(&mut events);
        if !arrived {
            match shell.wait(&mut events, &mut stop).await {
                Some(Stop::Drain) => {
                    tracing::info!(deadline = ?drain_deadline, "draining");
                    let now = shell.clock.now();
                    shell.scheduler.handle(now, Input::Drain { deadline: drain_deadline });
                }
                Some(Stop::Now) => break,
                None => {}
            }
        } else if stop.try_recv() == Ok(Stop::Now) {
            break;
        }
        // What lies at the door counts before anybody is judged silent.
        shell.take_in(&mut events);
        let now = shell.clock.now();
        if shell.scheduler.poll_timeout().is_some_and(|(due, _)| due <= now.time) {
            shell.scheduler.handle_timeout(now);
        }
        shell.carry_out()?;
    }
    shell.end().await
}

/// The two clocks of a broker.
#[derive(Debug)]
struct Clock {
    start: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { start: Instant::now() }
    }

    fn now(&self) -> Now {
        // A wall clock before 1970 is a machine without a clock; its records will say 1970.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { time: Time(self.start.elapsed().as_micros() as u64), wall: Wall(wall.as_millis() as u64) }
    }

    fn instant(&self, time: Time) -> tokio::time::Instant {
        (self.start + Duration::from_micros(time.0)).into()
    }
}

struct Shell<S, P, J> {
    clock: Clock,
    scheduler: Scheduler,
    sockets: Sockets<S, P>,
    journal: J,
    /// Records of this turn.
    batch: Vec<(Lsn, Record)>,
    kinds: Kinds,
    outbox: Outbox,
    sides: HashMap<ConnId, Side>,
    /// What the shell refuses of batches that the scheduler has not answered yet.
    pre_refused: HashMap<(ConnId, u64), PreRefused>,
    counters: BTreeMap<&'static str, u64>,
    drained: bool,
}

impl<S: Server, P: Publisher, J: Journal> Shell<S, P, J> {
    /// Takes in what is there. Returns whether there was anything.
    fn take_in(&mut self, events: &mut Vec<ServerEvent>) -> bool {
        let now = self.clock.now();
        self.sockets.workers.recv(events, TURN_MESSAGES).now_or_never();
        let workers = self.take_events(now, Side::Worker, events);
        self.sockets.clients.recv(events, TURN_MESSAGES).now_or_never();
        let clients = self.take_events(now, Side::Client, events);
        workers || clients
    }

    /// Sleeps until there is something to do.
    async fn wait(&mut self, events: &mut Vec<ServerEvent>, stop: &mut mpsc::Receiver<Stop>) -> Option<Stop> {
        let due = self.scheduler.poll_timeout().map(|(due, _)| self.clock.instant(due));
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let mut from_clients = Vec::new();
        let side = tokio::select! {
            biased;
            // Nobody can ask any more when the other end is gone: go on.
            Some(stop) = stop.recv() => return Some(stop),
            _ = self.sockets.workers.recv(events, TURN_MESSAGES) => Side::Worker,
            _ = self.sockets.clients.recv(&mut from_clients, TURN_MESSAGES) => Side::Client,
            () = timer => return None,
        };
        events.append(&mut from_clients);
        self.take_events(self.clock.now(), side, events);
        None
    }

    fn take_events(&mut self, now: Now, side: Side, events: &mut Vec<ServerEvent>) -> bool {
        let arrived = !events.is_empty();
        for event in events.drain(..) {
            self.on_event(now, side, event);
        }
        arrived
    }

    fn on_event(&mut self, now: Now, side: Side, event: ServerEvent) {
        match event {
            ServerEvent::Up { conn, peer } => {
                tracing::debug!(%conn, ?side, addr = ?peer.addr, "connected");
                self.sides.insert(conn, side);
                self.outbox.add(conn);
            }
            ServerEvent::Message { conn, body } => match side {
                Side::Client => match decode::<FromClient<'_>>(&body) {
                    Ok(message) => {
                        let incoming = convert::client(&body, message, &mut self.kinds);
                        self.on_client(now, conn, incoming);
                    }
                    Err(error) => self.on_undecodable(conn, &error),
                },
                Side::Worker => match decode::<FromWorker<'_>>(&body) {
                    Ok(message) => {
                        let incoming = convert::worker(&body, message, &mut self.kinds);
                        self.on_worker(now, conn, incoming);
                    }
                    Err(error) => self.on_undecodable(conn, &error),
                },
            },
            ServerEvent::Malformed { conn, parts, bytes, reason } => {
                let (code, text) = match reason {
                    MalformedReason::Parts => (
                        ErrorCode::BadMessage,
                        format!("a message of {parts} parts; there must be exactly one"),
                    ),
                    MalformedReason::TooLarge => {
                        (ErrorCode::TooLarge, format!("a message of {bytes} bytes is over the limit"))
                    }
                };
                self.refuse(conn, None, code, text);
            }
            ServerEvent::Down { conn, reason } => {
                tracing::debug!(%conn, ?side, ?reason, "disconnected");
                self.sides.remove(&conn);
                self.outbox.remove(conn);
                self.pre_refused.retain(|(owner, _), _| *owner != conn);
                self.scheduler.handle(now, Input::ConnectionDown { conn });
            }
        }
    }

    fn on_client(&mut self, now: Now, conn: ConnId, incoming: Incoming<ganger_scheduler::ClientRequest>) {
        let request = match incoming {
            Incoming::Request(request, mark) => {
                mark.into_iter().for_each(|mark| self.outbox.echo(conn, mark));
                request
            }
            Incoming::Partly(request, seq, pre) => {
                self.pre_refused.insert((conn, seq), pre);
                request
            }
            Incoming::Refused(refused) => return self.on_refused(conn, refused),
        };
        self.scheduler.handle(now, Input::Client { conn, request });
    }

    fn on_worker(&mut self, now: Now, conn: ConnId, incoming: Incoming<ganger_scheduler::WorkerRequest>) {
        match incoming {
            Incoming::Request(request, mark) => {
                mark.into_iter().for_each(|mark| self.outbox.echo(conn, mark));
                self.scheduler.handle(now, Input::Worker { conn, request });
            }
            Incoming::Partly(request, ..) => self.scheduler.handle(now, Input::Worker { conn, request }),
            Incoming::Refused(refused) => self.on_refused(conn, refused),
        }
    }

    fn on_undecodable(&mut self, conn: ConnId, error: &DecodeError) {
        tracing::debug!(%conn, %error, "a message cannot be decoded");
        self.count("messages_undecodable");
        self.refuse(conn, None, error.code(), error.to_string());
    }

    fn on_refused(&mut self, conn: ConnId, refused: convert::Refused) {
        tracing::debug!(%conn, code = %refused.code, text = refused.text, "refused");
        self.refuse(conn, refused.req, refused.code, refused.text);
        if refused.is_final {
            self.close(conn, DownReason::Kicked);
        }
    }

    /// Refuses something that the scheduler never sees.
    fn refuse(&mut self, conn: ConnId, req: Option<u64>, code: ErrorCode, text: String) {
        self.count("messages_refused");
        let refused = Refused { req, code, text, retry_after: None };
        match self.sides.get(&conn) {
            Some(Side::Client) => self.to_client(conn, ClientReply::Error(refused)),
            Some(Side::Worker) => self.to_worker(conn, &WorkerCommand::Error(refused)),
            None => {}
        }
    }

    /// Carries out everything that the scheduler wants done, records first made safe, promises after.
    fn carry_out(&mut self) -> Result<(), BrokerError> {
        loop {
            while let Some(effect) = self.scheduler.poll_effect() {
                self.carry_out_one(effect);
            }
            if self.batch.is_empty() {
                return Ok(());
            }
            let upto = self.journal.append(&mut self.batch)?;
            self.scheduler.handle(self.clock.now(), Input::Journaled { upto });
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::Append { lsn, record } => self.batch.push((lsn, record)),
            Effect::ToClient { conn, reply } => self.to_client(conn, reply),
            Effect::ToWorker { conn, command } => self.to_worker(conn, &command),
            Effect::Publish(publication) => {
                let parts = publisher::parts(self.scheduler.config().epoch, &publication);
                if self.sockets.knowledge.publish(parts).is_err() {
                    self.count("publications_dropped");
                }
            }
            Effect::Close { conn } => self.close(conn, DownReason::Kicked),
            Effect::Drained => self.drained = true,
        }
    }

    fn to_client(&mut self, conn: ConnId, mut reply: ClientReply) {
        let has_window = matches!(reply, ClientReply::Outcomes { .. });
        let can_drop = matches!(reply, ClientReply::Progress { .. } | ClientReply::Partial { .. });
        match &mut reply {
            ClientReply::Accepted { seq, refused } => {
                if let Some(pre) = self.pre_refused.remove(&(conn, *seq)) {
                    merge(refused, pre);
                }
            }
            ClientReply::Status { status, .. } => {
                let mine = self.counters.iter().map(|(name, count)| ((*name).to_owned(), *count));
                status.counters.extend(mine);
            }
            _ => {}
        }
        let mut buffer = Vec::with_capacity(256);
        convert::encode_client(self.scheduler.config(), self.outbox.mark(conn), &reply, &mut buffer);
        self.send(Side::Client, conn, buffer, has_window, can_drop);
    }

    fn to_worker(&mut self, conn: ConnId, command: &WorkerCommand) {
        let has_window = matches!(command, WorkerCommand::Tasks { .. });
        let mut buffer = Vec::with_capacity(256);
        convert::encode_worker(self.scheduler.config(), self.outbox.mark(conn), command, &mut buffer);
        self.send(Side::Worker, conn, buffer, has_window, false);
    }

    fn send(&mut self, side: Side, conn: ConnId, buffer: Vec<u8>, has_window: bool, can_drop: bool) {
        if !has_window {
            match self.outbox.room(conn) {
                Room::Free => {}
                Room::Tight if can_drop => return self.count("events_dropped"),
                Room::Tight => {}
                Room::Over => {
                    self.count("slow_readers_cut");
                    tracing::warn!(%conn, ?side, "cut: the peer does not read what it is sent");
                    return self.close(conn, DownReason::Overflow);
                }
            }
            self.outbox.book(conn, buffer.len());
        }
        let server = match side {
            Side::Client => &self.sockets.clients,
            Side::Worker => &self.sockets.workers,
        };
        if let Err(SendError::Full(_)) = server.try_send(conn, buffer.into()) {
            self.count("outboxes_full");
            tracing::warn!(%conn, ?side, "cut: the queue of the connection is full");
            self.close(conn, DownReason::Overflow);
        }
    }

    /// The transport closes a connection after what was sent on it, so a goodbye arrives.
    fn close(&mut self, conn: ConnId, reason: DownReason) {
        match self.sides.get(&conn) {
            Some(Side::Client) => self.sockets.clients.kick(conn, reason),
            Some(Side::Worker) => self.sockets.workers.kick(conn, reason),
            None => {}
        }
    }

    fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }

    async fn end(self) -> Result<(), BrokerError> {
        let status = self.scheduler.status();
        let left = status.queued + status.delayed + status.assigned + status.running;
        tracing::info!(left, succeeded = status.counters["tasks_succeeded"], shell = ?self.counters, "stopped");
        let Sockets { clients, workers, knowledge } = self.sockets;
        tokio::join!(clients.shutdown(LINGER), workers.shutdown(LINGER), knowledge.shutdown(LINGER));
        self.journal.close()?;
        Ok(())
    }
}

/// Puts what the shell refused beside what the scheduler refused, all by their places in the batch.
fn merge(refused: &mut Vec<Refusal>, pre: PreRefused) {
    for refusal in refused.iter_mut() {
        if let Some(place) = pre.places.get(refusal.index as usize) {
            refusal.index = *place;
        }
    }
    refused.extend(pre.refused.into_iter().map(|(index, code, text)| Refusal {
        index,
        code,
        text,
        retry_after: None,
    }));
    refused.sort_by_key(|refusal| refusal.index);
}
