//! The one loop: what came in, what it leads to, what goes out.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::FutureExt;
use ganger_transport::{Publisher, Server, ServerEvent};
use tokio::sync::{mpsc, watch};

use crate::error::BrokerError;
use crate::journal::Journal;
use crate::seat::Seat;
use crate::shell::{Shell, Side};
use crate::writer::Progress;

/// Events taken from a socket at a time, and carried out together. More would let replies wait, fewer would
/// make batches smaller. A socket gives connections their turns and no more than a handful of bytes at a
/// time, so that whoever sends most is not heard first, and what stands here stays small.
const TURN_EVENTS: usize = 256;
/// Effects are carried out after this long, whatever else was taken: a few messages may hold thousands of
/// tasks each.
const TURN_TIME: Duration = Duration::from_millis(1);
/// How long something due is put off while there is still input. Long enough to take in what a burst of
/// workers had brought to the door when it fell due; short enough that one peer that never stops sending
/// cannot hold up beats, delayed tasks and everybody else's deadlines.
const LATE_MAX: Duration = Duration::from_millis(50);
/// What a message passes on its way in that is on the loop's own thread at times: door, library, socket. They
/// get their turns before something due is done, or the loop would judge a peer silent whose message it kept
/// from coming in itself.
const STEPS_IN: usize = 3;

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

/// Everything that can happen to a broker, beside the passing of time.
enum Event {
    /// Something at the clients' socket.
    Clients(ServerEvent),
    /// Something at the workers' socket.
    Workers(ServerEvent),
    /// The operator has spoken.
    Stop(Stop),
    /// The journal has come further, or has failed.
    Journal,
}

/// Runs a broker until it is drained or stopped.
///
/// # Errors
/// When the journal fails: no promise was made after that. When a socket ends.
pub async fn run<S: Server, P: Publisher, J: Journal>(
    config: ganger_scheduler::Config,
    drain_deadline: Duration,
    sockets: Sockets<S, P>,
    journal: J,
    stop: mpsc::Receiver<Stop>,
) -> Result<(), BrokerError> {
    let shell = Shell::new(config, sockets, journal);
    go_on(shell, None, Seat::default(), drain_deadline, stop).await
}

/// The same with a shell that was made before, with what tells how far its journal has come, where that is
/// written by a thread of its own, and with threads to choose from.
pub(crate) async fn go_on<S: Server, P: Publisher, J: Journal>(
    mut shell: Shell<S, P, J>,
    progress: Option<watch::Receiver<Progress>>,
    mut seat: Seat,
    drain_deadline: Duration,
    stop: mpsc::Receiver<Stop>,
) -> Result<(), BrokerError> {
    let mut inbox = Inbox::new(stop, progress);
    while !shell.is_drained() {
        seat.change().await;
        inbox.collect(&mut shell.sockets)?;
        let turn = shell.now();
        while let Some(event) = inbox.events.pop_front() {
            let now = shell.now();
            match event {
                Event::Clients(event) => shell.on_event(now, Side::Client, event),
                Event::Workers(event) => shell.on_event(now, Side::Worker, event),
                Event::Journal => shell.on_journal()?,
                Event::Stop(Stop::Drain) => shell.drain(drain_deadline),
                Event::Stop(Stop::Now) => return shell.end().await,
            }
            if now.time.since(turn.time) >= TURN_TIME {
                break;
            }
        }
        // A peer must not be judged silent while its message waits at the door.
        if shell.late_by().is_some_and(|late| late >= LATE_MAX || !inbox.may_have_more()) {
            shell.handle_timeout();
        }
        shell.carry_out()?;
        inbox.hears_clients = !shell.is_behind();
        let wake_at = shell.wake_at();
        match inbox.may_have_more() || shell.late_by().is_some() || shell.is_drained() {
            true => tokio::task::yield_now().await,
            false => inbox.wait(&mut shell.sockets, wake_at).await?,
        }
    }
    shell.end().await
}

