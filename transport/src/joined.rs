//! One server over two: the sockets, and a side door for whoever is in the same process.

use std::time::Duration;

use bytes::Bytes;
use ganger_common::ConnId;

use crate::endpoint::Endpoint;
use crate::error::SendError;
use crate::event::{DownReason, ServerEvent};
use crate::mem::MemServer;
use crate::traits::Server;

/// Set in the number of every connection that came through the side door, so that the two never mix theirs up.
/// Nobody counts connections that far.
const ASIDE: u64 = 1 << 63;

/// A server that listens at a second place in its own process, or does not. To its owner both are one.
#[derive(Debug)]
pub struct Joined<S> {
    main: S,
    aside: Option<MemServer>,
    /// Whose events come first in the next turn, so that neither waits for more than one turn of the other.
    aside_first: bool,
    from_aside: Vec<ServerEvent>,
}

impl<S: Server> Joined<S> {
    /// Both as one. Where it listens is where the first listens.
    pub fn new(main: S, aside: Option<MemServer>) -> Self {
        Self { main, aside, aside_first: false, from_aside: Vec::new() }
    }
}

impl<S: Server> Server for Joined<S> {
    async fn recv(&mut self, into: &mut Vec<ServerEvent>, max: usize) -> usize {
        let Some(aside) = &mut self.aside else { return self.main.recv(into, max).await };
        self.aside_first = !self.aside_first;
        let from_aside = &mut self.from_aside;
        // Neither loses an event when the other was quicker: that is what their traits promise.
        let count = match self.aside_first {
            true => tokio::select! {
                biased;
                count = aside.recv(from_aside, max) => count,
                count = self.main.recv(into, max) => return count,
            },
            false => tokio::select! {
                biased;
                count = self.main.recv(into, max) => return count,
                count = aside.recv(from_aside, max) => count,
            },
        };
        into.extend(self.from_aside.drain(..).map(from_aside_of));
        count
    }

    fn try_send(&self, to: ConnId, body: Bytes) -> Result<(), SendError> {
        match (inner(to), &self.aside) {
            (Some(conn), Some(aside)) => aside.try_send(conn, body),
            (Some(_), None) => Err(SendError::Gone(body)),
            (None, _) => self.main.try_send(to, body),
        }
    }

    fn kick(&self, conn: ConnId, reason: DownReason) {
        match (inner(conn), &self.aside) {
            (Some(conn), Some(aside)) => aside.kick(conn, reason),
            (Some(_), None) => {}
            (None, _) => self.main.kick(conn, reason),
        }
    }

    fn endpoint(&self) -> &Endpoint {
        self.main.endpoint()
    }

    async fn shutdown(self, grace: Duration) {
        self.main.shutdown(grace).await;
        // In memory everything has left already.
        drop(self.aside);
    }
}

/// The number at the side door of a connection that came through it.
fn inner(conn: ConnId) -> Option<ConnId> {
    (conn.0 & ASIDE != 0).then_some(ConnId(conn.0 & !ASIDE))
}

fn from_aside_of(event: ServerEvent) -> ServerEvent {
    let outer = |conn: ConnId| ConnId(conn.0 | ASIDE);
    match event {
        ServerEvent::Up { conn, peer } => ServerEvent::Up { conn: outer(conn), peer },
        ServerEvent::Message { conn, body } => ServerEvent::Message { conn: outer(conn), body },
        ServerEvent::Malformed { conn, parts, bytes, reason } => {
            ServerEvent::Malformed { conn: outer(conn), parts, bytes, reason }
        }
        ServerEvent::Down { conn, reason } => ServerEvent::Down { conn: outer(conn), reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Auth, PeerMeta};
    use crate::limits::Limits;
    use crate::mem::{MemConnection, MemNet};
    use crate::traits::{Connection, Connector};

    /// Two servers in memory, each of which counts its connections from one.
    async fn pair() -> (Joined<MemServer>, MemConnection, MemConnection) {
        let (limits, endpoint) = (Limits::default(), "mem://clients".parse::<Endpoint>().unwrap());
        let (main, aside) = (MemNet::new(), MemNet::new());
        let server = |net: &MemNet| net.bind(&endpoint, &limits).unwrap();
        let joined = Joined::new(server(&main), Some(server(&aside)));
        let known = PeerMeta { addr: None, auth: Auth::Local };
        let at_main = main.connector().connect(&endpoint, &limits).await.unwrap();
        let at_aside = aside.connector().known_as(known).connect(&endpoint, &limits).await.unwrap();
        (joined, at_main, at_aside)
    }

    async fn events(server: &mut Joined<MemServer>, count: usize) -> Vec<ServerEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            assert!(server.recv(&mut events, 10).await > 0);
        }
        events
    }

    #[tokio::test]
    async fn connections_of_both_are_told_apart_and_answered() {
        let (mut server, mut at_main, mut at_aside) = pair().await;
        at_main.try_send("main".into()).unwrap();
        at_aside.try_send("aside".into()).unwrap();
        for event in events(&mut server, 4).await {
            if let ServerEvent::Message { conn, body } = event {
                server.try_send(conn, body).unwrap();
            }
        }
        assert_eq!(at_main.recv().await.unwrap(), "main");
        assert_eq!(at_aside.recv().await.unwrap(), "aside");
    }

    #[tokio::test]
    async fn what_is_known_of_a_peer_comes_with_it() {
        let (mut server, _at_main, _at_aside) = pair().await;
        let known = events(&mut server, 2).await.into_iter().map(|event| match event {
            ServerEvent::Up { peer, .. } => peer.auth,
            other => panic!("{other:?}"),
        });
        let known: Vec<Auth> = known.collect();
        assert!(known.contains(&Auth::None) && known.contains(&Auth::Local), "{known:?}");
    }

    #[tokio::test]
    async fn one_that_floods_does_not_keep_the_other_waiting() {
        let (mut server, at_main, at_aside) = pair().await;
        events(&mut server, 2).await;
        (0..1_000).for_each(|_| at_main.try_send("flood".into()).unwrap());
        at_aside.try_send("aside".into()).unwrap();
        let first = events(&mut server, 20).await;
        assert!(first.iter().any(|event| inner(event.conn()).is_some()));
    }

    #[tokio::test]
    async fn a_kick_meets_whom_it_is_meant_for() {
        let (mut server, mut at_main, mut at_aside) = pair().await;
        let up = events(&mut server, 2).await;
        let conn = up.iter().map(ServerEvent::conn).find(|conn| inner(*conn).is_some()).unwrap();
        server.kick(conn, DownReason::Kicked);
        assert!(at_aside.recv().await.is_err());
        assert!(matches!(at_main.try_recv(), Ok(None)));
    }
}
