//! How connections become encrypted.
//!
//! A stranger who has connected has proven nothing yet, so a handshake has a deadline, and there are only so many
//! at a time. Whoever comes when there is no room takes the place of the one that has taken longest: an honest
//! handshake is over in milliseconds, so those that go are those that say nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

use crate::limits::HANDSHAKES_MAX;
use crate::tls::Tls;

/// The first byte of every handshake: the type of a TLS record that carries one.
const HANDSHAKE_RECORD: u8 = 0x16;

/// How a handshake ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handshake {
    Done,
    /// Somebody speaks something else, HTTP without TLS most likely.
    Cleartext,
    /// It did not come to an end in time.
    Slow,
    /// Others needed its place.
    CrowdedOut,
    /// It went wrong.
    Failed,
}

impl Handshake {
    /// For Prometheus.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cleartext => "cleartext",
            Self::Slow => "slow",
            Self::CrowdedOut => "crowded_out",
            Self::Failed => "failed",
        }
    }
}

/// The handshakes that are under way, oldest first.
#[derive(Debug)]
pub(crate) struct Handshakes {
    /// How long each may take.
    patience: Duration,
    under_way: Mutex<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    last: u64,
    leave: BTreeMap<u64, Arc<Notify>>,
}

/// The place of one of them; free again when this is dropped.
struct Place<'a> {
    of: &'a Handshakes,
    number: u64,
    leave: Arc<Notify>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.of.under_way.lock().leave.remove(&self.number);
    }
}

impl Handshakes {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, under_way: Mutex::default() }
    }

    /// Makes a connection an encrypted one.
    pub(crate) async fn shake(
        &self,
        tls: &Tls,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Handshake> {
        let place = self.place();
        tokio::select! {
            biased;
            done = shake(tls, stream) => done,
            () = place.leave.notified() => Err(Handshake::CrowdedOut),
            () = tokio::time::sleep(self.patience) => Err(Handshake::Slow),
        }
    }

    fn place(&self) -> Place<'_> {
        let mut under_way = self.under_way.lock();
        if under_way.leave.len() >= HANDSHAKES_MAX
            && let Some((_, oldest)) = under_way.leave.pop_first()
        {
            oldest.notify_one();
        }
        under_way.last += 1;
        let (number, leave) = (under_way.last, Arc::new(Notify::new()));
        under_way.leave.insert(number, leave.clone());
        Place { of: self, number, leave }
    }
}

async fn shake(tls: &Tls, stream: TcpStream) -> Result<TlsStream<TcpStream>, Handshake> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        // Not even an alert, which to whoever speaks something else would be a riddle.
        Ok(1) if first[0] != HANDSHAKE_RECORD => return Err(Handshake::Cleartext),
        Ok(1) => {}
        _ => return Err(Handshake::Failed),
    }
    tls.acceptor().accept(stream).await.map_err(|_| Handshake::Failed)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::tls::tests::files;

    /// A connection to this machine, from both ends.
    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, theirs)
    }

    #[tokio::test]
    async fn a_handshake_that_says_nothing_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = files(&folder);
        let tls = Tls::load(&cert, &key).unwrap();
        let (ours, mut theirs) = connected().await;
        let ended = Handshakes::new(Duration::from_millis(50)).shake(&tls, ours).await;
        assert_eq!(ended.map(drop), Err(Handshake::Slow));
        assert_eq!(theirs.read(&mut [0; 9]).await.unwrap(), 0, "it was told nothing");
    }

    #[tokio::test]
    async fn whoever_comes_when_there_is_no_room_takes_the_place_of_the_oldest() {
        let handshakes = Handshakes::new(Duration::MAX);
        let places: Vec<Place<'_>> = (0..HANDSHAKES_MAX).map(|_| handshakes.place()).collect();
        let newest = handshakes.place();
        places[0].leave.notified().await;
        assert_eq!(handshakes.under_way.lock().leave.len(), HANDSHAKES_MAX);
        drop((places, newest));
        assert!(handshakes.under_way.lock().leave.is_empty());
    }
}
