//! A worker, ready to run.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::{SessionToken, WorkerId};
use ganger_otlp::Exporter;
use ganger_transport::Connector;
use ganger_transport::zmq::ZmqConnector;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::builder::Builder;
use crate::engine::Engine;
use crate::error::WorkerError;
use crate::executor::{Table, execute};
use crate::handler::{BroadcastHandler, Handler};
use crate::lone::Lone;
use crate::replica::Knowledge;
use crate::session::{Config, Kinds, Session, Stop, StopReason};
use crate::shared::{Seat, Shared};
use crate::shell::{Order, Places, Shell};
use crate::spans::Tracer;
use crate::time::Clock;

/// Orders that wait to be taken; more than two make no difference.
const ORDERS_MAX: usize = 8;
/// Broadcasts that wait for the hook; more are dropped.
const BROADCASTS_MAX: usize = 1_024;
/// Handlers that were told to stop get this long to do so after the worker has left.
const LINGER: Duration = Duration::from_secs(1);

/// A worker: connects to a broker, runs its tasks with handlers, and leaves in order.
///
/// ```no_run
/// use ganger_worker::Worker;
///
/// # async fn example() -> Result<(), ganger_worker::WorkerError> {
/// let worker = Worker::builder()
///     .connect("tcp://127.0.0.1:7711")
///     .slots(4)
///     .handler("shout", |task, _ctx| async move { Ok(task.payload.to_ascii_uppercase()) })
///     .build()?;
/// let stopped = worker.run(async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await?;
/// println!("{:?}", stopped.reason);
/// # Ok(())
/// # }
/// ```
pub struct Worker<C = ZmqConnector> {
    connector: C,
    places: Places,
    table: Table,
    on_broadcast: Option<Arc<BroadcastHandler>>,
    config: Config,
    knowledge: Knowledge,
    spans: Option<Exporter>,
    orders: mpsc::Sender<Order>,
    inbox: mpsc::Receiver<Order>,
}

/// Why a worker stopped, and what was left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stopped {
    /// Why.
    pub reason: StopReason,
    /// Handlers that were told to stop and did not. Blocking ones go on until the process ends.
    pub unfinished: usize,
    /// Ends that the broker has not acknowledged. It will have those tasks run again.
    pub unreported: usize,
}

/// Tells a running worker what to do.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    orders: mpsc::Sender<Order>,
}

impl WorkerHandle {
    /// Take nothing more, finish or hand back what is held, then leave. What still runs at the deadline is
    /// interrupted; absent: the deadline that the worker was built with.
    pub fn drain(&self, deadline: Option<Duration>) {
        // Full, or nobody there: it leaves already.
        let _ = self.orders.try_send(Order::Drain(deadline));
    }

    /// Leave now. What runs is told to stop, and the broker has it run elsewhere.
    pub fn stop(&self) {
        let _ = self.orders.try_send(Order::Stop);
    }
}

impl Worker {
    /// Puts a worker together.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl<C> fmt::Debug for Worker<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<C: Connector> Worker<C> {
    #[allow(clippy::too_many_arguments)] // The builder's parts, checked; only it calls this.
    pub(crate) fn new(
        connector: C,
        places: Places,
        handlers: Vec<(String, Handler)>,
        on_broadcast: Option<Arc<BroadcastHandler>>,
        name: String,
        host: String,
        slots: u32,
        drain_deadline: Duration,
        spans: Option<Exporter>,
    ) -> Self {
        let (kinds, table): (Vec<String>, Vec<Handler>) = handlers.into_iter().unzip();
        let worker = WorkerId(Uuid::now_v7());
        let config = Config {
            worker,
            token: SessionToken(Uuid::new_v4()),
            name,
            host,
            pid: std::process::id(),
            kinds: Arc::new(Kinds::new(kinds)),
            slots,
            seed: Uuid::new_v4().as_u64_pair().0,
            drain_deadline,
            knowledge_is_set: places.knowledge.is_some(),
        };
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let knowledge = Knowledge::new();
        Self { connector, places, table: table.into(), on_broadcast, config, knowledge, spans, orders, inbox }
    }

    /// This incarnation.
    pub fn id(&self) -> WorkerId {
        self.config.worker
    }

