//! A relay that goes from thread to thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use super::relay::{Carrier, Ending, Left, Relay};
use super::seats::{Pace, Seat, Seats};

/// Carries a connection wherever it costs least.
pub(super) async fn roam<C: Carrier + Send + 'static>(relay: Relay<C>, seats: Arc<Seats>) -> Ending {
    let mut seat = Seat::Home;
    let mut relay = match relay.roaming(Pace::new(seats.clone(), seat)) {
        Ok(relay) => relay,
        Err(error) => return error.into(),
    };
    loop {
        let carried = Carried(seats.runtime(seat).spawn(relay.go_on(seat)));
        (seat, relay) = match carried.await {
            Some(Left::For(seat, relay)) => (seat, relay),
            Some(Left::Ended(ending)) => return ending,
            None => return Ending::Closed,
        };
    }
}

/// A task on another thread that does not outlive the wait for it.
struct Carried<T>(JoinHandle<T>);

impl<T> Future for Carried<T> {
    /// `None`: its runtime has ended, or it panicked.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(context).map(Result::ok)
    }
}

impl<T> Drop for Carried<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream, UnixStream};

    use super::super::budget::Budget;
    use super::super::frames::Inspector;
    use super::super::limits::DoorLimits;
    use super::super::patience::Patience;
    use super::super::plain::Plain;
    use super::super::relay::{Loose, Sides};
    use super::super::staff::Staff;
    use super::*;

    /// The far ends of a relay: a peer, and the library.
    struct Ends {
        peer: TcpStream,
        library: UnixStream,
    }

    impl Ends {
        async fn exchange(&mut self, number: u8) {
            // A message of one part.
            let (said, mut heard) = ([0, 1, number], [0; 3]);
            self.peer.write_all(&said).await.unwrap();
            self.library.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, said);
            self.library.write_all(&heard).await.unwrap();
            self.peer.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, said);
        }
    }

    async fn relay(seats: &Arc<Seats>) -> (Box<Relay<Plain, Loose>>, Ends) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (outer, _) = listener.accept().await.unwrap();
        let (inner, library) = UnixStream::pair().unwrap();
        let limits = DoorLimits::default();
        let patience = Patience { stall: limits.reader_stall, behind: None, crush: None };
        let carrier = Plain::new(Inspector::new(&limits, None), b"", 1);
        let budget = Arc::new(Budget::new(&limits));
        let relay = Relay::new(Sides { outer, inner }, carrier, budget, patience);
        let relay = relay.roaming(Pace::new(seats.clone(), Seat::Home)).unwrap();
        (relay, Ends { peer, library })
    }

    #[tokio::test]
    async fn nothing_is_lost_when_a_relay_changes_threads_there_and_back() {
        let staff = Staff::start(1).unwrap();
        let seats = Arc::new(Seats::new(tokio::runtime::Handle::current(), staff));
        seats.decide(true);
        let (mut relay, mut ends) = relay(&seats).await;
        let enough = Arc::new(AtomicBool::new(false));
        let is_enough = enough.clone();
        let traffic = tokio::spawn(async move {
            let mut numbers = (0..=u8::MAX).cycle();
            while let (Some(number), false) = (numbers.next(), is_enough.load(Ordering::Relaxed)) {
                ends.exchange(number).await;
            }
            // Once more, where it is now.
            ends.exchange(0).await;
        });
        for (seat, next) in [(Seat::Home, Seat::Staff), (Seat::Staff, Seat::Home)] {
            let left = seats.runtime(seat).spawn(relay.go_on(seat)).await.unwrap();
            let Left::For(place, there) = left else { panic!("it ended") };
            assert_eq!(place, next);
            relay = there;
            seats.decide(false);
        }
        let carried = Carried(seats.runtime(Seat::Home).spawn(relay.go_on(Seat::Home)));
        enough.store(true, Ordering::Relaxed);
        traffic.await.unwrap();
        // The far ends are gone, and so the relay ends.
        assert!(matches!(carried.await, Some(Left::Ended(Ending::Closed))));
    }
}
