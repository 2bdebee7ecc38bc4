//! The I/O thread: one loop that carries between a connection, the session and the desk.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_transport::{Closed, ConnectError, Connection, Connector, Endpoint, Limits};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;
use tracing::{debug, info, warn};

use crate::desk::{Desk, LinkState, Orders};
use crate::error::Error;
use crate::session::{Effect, Input, Session};

/// Messages taken from the connection before the callers and the clock get their turn.
const BURST: usize = 64;
/// How long the goodbye may take to leave. The transport has no way to tell when it has.
const CLOSE_GRACE: Duration = Duration::from_millis(20);

type Connecting<C> = Pin<Box<dyn Future<Output = Result<C, ConnectError>> + Send>>;

/// Everything that the loop owns.
pub(crate) struct Driver<C: Connector> {
    connector: C,
    endpoint: Endpoint,
    limits: Limits,
    session: Session,
    desk: Arc<Desk>,
    connection: Option<C::Connection>,
    connecting: Option<Connecting<C::Connection>>,
    closing: Option<JoinHandle<()>>,
    /// A send was not taken: to be told to the session once the present effects are carried out.
    lost: Option<String>,
    wakers: Vec<Waker>,
}

/// However the thread ends, nobody may wait for it in vain.
struct Leaving(Arc<Desk>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.end(&Error::Closed);
        self.0.leave_for_good();
    }
}

/// What ended a sleep.
enum Woken<C> {
    Orders,
    Message(Result<Bytes, Closed>),
    Connected(Result<C, ConnectError>),
    Time,
}

impl<C: Connector> Driver<C> {
    pub(crate) fn new(
        connector: C,
        endpoint: Endpoint,
        limits: Limits,
        session: Session,
        desk: Arc<Desk>,
    ) -> Self {
        Self {
            connector,
            endpoint,
            limits,
            session,
            desk,
            connection: None,
            connecting: None,
            closing: None,
            lost: None,
            wakers: Vec::new(),
        }
    }

    /// Until the session is over.
    pub(crate) async fn run(mut self) {
        let _leaving = Leaving(self.desk.clone());
        let mut is_busy = false;
        loop {
            if is_busy {
                tokio::task::yield_now().await;
            } else {
                let woken = self.sleep().await;
                self.on_woken(woken);
            }
            // Messages before time-outs: a broker must not be judged silent while it waits at the door.
            is_busy = self.take_messages();
            self.take_orders();
            if self.session.poll_timeout().is_some_and(|(at, _)| at <= Instant::now()) {
                self.session.handle_timeout(Instant::now());
            }
            self.perform_all();
            if self.session.is_over() {
                break self.finish().await;
            }
        }
    }

