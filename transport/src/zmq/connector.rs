//! How connections and subscriptions come about.

use std::future::Future;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use zeromq::{DealerSocket, Socket, SocketOptions, SubSocket, ZmqError};

use super::connection::{self, Link, ZmqConnection};
use super::io::IoThread;
use super::subscription::{self, Feed, ZmqSubscription};
use super::tunnels::{Dug, Tunnels};
use crate::door::ClientKeys;
use crate::endpoint::Endpoint;
use crate::error::ConnectError;
use crate::limits::Limits;
use crate::traits::Connector;

/// Makes connections over TCP and Unix sockets, all on one thread. The thread starts when it is first asked
/// for, and ends when the connector, its clones and its connections are gone.
#[derive(Clone, Debug, Default)]
pub struct ZmqConnector {
    io: Arc<Mutex<Option<Arc<IoThread>>>>,
    /// What goes to brokers with keys goes through tunnels.
    tunnels: Option<Arc<Tunnels>>,
}

impl ZmqConnector {
    /// Makes connections over TCP that are encrypted, to a broker that has the expected key. A Unix socket is
    /// private as it is.
    pub fn with_keys(keys: ClientKeys) -> Self {
        Self { io: Arc::default(), tunnels: Some(Arc::new(Tunnels::new(keys))) }
    }

    /// With keys if there are any.
    pub fn with_keys_or_without(keys: Option<ClientKeys>) -> Self {
        keys.map_or_else(Self::default, Self::with_keys)
    }

    fn io(&self, to: &Endpoint) -> Result<Arc<IoThread>, ConnectError> {
        if matches!(to, Endpoint::Mem { .. }) {
            return Err(ConnectError::Unsupported { endpoint: to.clone() });
        }
        self.started()
            .map_err(|error| ConnectError::Failed { endpoint: to.clone(), reason: error.to_string() })
    }

    fn started(&self) -> io::Result<Arc<IoThread>> {
        let mut io = self.io.lock();
        if let Some(io) = &*io {
            return Ok(io.clone());
        }
        let started = Arc::new(IoThread::start()?);
        *io = Some(started.clone());
        Ok(started)
    }

