//! A broker on a thread of its own.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use ganger_common::Epoch;
use ganger_common::limits::STORED_BYTES_MIN;
use ganger_common::message::Durability;
use ganger_http::{Gateway, Tls};
use ganger_otlp::{Exporter, Sending};
use ganger_transport::mem::MemServer;
use ganger_transport::zmq::{ZmqPublisher, ZmqServer, let_out};
use ganger_transport::{Endpoint, Joined, Publisher, Server, raise_nofile_limit};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::config::Config;
use crate::entrance::Posts;
use crate::error::BrokerError;
use crate::gateway::{Aside, Porch};
use crate::journal::MemoryJournal;
use crate::keys::{KeyRing, Port};
use crate::recovery::recover;
use crate::seat::{self, Seat};
use crate::server::{self, Sockets, Stop};
use crate::shell::{LINGER, Reporter, Shell, Spans};
use crate::writer::Writer;

/// What a collector calls this program.
const SERVICE: &str = "ganger-broker";

/// Starts brokers.
#[derive(Debug)]
pub struct Broker;

/// Where a broker listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoints {
    /// For clients.
    pub clients: Endpoint,
    /// For workers.
    pub workers: Endpoint,
    /// For subscribers.
    pub knowledge: Endpoint,
    /// For HTTP, if it is served.
    pub http: Option<SocketAddr>,
}

/// A broker that runs. Dropping it stops it at once, without waiting.
#[derive(Debug)]
pub struct RunningBroker {
    endpoints: Endpoints,
    keys: Option<KeyRing>,
    tls: Option<Tls>,
    stop: mpsc::Sender<Stop>,
    thread: Option<JoinHandle<Result<(), BrokerError>>>,
    gateway: Option<Gateway>,
    /// Sends the spans of tasks.
    sending: Option<Sending>,
}

impl Broker {
    /// Starts a broker on ZeroMQ sockets; returns once it listens.
    ///
    /// # Errors
    /// When a setting is not allowed, an endpoint is in use, or the system refuses.
    pub fn start(config: Config) -> Result<RunningBroker, BrokerError> {
        config.check()?;
        let keys = config.entrance.keys()?;
        if keys.is_none()
            && let Some((name, endpoint)) = config.exposed()
        {
            tracing::warn!(
                "INSECURE: other machines can reach {name} at {endpoint}; nothing is encrypted, and whoever \
                 connects may submit, work and read everything"
            );
        }
        if keys.is_none()
            && let Some(address) = config.http.filter(|address| !address.ip().is_loopback())
        {
            tracing::warn!(
                "INSECURE: other machines can reach HTTP at {address}; whoever does may do everything"
            );
        }
        raise_nofile_limit();
        let io = |what| move |source| BrokerError::Io { what, source };
        let collector = config.otlp.clone();
        let sending = collector.map(|collector| Exporter::start(collector, SERVICE)).transpose();
        let sending = sending.map_err(io("cannot start the export of spans"))?;
        let exporter = sending.as_ref().map(Sending::exporter).cloned();
        let posts = Posts::put_up(&config, keys.clone())?;
        let (porch, aside) = Porch::open(&config, keys.as_ref())?.unzip();
        let tls = porch.as_ref().and_then(Porch::tls);
        let (stop, stopped) = mpsc::channel(4);
        let (listening, is_listening) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(io("cannot start the broker's loop"))?;
        let thread = std::thread::Builder::new()
            .name("ganger-broker".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let ran =
                        seat::run(|seat| run(config, posts, aside, exporter, seat, listening, stopped)).await;
                    let_out(LINGER).await;
                    ran.map_err(io("cannot start the loop's second thread"))?
                })
            })
            .map_err(io("cannot start the broker's thread"))?;
        let endpoints = is_listening.recv().map_err(|_| BrokerError::Io {
            what: "the broker's thread ended",
            source: std::io::Error::other("no answer"),
        });
        match endpoints {
            Ok(endpoints) => {
                let thread = Some(thread);
                let broker = RunningBroker { endpoints, keys, tls, stop, thread, gateway: None, sending };
                broker.serving(porch)
            }
            // It did not come so far.
            Err(silence) => match thread.join() {
                Ok(Err(error)) => Err(error),
                Ok(Ok(())) => Err(silence),
                Err(panic) => std::panic::resume_unwind(panic),
            },
        }
    }
}

impl RunningBroker {
    /// Lets in whoever comes over HTTP. If that fails the broker ends, as any that was dropped.
    fn serving(mut self, porch: Option<Porch>) -> Result<Self, BrokerError> {
        self.gateway = porch.map(Porch::start).transpose()?;
        self.endpoints.http = self.gateway.as_ref().map(Gateway::address);
        Ok(self)
    }

    /// Where it listens, with the ports that the system chose.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The keys that may connect; none, when everybody may.
    pub fn keys(&self) -> Option<&KeyRing> {
        self.keys.as_ref()
    }

