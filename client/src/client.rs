//! The client: where to connect to, what to hand in, when to leave.

use std::sync::Arc;
use std::time::Duration;

use ganger_common::limits::BATCH_ITEMS_MAX;
use ganger_common::{ClientId, SessionToken, TaskId};
use ganger_transport::door::ClientKeys;
use ganger_transport::zmq::ZmqConnector;
use ganger_transport::{Connector, Endpoint, IoThread, Limits};
use uuid::Uuid;

use crate::broadcast::{self, Broadcasts, Subscriber};
use crate::desk::{Desk, LinkState};
use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::events::EventStream;
use crate::handle::TaskHandle;
use crate::knowledge::Knowledge;
use crate::pipe::{self, PipeConfig, PipeReceiver, PipeSender};
use crate::session::{self, Broker, Session, SessionConfig, Submission};
use crate::task::NewTask;

/// Where a broker listens for clients unless told otherwise.
pub const DEFAULT_ENDPOINT: &str = "tcp://127.0.0.1:7710";

/// What a client is made with.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where the broker listens for clients.
    pub endpoint: Endpoint,
    /// Where it publishes. Default: on the port that it tells, on the same host.
    pub knowledge: Option<Endpoint>,
    /// A label for people.
    pub name: String,
    /// How long [`Client::connect`] waits for a broker. Afterwards a client waits for its broker as long as
    /// it takes.
    pub connect_timeout: Duration,
    /// Most tasks handed in and not acknowledged; `submit` waits beyond that.
    pub window_tasks: usize,
    /// Most bytes of such tasks.
    pub window_bytes: usize,
    /// Keep payloads until the outcome, to hand tasks in again that a broker without a journal has lost.
    pub resubmit_lost: bool,
    /// Wait while the broker has no room. Without, submitting fails then, with a refusal that says when it is
    /// worth another try: for those who pass that on.
    pub patient: bool,
    /// Limits of the connection.
    pub limits: Limits,
    /// Encrypts the connection, and proves to the broker who this is.
    pub keys: Option<ClientKeys>,
}

impl ClientConfig {
    /// The defaults, for a broker at this place.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            knowledge: None,
            name: format!("client-{}", std::process::id()),
            connect_timeout: Duration::from_secs(10),
            window_tasks: session::WINDOW_TASKS,
            window_bytes: session::WINDOW_BYTES,
            resubmit_lost: true,
            patient: true,
            limits: Limits::default(),
            keys: None,
        }
    }

    fn session(&self) -> SessionConfig {
        let token = SessionToken(Uuid::new_v4());
        let seed = Uuid::new_v4().as_u64_pair().0;
        SessionConfig {
            name: self.name.clone(),
            window_tasks: self.window_tasks,
            window_bytes: self.window_bytes,
            resubmit_lost: self.resubmit_lost,
            patient: self.patient,
            ..SessionConfig::new(ClientId(Uuid::now_v7()), token, seed)
        }
    }
}

/// A client of one broker. Clones are the same client; when the last one goes, it says goodbye.
///
/// It has a thread of its own for session and socket, so it works on any runtime, and a caller that blocks
/// does not keep it from saying that it lives.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    desk: Arc<Desk>,
    config: ClientConfig,
    subscriber: Box<dyn Subscriber>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.desk.close();
    }
}

impl Client {
    /// Connects to a broker over ZeroMQ and waits for its welcome.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when there is no welcome within [`ClientConfig::connect_timeout`];
    /// [`Error::Ended`] when the broker refuses this client.
    pub async fn connect(config: ClientConfig) -> Result<Self> {
        let connector = ZmqConnector::with_keys_or_without(config.keys.clone());
        Self::connect_with(connector, config).await
    }

    /// Connects to a broker over any transport and waits for its welcome.
    ///
    /// # Errors
    /// The same as for [`Client::connect`].
    pub async fn connect_with<C: Connector>(connector: C, config: ClientConfig) -> Result<Self> {
        let timeout = config.connect_timeout;
        let client = Self::start(connector, config)?;
        match tokio::time::timeout(timeout, client.opened()).await {
            Ok(opened) => opened.map(|_| client),
            Err(_) => Err(client.unreachable()),
        }
    }