    async fn sleep(&mut self) -> Woken<C::Connection> {
        let deadline = self.session.poll_timeout().map(|(at, _)| at.into());
        tokio::select! {
            biased;
            message = receive(&mut self.connection) => Woken::Message(message),
            () = self.desk.filled() => Woken::Orders,
            connected = connected(&mut self.connecting) => Woken::Connected(connected),
            () = sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)), if deadline.is_some() => {
                Woken::Time
            }
        }
    }

    fn on_woken(&mut self, woken: Woken<C::Connection>) {
        let now = Instant::now();
        match woken {
            Woken::Orders | Woken::Time => {}
            Woken::Message(Ok(frame)) => self.session.handle(now, Input::Received(frame)),
            Woken::Message(Err(closed)) => self.on_closed(&closed),
            Woken::Connected(result) => {
                self.connecting = None;
                match result {
                    Ok(connection) => {
                        self.connection = Some(connection);
                        self.session.handle(now, Input::Connected);
                    }
                    Err(error) => {
                        self.session.handle(now, Input::ConnectFailed { reason: error.to_string() });
                    }
                }
            }
        }
    }

    fn on_closed(&mut self, closed: &Closed) {
        self.connection = None;
        self.session.handle(Instant::now(), Input::Lost { reason: closed.reason.clone() });
    }

    /// Takes what has come, up to a burst. Returns whether there may be more.
    fn take_messages(&mut self) -> bool {
        let now = Instant::now();
        for _ in 0..BURST {
            match self.connection.as_mut().map(Connection::try_recv) {
                None | Some(Ok(None)) => return false,
                Some(Ok(Some(frame))) => self.session.handle(now, Input::Received(frame)),
                Some(Err(closed)) => {
                    self.on_closed(&closed);
                    return false;
                }
            }
        }
        true
    }

    fn take_orders(&mut self) {
        let orders = self.desk.take_orders();
        self.hand_in(orders);
    }

    fn hand_in(&mut self, orders: Orders) {
        let now = Instant::now();
        if !orders.submissions.is_empty() {
            self.session.handle(now, Input::Submit(orders.submissions));
        }
        for (token, task, events) in orders.watches {
            self.session.handle(now, Input::Watch { tasks: vec![(token, task)], events });
        }
        for (token, request) in orders.questions {
            self.session.handle(now, Input::Ask { token, request });
        }
        if orders.close {
            self.session.handle(now, Input::Close);
        }
    }

    fn perform_all(&mut self) {
        loop {
            while let Some(effect) = self.session.poll_effect() {
                self.perform(effect);
            }
            match self.lost.take() {
                Some(reason) => self.session.handle(Instant::now(), Input::Lost { reason }),
                None => break,
            }
        }
        self.wakers.drain(..).for_each(Waker::wake);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send(frame) => self.send(frame),
            Effect::Accepted { tokens, durability } => {
                self.desk.accepted(&tokens, durability, &mut self.wakers);
            }
            Effect::Settled(settled) => self.desk.settled(settled, &mut self.wakers),
            Effect::Failed { token, task, error } => self.desk.failed(token, task, error, &mut self.wakers),
            Effect::Room { tasks, units } => self.desk.leave(tasks, units),
            Effect::Answer { token, result } => {
                // Whoever asked may have stopped waiting.
                if let Some((_, answer)) = self.desk.questions.remove(&token) {
                    let _ = answer.send(result);
                }
            }
            Effect::Event { task, event } => {
                if let Some(sinks) = self.desk.sinks.get(&task) {
                    sinks.iter().for_each(|sink| sink.put(event.clone()));
                }
            }
            Effect::Connect => {
                let (connector, endpoint) = (self.connector.clone(), self.endpoint.clone());
                let limits = self.limits.clone();
                self.connecting = Some(Box::pin(async move { connector.connect(&endpoint, &limits).await }));
            }
            Effect::Disconnect => {
                if let Some(connection) = self.connection.take() {
                    self.closing = Some(tokio::spawn(connection.close(CLOSE_GRACE)));
                }
            }
            Effect::Opened(broker) => {
                info!(broker = broker.name, epoch = %broker.epoch, "session open");
                self.desk.state.send_replace(LinkState::Open(Box::new(broker)));
            }
            Effect::Down { reason, retry_at } => {
                let pause = retry_at.saturating_duration_since(Instant::now());
                self.connection = None;
                let state = LinkState::Down { reason: Some(reason.clone()) };
                match self.desk.state.send_replace(state) {
                    LinkState::Open(_) => warn!(reason, "the connection to the broker is lost; trying again"),
                    _ => debug!(reason, ?pause, "no connection"),
                }
            }
            Effect::Notice { code, text } => warn!(%code, text, "the broker complains"),
            // The loop sees it, and leaves.
            Effect::Ended(error) => debug!(%error, "session over"),
        }
    }

    fn send(&mut self, frame: Bytes) {
        let Some(connection) = &self.connection else { return };
        if let Err(error) = connection.try_send(frame) {
            self.connection = None;
            self.lost = Some(error.to_string());
        }
    }

    /// Tells the last word to everybody who came in the last moment, and lets the goodbye leave.
    async fn finish(mut self) {
        let error = self.session.end_reason().cloned().unwrap_or(Error::Closed);
        let orders = self.desk.end(&error);
        self.hand_in(orders);
        self.perform_all();
        if let Some(closing) = self.closing.take() {
            // It ends with its grace, and does not panic.
            let _ = closing.await;
        }
    }
}

async fn receive<C: Connection>(connection: &mut Option<C>) -> Result<Bytes, Closed> {
    match connection {
        Some(connection) => connection.recv().await,
        None => pending().await,
    }
}

async fn connected<C>(connecting: &mut Option<Connecting<C>>) -> Result<C, ConnectError> {
    match connecting {
        Some(connecting) => connecting.await,
        None => pending().await,
    }
}
