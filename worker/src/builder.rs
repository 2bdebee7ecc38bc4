//! How a worker is put together.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::limits::{KIND_BYTES_MAX, NAME_BYTES_MAX, WORKER_KINDS_MAX, WORKER_SLOTS_MAX};
use ganger_common::message::publish::{BROADCAST_PREFIX, KNOWLEDGE_PREFIX, PULSE};
use ganger_otlp::Exporter;
use ganger_transport::door::ClientKeys;
use ganger_transport::zmq::ZmqConnector;
use ganger_transport::{Connector, Endpoint, Limits};

use crate::error::{HandlerError, WorkerError};
use crate::handler::{BroadcastHandler, Handler};
use crate::session::DRAIN_DEADLINE;
use crate::shell::Places;
use crate::task::{Context, Task};
use crate::worker::Worker;

/// Where workers find the broker, unless they are told.
pub const DEFAULT_BROKER: &str = "tcp://127.0.0.1:7711";

/// Puts a worker together; see [`Worker::builder`]. What is wrong with any part of it is told by
/// [`build`](Self::build).
#[derive(Clone)]
pub struct Builder {
    broker: String,
    knowledge: Option<String>,
    name: Option<String>,
    slots: Option<u32>,
    handlers: Vec<(String, Handler)>,
    on_broadcast: Option<Arc<BroadcastHandler>>,
    drain_deadline: Duration,
    limits: Limits,
    keys: Option<ClientKeys>,
    spans: Option<Exporter>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            broker: DEFAULT_BROKER.to_owned(),
            knowledge: None,
            name: None,
            slots: None,
            handlers: Vec::new(),
            on_broadcast: None,
            drain_deadline: DRAIN_DEADLINE,
            limits: Limits::default(),
            keys: None,
            spans: None,
        }
    }
}

impl Builder {
    /// The broker's endpoint for workers. Default: [`DEFAULT_BROKER`].
    #[must_use]
    pub fn connect(mut self, broker: impl Into<String>) -> Self {
        self.broker = broker.into();
        self
    }

    /// The broker's endpoint for knowledge. Default: what the broker says, on the broker's host.
    #[must_use]
    pub fn knowledge(mut self, endpoint: impl Into<String>) -> Self {
        self.knowledge = Some(endpoint.into());
        self
    }

    /// A label for people. Default: the name of the host.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many tasks run at a time. Default: one for each processor.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = Some(slots);
        self
    }

    /// Serves a kind with an asynchronous handler. It should not block: for that there is
    /// [`blocking_handler`](Self::blocking_handler). While its runs take microseconds, a task that comes alone
    /// is run where it came in, on the thread of the connection; should it block there after all, another
    /// thread takes the connection over.
    #[must_use]
    pub fn handler<F, Fut, R>(mut self, kind: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Task, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, HandlerError>> + Send + 'static,
        R: Into<Bytes>,
    {
        self.handlers.push((kind.into(), Handler::asynchronous(handler)));
        self
    }

    /// Serves a kind with a handler that may block or compute for long: it runs on a thread of its slot.
    #[must_use]
    pub fn blocking_handler<F, R>(mut self, kind: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Task, Context) -> Result<R, HandlerError> + Send + Sync + 'static,
        R: Into<Bytes>,
    {
        self.handlers.push((kind.into(), Handler::blocking(handler)));
        self
    }

    /// Calls this with topic and bytes of every broadcast, one after the other, beside the tasks. While it
    /// falls behind by more than a thousand, broadcasts are dropped.
    #[must_use]
    pub fn on_broadcast(mut self, hook: impl Fn(&str, Bytes) + Send + Sync + 'static) -> Self {
        self.on_broadcast = Some(Arc::new(hook));
        self
    }

    /// How long what runs may go on when the worker is asked to stop. Default: 30 s.
    #[must_use]
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }

    /// How much the connection holds.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Encrypts the connection, and proves to the broker who this is. For workers made with
    /// [`build`](Self::build); another transport has its own ways.
    #[must_use]
    pub fn keys(mut self, keys: ClientKeys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Exports a span for each attempt at a task that belongs to a sampled trace; what the handler calls then
    /// belongs to that span. The program that has the [`Sending`](ganger_otlp::Sending) ends it after the worker.
    #[must_use]
    pub fn spans(mut self, exporter: Exporter) -> Self {
        self.spans = Some(exporter);
        self
    }

    /// A worker over ZeroMQ.
    ///
    /// # Errors
    /// What is wrong with the parts.
    pub fn build(mut self) -> Result<Worker<ZmqConnector>, WorkerError> {
        let connector = ZmqConnector::with_keys_or_without(self.keys.take());
        self.build_with(connector)
    }

    /// A worker over any transport. Workers that share a connector share its threads.
    ///
    /// # Errors
    /// What is wrong with the parts.
    pub fn build_with<C: Connector>(self, connector: C) -> Result<Worker<C>, WorkerError> {
        let broker: Endpoint = self.broker.parse()?;
        let knowledge = self.knowledge.as_deref().map(str::parse).transpose()?;
        let host = crate::host::name();
        let name = self.name.unwrap_or_else(|| host.clone());
        if name.len() > NAME_BYTES_MAX {
            return Err(WorkerError::Name { bytes: name.len() });
        }
        let slots = self.slots.unwrap_or_else(crate::host::processors);
        if !(1..=WORKER_SLOTS_MAX).contains(&slots) {
            return Err(WorkerError::Slots { slots });
        }
        check_kinds(&self.handlers)?;
        let mut topics = vec![KNOWLEDGE_PREFIX.to_owned(), PULSE.to_owned()];
        if self.on_broadcast.is_some() {
            topics.push(BROADCAST_PREFIX.to_owned());
        }
        let places = Places { broker, knowledge, topics, limits: self.limits };
        Ok(Worker::new(
            connector,
            places,
            self.handlers,
            self.on_broadcast,
            name,
            host,
            slots,
            self.drain_deadline,
            self.spans,
        ))
    }
}

fn check_kinds(handlers: &[(String, Handler)]) -> Result<(), WorkerError> {
    if handlers.is_empty() {
        return Err(WorkerError::NoHandlers);
    }
    if handlers.len() > WORKER_KINDS_MAX {
        return Err(WorkerError::TooManyKinds { kinds: handlers.len() });
    }
    let mut seen = BTreeSet::new();
    for (kind, _) in handlers {
        if kind.is_empty() || kind.len() > KIND_BYTES_MAX {
            return Err(WorkerError::Kind { kind: kind.clone() });
        }
        if !seen.insert(kind) {
            return Err(WorkerError::Twice { kind: kind.clone() });
        }
    }
    Ok(())
}