    /// Begins to connect to a broker, and returns at once: what is handed in goes out when there is one.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<C: Connector>(connector: C, config: ClientConfig) -> Result<Self> {
        let desk = Arc::new(Desk::new(config.window_tasks, config.window_bytes));
        let session = Session::new(config.session(), std::time::Instant::now());
        let (endpoint, limits) = (config.endpoint.clone(), config.limits.clone());
        let subscriber = broadcast::via(connector.clone());
        let thread = thread_of(&connector).map_err(|error| Error::Unreachable {
            endpoint: config.endpoint.to_string(),
            reason: format!("cannot start a thread: {error}"),
        })?;
        let driver = Driver::new(connector, endpoint, limits, session, desk.clone());
        // The thread is there for as long as somebody has it.
        let kept = thread.clone();
        thread.spawn(async move {
            driver.run().await;
            drop(kept);
        });
        Ok(Self { inner: Arc::new(Inner { desk, config, subscriber }) })
    }

    /// Waits until a session is open, and tells with which broker.
    ///
    /// # Errors
    /// When the client is over.
    pub async fn opened(&self) -> Result<Broker> {
        let mut state = self.desk().state.subscribe();
        let settled = |state: &LinkState| !matches!(state, LinkState::Down { .. });
        match state.wait_for(settled).await.as_deref() {
            Ok(LinkState::Open(broker)) => Ok((**broker).clone()),
            Ok(LinkState::Ended(error)) => Err(error.clone()),
            Ok(LinkState::Down { .. }) | Err(_) => Err(Error::Closed),
        }
    }

    /// Where the connection is now.
    pub fn state(&self) -> LinkState {
        self.desk().state.borrow().clone()
    }

    /// What to tell somebody who has waited for a broker in vain.
    pub fn unreachable(&self) -> Error {
        let reason = match self.state() {
            LinkState::Down { reason: Some(reason) } => reason,
            _ => "no connection".to_owned(),
        };
        Error::Unreachable { endpoint: self.inner.config.endpoint.to_string(), reason }
    }

    /// Submits a task and waits until the broker has taken it. The handle then waits for the outcome.
    ///
    /// # Errors
    /// When the broker refuses the task, or the client is over. A broker without room is no error: this
    /// waits, unless the client is not [`patient`](ClientConfig::patient).
    pub async fn submit(&self, task: NewTask) -> Result<TaskHandle> {
        let mut handle = self.send(task).await?;
        handle.accepted().await?;
        Ok(handle)
    }

    /// Hands a task in as soon as the window has room, without waiting for the broker's word on it.
    ///
    /// # Errors
    /// When the client is over. What the broker says, the handle tells.
    ///
    /// # Cancel safety
    /// The task was not handed in when the future is dropped.
    pub async fn send(&self, task: NewTask) -> Result<TaskHandle> {
        let desk = self.desk();
        desk.enter(1, desk.units(task.payload.len())).await?;
        let id = task.id.unwrap_or_else(|| desk.ids.next());
        let slot = desk.submit(|token| Submission { token, id, task })?;
        Ok(TaskHandle::new(desk.clone(), slot, id))
    }

    /// Submits tasks and waits until the broker has taken all of them.
    ///
    /// # Errors
    /// The first refusal. The tasks before it, and some after it, were taken.
    pub async fn submit_many(&self, tasks: impl IntoIterator<Item = NewTask>) -> Result<Vec<TaskHandle>> {
        let mut handles = Vec::new();
        for task in tasks {
            handles.push(self.send(task).await?);
        }
        for handle in &mut handles {
            handle.accepted().await?;
        }
        Ok(handles)
    }

    /// Hands in a batch of any size, and returns where its outcomes come out. For batches that are too
    /// large to be held as a whole, make a [`pipe`](Self::pipe).
    ///
    /// # Errors
    /// When the client is over.
    pub async fn submit_batch(&self, tasks: Vec<NewTask>) -> Result<PipeReceiver> {
        let (mut sender, receiver) = self.pipe(PipeConfig { in_flight: tasks.len(), accepted: false });
        sender.send_many(tasks).await?;
        Ok(receiver)
    }

    /// A pipe into which tasks go and out of which outcomes come, in bulk and in bounded space.
    pub fn pipe(&self, config: PipeConfig) -> (PipeSender, PipeReceiver) {
        pipe::pipe(self.desk(), config)
    }

    /// Waits for tasks that were submitted some time, by whomever.
    ///
    /// # Errors
    /// When the client is over. That a task is not known, its handle tells.
    pub fn watch(&self, tasks: impl IntoIterator<Item = TaskId>) -> Result<Vec<TaskHandle>> {
        let desk = self.desk();
        let watch = |id| Ok(TaskHandle::new(desk.clone(), desk.watch(id, false)?, id));
        tasks.into_iter().map(watch).collect()
    }

    /// Follows a task: its progress, its partial results, its end.
    ///
    /// # Errors
    /// When the client is over.
    pub fn events(&self, task: TaskId) -> Result<EventStream> {
        EventStream::open(self.desk(), task)
    }

    /// The knowledge map.
    pub fn knowledge(&self) -> Knowledge {
        Knowledge::new(self.clone())
    }

    /// Broadcasts whose topic begins with this, from now on.
    ///
    /// # Errors
    /// When the broker does not tell where it publishes, or cannot be reached there.
    pub async fn subscribe(&self, topic_prefix: &str) -> Result<Broadcasts> {
        Broadcasts::open(self.clone(), topic_prefix).await
    }

    /// A task id that nobody else has.
    pub fn new_id(&self) -> TaskId {
        self.desk().ids.next()
    }

    /// Says goodbye, and waits until that has left. What waits for something is told that the client is
    /// closed; tasks that were acknowledged go on.
    pub async fn close(self) {
        let desk = self.desk().clone();
        desk.close();
        desk.gone().await;
    }

    pub(crate) fn desk(&self) -> &Arc<Desk> {
        &self.inner.desk
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    pub(crate) fn subscriber(&self) -> &dyn Subscriber {
        &*self.inner.subscriber
    }
}

/// Most ids in one request; more are asked for in several.
pub(crate) const IDS_MAX: usize = BATCH_ITEMS_MAX;

/// The session runs where its sockets are, so that no thread is woken between the two; or on a thread of its
/// own, when there are no sockets.
fn thread_of<C: Connector>(connector: &C) -> std::io::Result<Arc<IoThread>> {
    match connector.thread()? {
        Some(thread) => Ok(thread),
        None => IoThread::start_as("ganger-client").map(Arc::new),
    }
}
