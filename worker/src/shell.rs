//! The thread of the connection: feeds the session and carries out its effects.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_transport::{Closed, ConnectError, Connection, Connector, Endpoint, Limits, Subscription};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::lone::Lone;
use crate::maybe::{Making, listen, make, receive};
use crate::replica::Publication;
use crate::session::{Effect, Incoming, Input, Kinds, Stop};
use crate::shared::Shared;
use crate::time::Time;

/// Frames taken in before effects are carried out: the same bound as the transport's own.
const BURST: usize = 64;
/// What was said last gets this long to leave.
const CLOSE_GRACE: Duration = Duration::from_millis(200);

/// What a worker can be told from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Finish or hand back everything, then leave.
    Drain(Option<Duration>),
    /// Leave now.
    Stop,
}

/// Where to connect, and what to subscribe to.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) broker: Endpoint,
    pub(crate) knowledge: Option<Endpoint>,
    pub(crate) topics: Vec<String>,
    pub(crate) limits: Limits,
}

/// One worker's connection and subscription.
pub(crate) struct Shell<C: Connector> {
    shared: Arc<Shared>,
    kinds: Arc<Kinds>,
    connector: C,
    places: Places,
    orders: mpsc::Receiver<Order>,
    broadcasts: Option<mpsc::Sender<(String, Bytes)>>,
    lone: Option<Arc<Lone>>,
    connection: Option<C::Connection>,
    connecting: Option<Making<C::Connection>>,
    subscription: Option<C::Subscription>,
    subscribing: Option<Making<C::Subscription>>,
    /// Kept from turn to turn: a timer that is made anew each time has the runtime woken by itself.
    alarm: Option<Pin<Box<Sleep>>>,
    effects: Vec<Effect>,
    inputs: Vec<Input>,
    /// The last try to connect failed: say so once, not at every try.
    is_failing: bool,
}

/// What woke the shell.
enum Woken<C: Connector> {
    Frame(Result<Bytes, Closed>),
    Connected(Result<C::Connection, ConnectError>),
    Publication(Result<[Bytes; 3], Closed>),
    Subscribed(Result<C::Subscription, ConnectError>),
    Order(Order),
    Due,
}