/// What has happened and was not taken in yet.
struct Inbox {
    events: VecDeque<Event>,
    stop: mpsc::Receiver<Stop>,
    /// Changes when the journal has come further, or has failed.
    progress: Option<watch::Receiver<Progress>>,
    /// Clients have to wait while too much waits for the journal.
    hears_clients: bool,
    /// A socket gave something, so there may be more.
    gave: bool,
    from_clients: Vec<ServerEvent>,
    from_workers: Vec<ServerEvent>,
}

impl Inbox {
    fn new(stop: mpsc::Receiver<Stop>, progress: Option<watch::Receiver<Progress>>) -> Self {
        let (from_clients, from_workers) = (Vec::new(), Vec::new());
        let events = VecDeque::new();
        Self { events, stop, progress, hears_clients: true, gave: false, from_clients, from_workers }
    }

    fn may_have_more(&self) -> bool {
        self.gave || !self.events.is_empty()
    }

    /// Takes what is there already: the operator first, then the workers, whose reports make room for
    /// what the clients want. Before that, what was taken earlier comes to its end: what is left at the
    /// sockets waits there in turns, and counts there.
    fn collect<S: Server, P>(&mut self, sockets: &mut Sockets<S, P>) -> Result<(), BrokerError> {
        while let Ok(stop) = self.stop.try_recv() {
            self.events.push_front(Event::Stop(stop));
        }
        let has_more = !self.events.is_empty();
        if let Some(progress) = &mut self.progress
            && progress.has_changed().unwrap_or(true)
        {
            progress.mark_unchanged();
            self.events.push_front(Event::Journal);
        }
        if has_more {
            return Ok(());
        }
        self.gave = false;
        let workers = sockets.workers.recv(&mut self.from_workers, TURN_EVENTS).now_or_never();
        let clients = match self.hears_clients {
            true => sockets.clients.recv(&mut self.from_clients, TURN_EVENTS).now_or_never(),
            false => None,
        };
        self.take(workers, clients)
    }

    /// Sleeps until something happens or the moment has come.
    async fn wait<S: Server, P>(
        &mut self,
        sockets: &mut Sockets<S, P>,
        wake_at: Option<tokio::time::Instant>,
    ) -> Result<(), BrokerError> {
        let timer = async {
            match wake_at {
                Some(wake_at) => tokio::time::sleep_until(wake_at).await,
                None => std::future::pending().await,
            }
        };
        let progress = async {
            match &mut self.progress {
                // An end is news, too: whoever looks then finds out why.
                Some(progress) => drop(progress.changed().await),
                None => std::future::pending().await,
            }
        };
        let (workers, clients) = tokio::select! {
            biased;
            // Without anybody who could ask, the broker goes on.
            Some(stop) = self.stop.recv() => {
                self.events.push_front(Event::Stop(stop));
                (None, None)
            }
            () = progress => {
                self.events.push_front(Event::Journal);
                (None, None)
            }
            count = sockets.workers.recv(&mut self.from_workers, TURN_EVENTS) => (Some(count), None),
            count = sockets.clients.recv(&mut self.from_clients, TURN_EVENTS), if self.hears_clients => {
                (None, Some(count))
            }
            () = timer => {
                for _ in 0..STEPS_IN {
                    tokio::task::yield_now().await;
                }
                (None, None)
            }
        };
        self.take(workers, clients)
    }

    /// Puts what the sockets gave with the rest. `None`: there was nothing.
    fn take(&mut self, workers: Option<usize>, clients: Option<usize>) -> Result<(), BrokerError> {
        if workers == Some(0) || clients == Some(0) {
            return Err(BrokerError::SocketEnded);
        }
        self.gave |= workers.or(clients).is_some();
        self.events.extend(self.from_workers.drain(..).map(Event::Workers));
        self.events.extend(self.from_clients.drain(..).map(Event::Clients));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ganger_scheduler::Config;
    use ganger_transport::Limits;

    #[test]
    fn a_session_too_many_still_gets_a_connection_to_be_told_so() {
        let (sockets, sessions) = (Limits::default(), Config::default());
        assert!(sockets.connections > sessions.workers_max.max(sessions.clients_max));
    }
}