    /// A tunnel to there, if there has to be one.
    async fn tunnel(
        &self,
        io: &Arc<IoThread>,
        to: &Endpoint,
        subscribes: bool,
        limits: &Limits,
    ) -> Result<Option<Dug>, ConnectError> {
        match (&self.tunnels, to) {
            (Some(tunnels), Endpoint::Tcp { host, port }) => {
                tunnels.dig(io.clone(), to, host, *port, subscribes, limits).await.map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl Connector for ZmqConnector {
    type Connection = ZmqConnection;
    type Subscription = ZmqSubscription;

    fn thread(&self) -> io::Result<Option<Arc<IoThread>>> {
        self.started().map(Some)
    }

    async fn connect(&self, to: &Endpoint, limits: &Limits) -> Result<ZmqConnection, ConnectError> {
        let io = self.io(to)?;
        let ends = connection::Ends::new(limits);
        let link = Link::new(ends.clone(), limits);
        let tunnel = self.tunnel(&io, to, false, limits).await?;
        let opened = open_dealer(Target::of(to, tunnel.as_ref()), limits.clone());
        let task = establish(&io, to, limits, opened, |(socket, monitor)| link.run(socket, monitor)).await?;
        Ok(ZmqConnection::new(ends, task, io, tunnel))
    }

    async fn subscribe(
        &self,
        to: &Endpoint,
        topics: &[String],
        limits: &Limits,
    ) -> Result<ZmqSubscription, ConnectError> {
        let io = self.io(to)?;
        let ends = subscription::Ends::new(limits);
        let feed = Feed::new(ends.clone(), limits);
        let tunnel = self.tunnel(&io, to, true, limits).await?;
        let opened = open_sub(Target::of(to, tunnel.as_ref()), topics.to_vec(), limits.clone());
        let task = establish(&io, to, limits, opened, |(socket, monitor)| feed.run(socket, monitor)).await?;
        Ok(ZmqSubscription::new(ends, task, io, tunnel))
    }
}

type Monitor = futures_channel::mpsc::Receiver<zeromq::SocketEvent>;

/// Where the library is to connect to.
enum Target {
    /// Where somebody may listen.
    Somewhere(Endpoint),
    /// The near end of a tunnel, which waits for the library and nobody else.
    Tunnel(String),
}

impl Target {
    fn of(to: &Endpoint, tunnel: Option<&Dug>) -> Self {
        match tunnel {
            Some(tunnel) => Self::Tunnel(tunnel.address().to_owned()),
            None => Self::Somewhere(to.clone()),
        }
    }

    async fn reach(self) -> io::Result<String> {
        match self {
            Self::Somewhere(to) => reach(&to).await,
            Self::Tunnel(address) => Ok(address),
        }
    }
}

async fn open_dealer(to: Target, limits: Limits) -> Result<(DealerSocket, Monitor), ZmqError> {
    let address = to.reach().await?;
    let mut socket = DealerSocket::with_options(options(&limits));
    let monitor = socket.monitor();
    socket.connect(&address).await?;
    Ok((socket, monitor))
}

async fn open_sub(to: Target, topics: Vec<String>, limits: Limits) -> Result<(SubSocket, Monitor), ZmqError> {
    let address = to.reach().await?;
    let mut socket = SubSocket::with_options(options(&limits));
    let monitor = socket.monitor();
    socket.connect(&address).await?;
    for topic in &topics {
        socket.subscribe(topic).await?;
    }
    Ok((socket, monitor))
}

fn options(limits: &Limits) -> SocketOptions {
    let mut options = SocketOptions::default();
    options.connect_timeout(limits.connect_timeout);
    options
}

/// Finds out whether anybody listens there, and under which address.
///
/// When nobody does, the library tries again with pauses that double, and tells nobody: for seconds it would
/// not notice that a broker has come back. So it is only asked to connect where somebody was heard, and
/// trying again is left to the owner, who knows how long to wait.
async fn reach(to: &Endpoint) -> io::Result<String> {
    match to {
        Endpoint::Tcp { host, port } => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            for address in tokio::net::lookup_host((host.as_str(), *port)).await? {
                match TcpStream::connect(address).await {
                    Ok(_) => return Ok(format!("tcp://{address}")),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
        Endpoint::Ipc { path } => UnixStream::connect(path).await.map(|_| to.to_string()),
        Endpoint::Mem { .. } => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Opens a socket on the thread and, once it is open, leaves it there to be run. Gives up at the time-out,
/// and when the caller does.
async fn establish<S, R>(
    io: &IoThread,
    to: &Endpoint,
    limits: &Limits,
    opened: impl Future<Output = Result<S, ZmqError>> + Send + 'static,
    run: impl FnOnce(S) -> R + Send + 'static,
) -> Result<tokio::task::JoinHandle<()>, ConnectError>
where
    S: Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let (told, hears) = oneshot::channel();
    let timeout = limits.connect_timeout;
    let task = io.spawn(async move {
        let result = match tokio::time::timeout(timeout, opened).await {
            Ok(result) => result.map_err(Some),
            Err(_) => Err(None),
        };
        match result {
            Ok(socket) => {
                if told.send(Ok(())).is_ok() {
                    run(socket).await;
                }
            }
            // Nobody listens when the caller has given up meanwhile.
            Err(error) => drop(told.send(Err(error))),
        }
    });
    let mut guard = AbortOnDrop(Some(task.abort_handle()));
    let failed = |reason| ConnectError::Failed { endpoint: to.clone(), reason };
    match hears.await {
        Ok(Ok(())) => {
            guard.0 = None;
            Ok(task)
        }
        Ok(Err(None | Some(ZmqError::ConnectTimeout(_)))) => {
            Err(ConnectError::Timeout { endpoint: to.clone(), timeout })
        }
        Ok(Err(Some(ZmqError::Network(error)))) => Err(failed(error.to_string())),
        Ok(Err(Some(error))) => Err(failed(error.to_string())),
        Err(_) => Err(failed("the socket's thread ended".to_owned())),
    }
}

/// Whoever stops waiting for a connection does not leave one behind.
struct AbortOnDrop(Option<tokio::task::AbortHandle>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
