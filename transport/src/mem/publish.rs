//! Publications in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::MemNet;
use crate::endpoint::Endpoint;
use crate::error::{Closed, PublishError};
use crate::limits::{Limits, MESSAGE_COST};
use crate::mailbox::Feed;
use crate::traits::{Publisher, Subscription};

/// Subscribers by their topics.
#[derive(Debug, Default)]
pub(super) struct Topics {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    subscribers: Vec<(Vec<String>, Feed)>,
    lose: u64,
}

impl Topics {
    pub(super) fn subscribe(&self, topics: &[String], limits: &Limits) -> MemSubscription {
        let inbox = Feed::new(limits.feed_messages, limits.feed_bytes);
        self.state.lock().subscribers.push((topics.to_vec(), inbox.clone()));
        MemSubscription { inbox }
    }

    pub(super) fn lose(&self, count: u64) {
        self.state.lock().lose = count;
    }

    /// A subscriber that is behind loses publications, as with ZeroMQ.
    fn publish(&self, parts: &[Bytes; 3]) {
        let mut state = self.state.lock();
        if state.lose > 0 {
            state.lose -= 1;
            return;
        }
        state.subscribers.retain(|(_, inbox)| !inbox.is_closed());
        let cost = parts.iter().map(Bytes::len).sum::<usize>() + MESSAGE_COST;
        for (topics, inbox) in &state.subscribers {
            if topics.iter().any(|topic| parts[0].starts_with(topic.as_bytes())) {
                let _ = inbox.try_push(parts.clone(), cost);
            }
        }
    }

    fn close(&self) {
        self.state.lock().subscribers.drain(..).for_each(|(_, inbox)| inbox.close());
    }
}

/// A publisher in memory.
#[derive(Debug)]
pub struct MemPublisher {
    endpoint: Endpoint,
    topics: Arc<Topics>,
    net: MemNet,
}

impl MemPublisher {
    pub(super) fn new(endpoint: Endpoint, topics: Arc<Topics>, net: MemNet) -> Self {
        Self { endpoint, topics, net }
    }
}

impl Publisher for MemPublisher {
    fn publish(&self, parts: [Bytes; 3]) -> Result<(), PublishError> {
        self.topics.publish(&parts);
        Ok(())
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn shutdown(self, _grace: Duration) {}
}

impl Drop for MemPublisher {
    fn drop(&mut self) {
        if let Endpoint::Mem { name } = &self.endpoint {
            self.net.state.lock().publishers.remove(name);
        }
        self.topics.close();
    }
}

/// A subscription in memory.
#[derive(Debug)]
pub struct MemSubscription {
    inbox: Feed,
}

impl Subscription for MemSubscription {
    async fn recv(&mut self) -> Result<[Bytes; 3], Closed> {
        let mut received = None;
        self.inbox.recv(1, |parts| received = Some(parts)).await;
        received.ok_or_else(|| Closed::because("the publisher is gone"))
    }

    async fn close(self) {}
}

impl Drop for MemSubscription {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
