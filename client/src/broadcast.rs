//! What the broker publishes: broadcasts, and changes of knowledge.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::message::publish::BROADCAST_PREFIX;
use ganger_transport::{Closed, ConnectError, Connector, Endpoint, Limits, Subscription};

use crate::client::Client;
use crate::error::{Error, Result};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes subscriptions, over whichever transport.
pub(crate) trait Subscriber: fmt::Debug + Send + Sync {
    fn subscribe<'a>(
        &'a self,
        to: &'a Endpoint,
        topics: &'a [String],
        limits: &'a Limits,
    ) -> Boxed<'a, std::result::Result<Box<dyn Publications>, ConnectError>>;
}

/// What comes of a subscription.
pub(crate) trait Publications: Send {
    fn next(&mut self) -> Boxed<'_, std::result::Result<[Bytes; 3], Closed>>;
}

impl fmt::Debug for dyn Publications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Publications")
    }
}

/// A connector, by name only.
struct Via<C>(C);

impl<C> fmt::Debug for Via<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Via")
    }
}

/// How a client subscribes over this connector.
pub(crate) fn via<C: Connector>(connector: C) -> Box<dyn Subscriber> {
    Box::new(Via(connector))
}

impl<C: Connector> Subscriber for Via<C> {
    fn subscribe<'a>(
        &'a self,
        to: &'a Endpoint,
        topics: &'a [String],
        limits: &'a Limits,
    ) -> Boxed<'a, std::result::Result<Box<dyn Publications>, ConnectError>> {
        Box::pin(async move {
            let subscription = self.0.subscribe(to, topics, limits).await?;
            Ok(Box::new(subscription) as Box<dyn Publications>)
        })
    }
}

impl<S: Subscription> Publications for S {
    fn next(&mut self) -> Boxed<'_, std::result::Result<[Bytes; 3], Closed>> {
        Box::pin(self.recv())
    }
}

/// First pause after a subscription that broke or could not be made.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A subscription that is made anew when it breaks.
#[derive(Debug)]
pub(crate) struct Feed {
    client: Client,
    topics: Vec<String>,
    live: Option<Box<dyn Publications>>,
}

impl Feed {
    pub(crate) fn new(client: Client, topics: Vec<String>) -> Self {
        Self { client, topics, live: None }
    }

    /// Subscribes.
    pub(crate) async fn open(&mut self) -> Result<()> {
        let endpoint = endpoint(&self.client).await?;
        let limits = &self.client.config().limits;
        let subscribed = self.client.subscriber().subscribe(&endpoint, &self.topics, limits).await;
        let error = |error: ConnectError| Error::Unreachable {
            endpoint: endpoint.to_string(),
            reason: error.to_string(),
        };
        self.live = Some(subscribed.map_err(error)?);
        Ok(())
    }

    /// Subscribes, however long it takes. What is published meanwhile is missed.
    pub(crate) async fn reopen(&mut self) -> Result<()> {
        let mut pause = PAUSE;
        while self.live.is_none() {
            match self.open().await {
                Ok(()) => break,
                Err(error) if !error.is_retryable() => return Err(error),
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        Ok(())
    }

    /// The next publication; `None` when the subscription has broken and must be opened again.
    pub(crate) async fn next(&mut self) -> Option<[Bytes; 3]> {
        let next = self.live.as_mut()?.next().await;
        if next.is_err() {
            self.live = None;
        }
        next.ok()
    }
}

/// Where the broker publishes.
async fn endpoint(client: &Client) -> Result<Endpoint> {
    if let Some(endpoint) = &client.config().knowledge {
        return Ok(endpoint.clone());
    }
    let port = client.opened().await?.knowledge_port;
    match client.config().endpoint.port() {
        Some(_) if port != 0 => Ok(client.config().endpoint.with_port(port)),
        _ => {
            let text = "the broker does not tell where it publishes; name its knowledge endpoint";
            Err(Error::Protocol(text.to_owned()))
        }
    }
}

/// One broadcast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broadcast {
    /// The topic.
    pub topic: String,
    /// The bytes.
    pub body: Bytes,
}

/// Broadcasts as they come. While the connection is away, they are missed.
#[derive(Debug)]
pub struct Broadcasts {
    feed: Feed,
}

impl Broadcasts {
    pub(crate) async fn open(client: Client, prefix: &str) -> Result<Self> {
        let mut feed = Feed::new(client, vec![format!("{BROADCAST_PREFIX}{prefix}")]);
        feed.open().await?;
        Ok(Self { feed })
    }

    /// The next broadcast.
    ///
    /// # Errors
    /// When the client is over.
    ///
    /// # Cancel safety
    /// Nothing that came is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Broadcast> {
        loop {
            let Some([topic, _, body]) = self.feed.next().await else {
                self.feed.reopen().await?;
                continue;
            };
            let topic =
                std::str::from_utf8(&topic).ok().and_then(|topic| topic.strip_prefix(BROADCAST_PREFIX));
            if let Some(topic) = topic {
                return Ok(Broadcast { topic: topic.to_owned(), body });
            }
        }
    }
}