impl<C: Connector> Shell<C> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        connector: C,
        places: Places,
        orders: mpsc::Receiver<Order>,
        broadcasts: Option<mpsc::Sender<(String, Bytes)>>,
        lone: Option<Arc<Lone>>,
    ) -> Self {
        let kinds = shared.lock().session.kinds().clone();
        Self {
            shared,
            kinds,
            connector,
            places,
            orders,
            broadcasts,
            lone,
            connection: None,
            connecting: None,
            subscription: None,
            subscribing: None,
            alarm: None,
            effects: Vec::new(),
            inputs: Vec::new(),
            is_failing: false,
        }
    }

    /// Until the session has ended.
    pub(crate) async fn run(mut self) -> Stop {
        let mut was_busy = false;
        loop {
            let timeout = self.gather();
            if !self.effects.is_empty() {
                if let Some(stop) = self.carry_out() {
                    return self.end(stop).await;
                }
                // Often that was all: a turn for the others comes with going to sleep.
                if !std::mem::replace(&mut was_busy, true) {
                    continue;
                }
                // One look at everything else, and a turn for the timers and sockets of this thread: there
                // may be effects for as long as there are tasks.
                let woken = tokio::select! {
                    biased;
                    woken = self.wait(Time::NEVER) => Some(woken),
                    () = tokio::task::yield_now() => None,
                };
                woken.into_iter().for_each(|woken| self.take(woken));
            } else {
                was_busy = false;
                let woken = self.wait(timeout).await;
                self.take(woken);
            }
            self.receive_burst();
            self.feed();
        }
    }

    /// Takes the effects out. If there are none, notes that this thread goes to sleep, and until when.
    fn gather(&mut self) -> Time {
        let mut guarded = self.shared.lock();
        while let Some(effect) = guarded.session.poll_effect() {
            self.effects.push(effect);
        }
        let timeout = guarded.session.poll_timeout().unwrap_or(Time::NEVER);
        guarded.sleeps_until = self.effects.is_empty().then_some(timeout);
        timeout
    }

    fn carry_out(&mut self) -> Option<Stop> {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Connect => {
                    let (connector, places) = (self.connector.clone(), self.places.clone());
                    self.connecting =
                        Some(Box::pin(
                            async move { connector.connect(&places.broker, &places.limits).await },
                        ));
                }
                Effect::Send(message) => {
                    let sent = self.connection.as_ref().map(|link| link.try_send(message.encode()));
                    if let Some(Err(error)) = sent {
                        self.lose(&error.to_string());
                    }
                }
                Effect::Disconnect { reason } => {
                    tracing::warn!(broker = %self.places.broker, %reason, "left the broker, trying again");
                    self.connection = None;
                    self.connecting = None;
                }
                Effect::Subscribe { port } => self.subscribe(port),
                Effect::Cancel { ticket, why } => {
                    tracing::debug!(slot = ticket.slot, ?why, "a handler is told to stop");
                    self.shared.cell(ticket).cancel(ticket);
                }
                Effect::Broadcast { topic, body } => {
                    let sent = self.broadcasts.as_ref().map(|hook| hook.try_send((topic, body)));
                    if let Some(Err(mpsc::error::TrySendError::Full((topic, _)))) = sent {
                        tracing::warn!(topic, "a broadcast was dropped: the hook does not keep up");
                    }
                }
                Effect::Stopped(stop) => return Some(stop),
            }
        }
        None
    }

    fn subscribe(&mut self, port: u16) {
        self.subscription = None;
        let place = match (&self.places.knowledge, &self.places.broker) {
            (Some(place), _) => place.clone(),
            (None, broker @ (Endpoint::Tcp { .. } | Endpoint::Mem { .. })) => broker.with_port(port),
            (None, Endpoint::Ipc { .. }) => {
                // Never answered, so never asked again; what is missing comes over the connection.
                return tracing::warn!(
                    "the knowledge socket of a broker on a Unix socket must be named: knowledge will come late"
                );
            }
        };
        let (connector, places) = (self.connector.clone(), self.places.clone());
        self.subscribing =
            Some(Box::pin(async move { connector.subscribe(&place, &places.topics, &places.limits).await }));
    }

    async fn wait(&mut self, timeout: Time) -> Woken<C> {
        let due = self.shared.clock.instant(timeout).map(Into::into);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(Instant::now())));
        if let Some(due) = due
            && alarm.deadline() != due
        {
            alarm.as_mut().reset(due);
        }
        tokio::select! {
            frame = receive(&mut self.connection) => Woken::Frame(frame),
            made = make(&mut self.connecting) => Woken::Connected(made),
            parts = listen(&mut self.subscription) => Woken::Publication(parts),
            made = make(&mut self.subscribing) => Woken::Subscribed(made),
            Some(order) = self.orders.recv() => Woken::Order(order),
            () = self.shared.work.notified() => Woken::Due,
            () = alarm, if due.is_some() => Woken::Due,
        }
    }

    fn take(&mut self, woken: Woken<C>) {
        match woken {
            Woken::Frame(Ok(frame)) => self.read(&frame),
            Woken::Frame(Err(closed)) => self.lose(&closed.reason),
            Woken::Connected(made) => {
                self.connecting = None;
                match made {
                    Ok(connection) => {
                        self.connection = Some(connection);
                        self.inputs.push(Input::Connected);
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut self.is_failing, true) {
                            tracing::warn!(%error, "the broker cannot be reached, trying on");
                        }
                        self.inputs.push(Input::Disconnected);
                    }
                }
            }
            Woken::Publication(Ok(parts)) => {
                self.inputs.extend(Publication::read(&parts).map(Input::Publication));
            }
            Woken::Publication(Err(closed)) => {
                tracing::debug!(reason = closed.reason, "the subscription ended");
                self.subscription = None;
                self.inputs.push(Input::Unsubscribed);
            }
            Woken::Subscribed(made) => {
                self.subscribing = None;
                match made {
                    Ok(subscription) => {
                        self.subscription = Some(subscription);
                        self.inputs.push(Input::Subscribed);
                    }
                    Err(error) => {
                        tracing::debug!(%error, "the knowledge socket cannot be reached, trying on");
                        self.inputs.push(Input::Unsubscribed);
                    }
                }
            }
            Woken::Order(Order::Drain(deadline)) => self.inputs.push(Input::Drain { deadline }),
            Woken::Order(Order::Stop) => self.inputs.push(Input::Stop),
            Woken::Due => {}
        }
    }

    /// Reads what is there already, so that no deadline is judged before it.
    fn receive_burst(&mut self) {
        for _ in 0..BURST {
            match self.connection.as_mut().map(Connection::try_recv) {
                Some(Ok(Some(frame))) => self.read(&frame),
                Some(Err(closed)) => return self.lose(&closed.reason),
                Some(Ok(None)) | None => break,
            }
        }
        if let Ok(order) = self.orders.try_recv() {
            self.take(Woken::Order(order));
        }
    }

    fn read(&mut self, frame: &Bytes) {
        let input = Input::frame(&self.kinds, frame);
        match &input {
            Input::Message(Incoming::Welcome(opening)) => {
                self.is_failing = false;
                let (epoch, broker) = (opening.epoch.0, &opening.broker);
                tracing::info!(place = %self.places.broker, broker, epoch, "joined the broker");
            }
            Input::Message(Incoming::Error { req: None, code, text, .. }) => {
                tracing::warn!(%code, text, "the broker refuses something");
            }
            Input::Message(Incoming::Ack { stale, .. }) if !stale.is_empty() => {
                tracing::debug!(count = stale.len(), "ends came too late and changed nothing");
            }
            Input::Garbled(error) => tracing::warn!(%error, "the broker sent what cannot be read"),
            _ => {}
        }
        self.inputs.push(input);
    }

    fn lose(&mut self, reason: &str) {
        if self.connection.take().is_some() {
            tracing::warn!(broker = %self.places.broker, reason, "the connection is lost, trying again");
            self.inputs.push(Input::Disconnected);
        }
    }

    /// Hands everything to the session under one lock.
    fn feed(&mut self) {
        let now = self.shared.clock.now();
        let mut guarded = self.shared.lock();
        guarded.sleeps_until = None;
        for input in self.inputs.drain(..) {
            guarded.session.handle(now, input);
        }
        if guarded.session.poll_timeout().is_some_and(|timeout| timeout <= now) {
            guarded.session.handle_timeout(now);
        }
        match &self.lone {
            Some(lone) if lone.suits(&guarded) => {
                if !std::mem::replace(&mut guarded.lone_is_called, true) {
                    lone.call();
                }
            }
            _ => self.shared.wake_executors(&mut guarded),
        }
    }

    async fn end(self, stop: Stop) -> Stop {
        self.shared.close();
        if let Some(connection) = self.connection {
            connection.close(CLOSE_GRACE).await;
        }
        if let Some(subscription) = self.subscription {
            subscription.close().await;
        }
        stop
    }
}
