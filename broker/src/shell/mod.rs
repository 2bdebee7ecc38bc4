//! What surrounds the scheduler: messages become inputs, effects become messages.
//!
//! - [`conns`]: what is known of each connection.
//! - `intake`: from events to inputs. `delivery`: from effects to messages. `values`: what they wait for.
//! - `news`: what happens, for whoever watches. `spans`: the same of single tasks, for whoever traces.
//! - `journaling`: how the journal gets on, and what follows from it. `lookout`: whether all is as it must be.

mod conns;
mod delivery;
mod intake;
mod journaling;
mod lookout;
mod news;
mod spans;
mod values;

use std::time::Duration;

use ganger_common::{ConnId, ErrorCode};
use ganger_scheduler::effect::{ClientReply, Refused, WorkerCommand};
use ganger_scheduler::{Config, Input, Lsn, Now, Record, Scheduler, Time};
use ganger_transport::{DownReason, Publisher, Server};

use crate::clock::Clock;
use crate::convert;
use crate::counters::Counters;
use crate::error::BrokerError;
use crate::journal::Journal;
use crate::keys::Guard;
use crate::kinds::Kinds;
use crate::server::Sockets;

use conns::Conns;
pub use conns::Side;
use journaling::Journaling;
use lookout::Lookout;
pub(crate) use news::Reporter;
pub(crate) use spans::Spans;
use values::Reads;

/// How long the transports may take at the end to deliver what was said.
pub(crate) const LINGER: Duration = Duration::from_millis(250);

/// How often the counters are logged, for whoever looks at debug lines.
const LOG_COUNTERS_EVERY: Duration = Duration::from_secs(10);

/// The scheduler with everything around it.
pub struct Shell<S, P, J> {
    clock: Clock,
    scheduler: Scheduler,
    /// The sockets.
    pub sockets: Sockets<S, P>,
    /// Where records go.
    pub journal: J,
    /// Records of this turn.
    batch: Vec<(Lsn, Record)>,
    journaling: Journaling,
    reads: Reads,
    conns: Conns,
    kinds: Kinds,
    counters: Counters,
    /// Who may do what.
    pub(crate) guard: Guard,
    /// What happens, for whoever watches.
    pub(crate) news: Reporter,
    /// The spans of tasks, for a collector.
    pub(crate) spans: Spans,
    counters_logged: Time,
    lookout: Lookout,
    /// Messages on their way out; kept to use its memory again.
    frames: Vec<Vec<u8>>,
    drained: bool,
    /// Signs of life so far: a clock that stands still while the broker does.
    beats: u64,
}

impl<S: Server, P: Publisher, J: Journal> Shell<S, P, J> {
    pub(crate) fn new(config: Config, sockets: Sockets<S, P>, journal: J) -> Self {
        let clock = Clock::start();
        let scheduler = Scheduler::new(config, clock.now());
        Self::around(clock, scheduler, sockets, journal)
    }

    /// Around a scheduler that has been made by somebody else.
    pub fn around(clock: Clock, scheduler: Scheduler, sockets: Sockets<S, P>, journal: J) -> Self {
        Self {
            scheduler,
            clock,
            sockets,
            journal,
            batch: Vec::new(),
            journaling: Journaling::default(),
            reads: Reads::default(),
            conns: Conns::default(),
            kinds: Kinds::default(),
            counters: Counters::default(),
            guard: Guard::default(),
            news: Reporter::default(),
            spans: Spans::default(),
            counters_logged: Time::default(),
            lookout: Lookout::default(),
            frames: Vec::new(),
            drained: false,
            beats: 0,
        }
    }

    /// The present.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Moves a clock that is set by hand.
    pub fn set_now(&mut self, now: Now) {
        self.clock.set(now);
    }

    /// The scheduler, for whoever looks on.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// When something is due.
    pub fn due(&self) -> Option<Time> {
        self.scheduler.poll_timeout().map(|(due, _)| due)
    }

