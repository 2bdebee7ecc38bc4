//! The library's sockets behind one listening socket, one generation after the other.
//!
//! A ROUTER of the library keeps the identity of every connection that it ever accepted, 300 bytes of each, in
//! a queue that only sockets of another kind take anything out of. So it is not kept for ever itself: after so
//! many connections a new one takes over the listening socket, and the old one ends with the last of its
//! connections, and its memory with it.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_channel::mpsc;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;
use zeromq::util::PeerIdentity;
use zeromq::{
    MultiPeerBackend, RouterSocket, Socket, SocketEvent, SocketRecv, SocketSend, ZmqMessage, ZmqResult,
};

use super::listener::Listening;

/// Connections that one generation accepts: 3 MB of what it keeps.
const CONNECTIONS_MAX: usize = 10_000;

/// From so many generations on each accepts twice as many as the one before: connections that stay keep theirs,
/// and a message is looked for in all of them.
const FEW: usize = 4;

/// A generation without connections ends this long after it stopped to listen: longer than a handshake may take
/// of which it has not said anything yet.
const LINGER: Duration = Duration::from_secs(30);

/// Notices of the library that may wait. It drops what is above, and its own choice, a thousand, is less
/// than what connects at once when a broker comes back.
const NOTICES_MAX: usize = 65_536;

/// One generation, for as long as the process lives.
pub(super) type Number = u32;

/// What there was to hear.
pub(super) enum Heard {
    Notice(Number, SocketEvent),
    Message(Number, ZmqMessage),
    /// An error of a connection, of which the library also sends a notice.
    Nothing,
}

/// All generations; the last one listens.
pub(super) struct Generations {
    listening: Listening,
    all: Vec<Generation>,
    /// Whose turn it is to be received from.
    turn: usize,
    connections_max: usize,
}

struct Generation {
    number: Number,
    socket: RouterSocket,
    notices: mpsc::Receiver<SocketEvent>,
    backend: Arc<dyn MultiPeerBackend>,
    accepted: usize,
    live: usize,
    /// When it stopped to listen.
    since: Option<Instant>,
}

impl Generation {
    async fn begin(number: Number, listening: &Listening) -> Result<Self, String> {
        let mut socket = RouterSocket::new();
        let listener = listening.again().map_err(|error| error.to_string())?;
        let backend = socket.backend();
        let (sender, notices) = mpsc::channel(NOTICES_MAX);
        backend.monitor().lock().replace(sender);
        socket.bind_listener(listener).await.map_err(|error| error.to_string())?;
        Ok(Self { number, socket, notices, backend, accepted: 0, live: 0, since: None })
    }

    fn is_over(&self) -> bool {
        self.live == 0 && self.since.is_some_and(|since| since.elapsed() >= LINGER)
    }

    /// Something that is there, without waiting, or what wakes whoever waits.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        if let Poll::Ready(Some(notice)) = self.notices.poll_next_unpin(context) {
            return Poll::Ready(Heard::Notice(self.number, notice));
        }
        // The library keeps the waker beside its queue, so the future may go.
        let received = pin!(AssertUnwindSafe(self.socket.recv()).catch_unwind()).poll(context);
        received.map(|received| match received {
            Ok(Ok(message)) => Heard::Message(self.number, message),
            // What a peer announces can make the library panic while it reads; that is the end of the peer's
            // connection, not of the server.
            Ok(Err(_)) | Err(_) => Heard::Nothing,
        })
    }
}

impl Generations {
    /// Begins to accept connections.
    pub(super) async fn begin(listening: Listening) -> Result<Self, String> {
        let first = Generation::begin(1, &listening).await?;
        Ok(Self { listening, all: vec![first], turn: 0, connections_max: CONNECTIONS_MAX })
    }