    /// The worker's copy of the knowledge map; empty until it runs.
    pub fn knowledge(&self) -> Knowledge {
        self.knowledge.clone()
    }

    /// Tells the worker what to do while it runs.
    pub fn handle(&self) -> WorkerHandle {
        WorkerHandle { orders: self.orders.clone() }
    }

    /// Runs until `stop` is ready and everything was finished or handed back, on threads of its own.
    ///
    /// # Errors
    /// When the broker refuses the worker for good, or the system gives no thread. A broker that is away is
    /// no error: the worker waits for it.
    ///
    /// # Cancel safety
    /// Dropping the future ends the worker without a goodbye: the broker has its tasks run elsewhere.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Stopped, WorkerError> {
        let engine = Engine::for_this_machine()?;
        self.run_on(&engine, stop).await
    }

    /// Runs on threads that it shares with others.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub async fn run_on(
        self,
        engine: &Engine,
        stop: impl Future<Output = ()>,
    ) -> Result<Stopped, WorkerError> {
        let thread = engine.thread_of(&self.connector)?;
        let (clock, slots, id) = (Clock::start(), self.config.slots, self.config.worker);
        let worker = self.config.name.clone();
        let tracer = self.spans.map(|exporter| Tracer { exporter, worker });
        let session = Session::new(self.config, self.knowledge.clone(), clock.now());
        let shared = Arc::new(Shared::new(session, slots, clock, id, self.knowledge, tracer));
        let executors = (0..slots as usize).filter_map(|number| {
            let seat = Arc::new(Seat::new(shared.clone(), number));
            engine.spawn_handlers(execute(seat, self.table.clone()))
        });
        let executors: Vec<JoinHandle<()>> = executors.collect();
        let hook = self.on_broadcast.and_then(|hook| listen(engine, hook));
        let lone = engine.handlers().map(|handlers| {
            let seat = Arc::new(Seat::new(shared.clone(), slots as usize));
            Lone::new(thread.clone(), handlers.clone(), self.table.clone(), seat)
        });
        let shell = Shell::new(shared.clone(), self.connector, self.places, self.inbox, hook, lone);
        // The shell has the connector, and the engine is borrowed: the thread outlives the session.
        let connection = thread.spawn(shell.run());
        let mut running = Running { shared, connection, executors };
        tokio::select! {
            end = &mut running.connection => return running.end(end.ok()).await,
            () = stop => {}
        }
        // Full, or nobody there: it leaves already.
        let _ = self.orders.try_send(Order::Drain(None));
        let end = (&mut running.connection).await;
        running.end(end.ok()).await
    }
}

/// Calls the hook on the threads of the handlers, where it may be slow.
fn listen(engine: &Engine, hook: Arc<BroadcastHandler>) -> Option<mpsc::Sender<(String, Bytes)>> {
    let (sender, mut inbox) = mpsc::channel::<(String, Bytes)>(BROADCASTS_MAX);
    engine.spawn_handlers(async move {
        while let Some((topic, body)) = inbox.recv().await {
            hook(&topic, body);
        }
    })?;
    Some(sender)
}

/// What runs of a worker. Dropping it ends everything that can be ended.
struct Running {
    shared: Arc<Shared>,
    connection: JoinHandle<Stop>,
    executors: Vec<JoinHandle<()>>,
}

impl Running {
    async fn end(mut self, stop: Option<Stop>) -> Result<Stopped, WorkerError> {
        let stop = stop.ok_or(WorkerError::ThreadGone)?;
        let mut unfinished = 0;
        let deadline = tokio::time::Instant::now() + LINGER;
        for executor in &mut self.executors {
            if tokio::time::timeout_at(deadline, &mut *executor).await.is_err() {
                unfinished += 1;
            }
        }
        if tokio::time::timeout_at(deadline, self.shared.lone_left()).await.is_err() {
            unfinished += 1;
        }
        match stop.reason {
            StopReason::Refused { code, text } => Err(WorkerError::Refused { code, text }),
            reason => Ok(Stopped { reason, unfinished, unreported: stop.unreported }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.connection.abort();
        self.shared.close();
        self.executors.iter().for_each(JoinHandle::abort);
    }
}