    /// The certificate of its HTTP side, if that is encrypted.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Asks it to end. A second request while one waits to be seen changes nothing.
    pub fn stop(&self, how: Stop) {
        let _ = self.stop.try_send(how);
    }

    /// A handle that asks it to end.
    pub fn stopper(&self) -> mpsc::Sender<Stop> {
        self.stop.clone()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// What ended it.
    pub fn join(mut self) -> Result<(), BrokerError> {
        let ended = self.thread.take().map(JoinHandle::join);
        // Behind the loop, so that requests that wait for what a drain lets finish have their answers.
        self.gateway.take().into_iter().for_each(Gateway::stop);
        // Nobody waits for the spans of what the drain let finish.
        self.sending.take().into_iter().for_each(Sending::finish);
        match ended {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for RunningBroker {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop(Stop::Now);
        }
    }
}

type Listening = std::sync::mpsc::Sender<Endpoints>;

async fn run(
    config: Config,
    posts: Posts,
    aside: Option<Aside>,
    exporter: Option<Exporter>,
    seat: Seat,
    listening: Listening,
    stop: mpsc::Receiver<Stop>,
) -> Result<(), BrokerError> {
    match config.durability {
        Durability::Memory => run_in_memory(config, &posts, aside, exporter, seat, &listening, stop).await,
        Durability::Journal => run_on_disk(config, &posts, aside, exporter, seat, &listening, stop).await,
    }
}

async fn run_in_memory(
    config: Config,
    posts: &Posts,
    aside: Option<Aside>,
    exporter: Option<Exporter>,
    seat: Seat,
    listening: &Listening,
    stop: mpsc::Receiver<Stop>,
) -> Result<(), BrokerError> {
    let (server, feed) = aside.map(|aside| (aside.server, aside.feed)).unzip();
    let (sockets, endpoints) = bind(&config, posts, server).await?;
    let settings = ganger_scheduler::Config {
        knowledge_port: endpoints.knowledge.port().unwrap_or(0),
        ..scheduler_config(&config)
    };
    let _ = listening.send(endpoints);
    let mut shell = Shell::new(settings, sockets, MemoryJournal::default());
    (shell.guard, shell.news, shell.spans) = (posts.guard(), Reporter::to(feed), Spans::to(exporter));
    server::go_on(shell, None, seat, config.drain_deadline, stop).await
}

/// Everything is read before anybody can connect: whoever comes is served at once, and a directory that is
/// not sound is refused before anybody relies on it.
async fn run_on_disk(
    config: Config,
    posts: &Posts,
    aside: Option<Aside>,
    exporter: Option<Exporter>,
    seat: Seat,
    listening: &Listening,
    stop: mpsc::Receiver<Stop>,
) -> Result<(), BrokerError> {
    let clock = Clock::start();
    let recovered = recover(&config, scheduler_config(&config), clock.now())?;
    let (server, feed) = aside.map(|aside| (aside.server, aside.feed)).unzip();
    let (sockets, endpoints) = bind(&config, posts, server).await?;
    let (scheduler, journal) = recovered.begin(clock.now(), endpoints.knowledge.port().unwrap_or(0));
    let writer = Writer::start(journal)?;
    let progress = writer.progress();
    let _ = listening.send(endpoints);
    let mut guard = posts.guard();
    guard.recovered(&scheduler);
    let mut shell = Shell::around(clock, scheduler, sockets, writer);
    (shell.guard, shell.news, shell.spans) = (guard, Reporter::to(feed), Spans::to(exporter));
    server::go_on(shell, Some(progress), seat, config.drain_deadline, stop).await
}

async fn bind(
    config: &Config,
    posts: &Posts,
    aside: Option<MemServer>,
) -> Result<(Sockets<Joined<ZmqServer>, ZmqPublisher>, Endpoints), BrokerError> {
    let failed = |flag| move |source| BrokerError::Bind { flag, source };
    let clients = posts.server(&config.clients, Port::Clients).await.map_err(failed("--clients"))?;
    let workers = posts.server(&config.workers, Port::Workers).await.map_err(failed("--workers"))?;
    let knowledge = posts.publisher(&config.knowledge).await.map_err(failed("--knowledge"))?;
    let endpoints = Endpoints {
        clients: clients.endpoint().clone(),
        workers: workers.endpoint().clone(),
        knowledge: knowledge.endpoint().clone(),
        http: None,
    };
    let (clients, workers) = (Joined::new(clients, aside), Joined::new(workers, None));
    Ok((Sockets { clients, workers, knowledge }, endpoints))
}

/// Fills in what only the start knows.
///
/// A broker that begins with nothing takes the time as its epoch: leases of an earlier process, of which it
/// knows nothing, must not look like its own.
fn scheduler_config(config: &Config) -> ganger_scheduler::Config {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (_, random) = uuid::Uuid::new_v4().as_u64_pair();
    ganger_scheduler::Config {
        epoch: Epoch(since_1970.as_millis() as u64),
        durability: config.durability,
        stored_min: STORED_BYTES_MIN,
        seed: random,
        ..config.scheduler.clone()
    }
}