    /// Waits until there is something to hear.
    pub(super) async fn hear(&mut self) -> Heard {
        std::future::poll_fn(|context| {
            let mut heard = self.all.iter_mut().map(|generation| generation.poll(context));
            heard.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }

    /// A notice that is there.
    pub(super) fn notice(&mut self) -> Option<(Number, SocketEvent)> {
        self.all
            .iter_mut()
            .find_map(|generation| Some((generation.number, generation.notices.try_recv().ok()?)))
    }

    /// A message that is there, of each generation in turn.
    pub(super) fn receive(&mut self) -> Option<(Number, ZmqMessage)> {
        for _ in 0..self.all.len() {
            self.turn = (self.turn + 1) % self.all.len();
            let Generation { number, socket, .. } = &mut self.all[self.turn];
            let received = std::panic::catch_unwind(AssertUnwindSafe(|| socket.recv().now_or_never()));
            if let Ok(Some(Ok(message))) = received {
                return Some((*number, message));
            }
        }
        None
    }

    /// Hands a message to the library. `None`: it would have to wait.
    ///
    /// Polled once: a send that waits keeps a lock with which the library can stop for good.
    pub(super) fn send(&mut self, number: Number, message: ZmqMessage) -> Option<ZmqResult<()>> {
        let generation = self.all.iter_mut().find(|generation| generation.number == number)?;
        generation.socket.send(message).now_or_never()
    }

    /// A connection is known now.
    pub(super) fn came(&mut self, number: Number) {
        if let Some(generation) = self.all.iter_mut().find(|generation| generation.number == number) {
            generation.accepted += 1;
            generation.live += 1;
        }
    }

    /// A connection that was known is not any more.
    pub(super) fn went(&mut self, number: Number, peer: &PeerIdentity) {
        self.refuse(number, peer);
        if let Some(generation) = self.all.iter_mut().find(|generation| generation.number == number) {
            generation.live = generation.live.saturating_sub(1);
        }
        self.all.retain(|generation| !generation.is_over());
    }

    /// Makes the library forget a connection, which closes it after what is queued.
    pub(super) fn refuse(&mut self, number: Number, peer: &PeerIdentity) {
        if let Some(generation) = self.all.iter().find(|generation| generation.number == number) {
            generation.backend.peer_disconnected(peer);
        }
    }

    /// Whether the library keeps so much that it is time for another.
    pub(super) fn is_full(&self) -> bool {
        let doublings = self.all.len().saturating_sub(FEW).min(16);
        self.all.last().is_some_and(|last| last.accepted >= self.connections_max << doublings)
    }

    /// Lets a new generation listen instead of the last. Connections that wait to be accepted are accepted by one
    /// of the two.
    pub(super) async fn renew(&mut self) {
        let Some(last) = self.all.last_mut() else { return };
        match Generation::begin(last.number + 1, &self.listening).await {
            Ok(next) => {
                last.socket.unbind_all().await;
                last.since = Some(Instant::now());
                self.all.push(next);
            }
            Err(error) => {
                // It goes on as it is, and tries again after as many.
                tracing::warn!(error, "the socket could not be renewed");
                last.accepted = 0;
            }
        }
    }

    /// Accepts nobody any more. Once the sockets are dropped, every peer's writer finishes what it has and ends.
    pub(super) async fn unbind(&mut self) {
        for generation in &mut self.all {
            generation.socket.unbind_all().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use zeromq::DealerSocket;

    use super::*;
    use crate::limits::Limits;

    async fn begun() -> (Generations, String) {
        let endpoint = "tcp://127.0.0.1:0".parse().unwrap();
        let bound = super::super::listener::listen(&endpoint, &Limits::default()).unwrap();
        let at = bound.endpoint.to_string();
        (Generations { connections_max: 2, ..Generations::begin(bound.listening).await.unwrap() }, at)
    }

    async fn message(generations: &mut Generations) -> (Number, ZmqMessage) {
        loop {
            match generations.hear().await {
                Heard::Message(number, message) => return (number, message),
                Heard::Notice(number, SocketEvent::Accepted(..)) => generations.came(number),
                Heard::Notice(..) | Heard::Nothing => {}
            }
        }
    }

    #[tokio::test]
    async fn a_full_one_goes_on_with_its_connections_and_another_takes_the_new_ones() {
        let (mut generations, at) = begun().await;
        let mut peers = Vec::new();
        for number in [1, 1, 2, 2, 3] {
            let mut peer = DealerSocket::new();
            peer.connect(&at).await.unwrap();
            peer.send("here".into()).await.unwrap();
            assert_eq!(message(&mut generations).await.0, number);
            peers.push(peer);
            if generations.is_full() {
                generations.renew().await;
            }
        }
        // Whoever came first is still heard, and answered.
        peers[0].send("again".into()).await.unwrap();
        let (number, said) = message(&mut generations).await;
        generations.send(number, said).unwrap().unwrap();
        assert_eq!(peers[0].recv().await.unwrap().get(0).unwrap(), "again");
    }

    #[tokio::test]
    async fn an_old_one_ends_with_its_last_connection_but_not_at_once() {
        let (mut generations, _) = begun().await;
        let [first, second] = [PeerIdentity::new(), PeerIdentity::new()];
        generations.came(1);
        generations.renew().await;
        generations.went(1, &first);
        assert_eq!(generations.all.len(), 2, "a handshake may be under way");
        generations.all[0].since = Instant::now().checked_sub(LINGER);
        generations.came(2);
        generations.went(2, &second);
        assert_eq!(
            generations.all.iter().map(|one| one.number).collect::<Vec<_>>(),
            [2],
            "the last one listens"
        );
    }

    #[tokio::test]
    async fn the_more_there_are_the_more_each_accepts() {
        let (mut generations, _) = begun().await;
        let mut accepted = Vec::new();
        for _ in 0..6 {
            let number = generations.all.last().unwrap().number;
            let mut count = 0;
            while !generations.is_full() {
                generations.came(number);
                count += 1;
            }
            accepted.push(count);
            generations.renew().await;
        }
        assert_eq!(accepted, [2, 2, 2, 2, 4, 8]);
    }
}