    /// A journal that took a batch has made it safe only now.
    pub fn journaled(&mut self, upto: Lsn) {
        self.scheduler.handle(self.clock.now(), Input::Journaled { upto });
    }

    /// When the scheduler wants to be called, whatever comes in.
    pub(crate) fn wake_at(&self) -> Option<tokio::time::Instant> {
        self.scheduler.poll_timeout().map(|(due, _)| self.clock.wake_at(due))
    }

    /// How long something has been due, if anything is.
    pub fn late_by(&self) -> Option<Duration> {
        let (due, _) = self.scheduler.poll_timeout()?;
        let now = self.clock.now().time;
        (due <= now).then(|| now.since(due))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self) {
        let now = self.clock.now();
        self.scheduler.handle_timeout(now);
        self.lookout.pass(now);
        if now.time.since(self.counters_logged) >= LOG_COUNTERS_EVERY {
            self.counters_logged = now.time;
            tracing::debug!(shell = ?self.counters, scheduler = ?self.scheduler.counters(), "counters");
        }
    }

    /// Begins the end.
    pub fn drain(&mut self, deadline: Duration) {
        tracing::info!(?deadline, "draining: nothing new is taken, what runs may finish");
        self.scheduler.handle(self.clock.now(), Input::Drain { deadline });
    }

    /// Whether the drain is over.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    /// Lets what was said leave, and ends.
    pub(crate) async fn end(self) -> Result<(), BrokerError> {
        let status = self.scheduler.status();
        let left = status.queued + status.delayed + status.assigned + status.running;
        tracing::info!(
            drained = self.drained,
            tasks_left = left,
            shell = ?self.counters,
            scheduler = ?self.scheduler.counters(),
            "stopped"
        );
        let Sockets { clients, workers, knowledge } = self.sockets;
        tokio::join!(clients.shutdown(LINGER), workers.shutdown(LINGER), knowledge.shutdown(LINGER));
        self.journal.close()?;
        Ok(())
    }

    fn socket(&self, side: Side) -> &S {
        match side {
            Side::Client => &self.sockets.clients,
            Side::Worker => &self.sockets.workers,
        }
    }

    /// Refuses something that the scheduler never sees.
    fn refuse(&mut self, conn: ConnId, req: Option<u64>, code: ErrorCode, text: String) {
        self.counters.count_error(code);
        let refused = Refused { req, code, text, retry_after: retry_after(code) };
        match self.conns.get_mut(conn).map(|conn| conn.side) {
            Some(Side::Client) => self.tell_client(conn, ClientReply::Error(refused)),
            Some(Side::Worker) => self.tell_worker(conn, WorkerCommand::Error(refused)),
            None => {}
        }
    }

    /// Ends a connection after what was said on it, which the transport delivers first.
    fn close(&mut self, conn: ConnId, reason: DownReason) {
        if let Some(side) = self.forget(conn) {
            self.socket(side).kick(conn, reason);
        }
    }

    fn forget(&mut self, conn: ConnId) -> Option<Side> {
        self.guard.down(conn);
        let side = self.conns.remove(conn)?.side;
        self.counters.connections_closed += 1;
        Some(side)
    }

    /// Ends a connection that breaks the rules, with a goodbye that says which.
    fn cut(&mut self, conn: ConnId, code: ErrorCode, text: &str, reason: DownReason) {
        let Some(side) = self.forget(conn) else { return };
        tracing::warn!(%conn, ?side, %code, text, "connection cut");
        let frame = convert::goodbye(side, code, text);
        // Best effort: the queue of this connection may be what is wrong with it.
        let _ = self.socket(side).try_send(conn, frame.into());
        self.socket(side).kick(conn, reason);
        self.scheduler.handle(self.clock.now(), Input::ConnectionDown { conn });
    }
}

/// When a refusal by the shell is worth another try.
fn retry_after(code: ErrorCode) -> Option<Duration> {
    (code == ErrorCode::Busy).then_some(Duration::from_secs(1))
}
