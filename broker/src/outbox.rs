//! What a peer was sent and has not read.
//!
//! Tasks and outcomes have windows of their own. Everything else that a peer can make the broker say is
//! counted here: each heartbeat carries the count so far, the peer echoes the newest one that it has
//! read, and a peer that falls too far behind is cut before it can make the broker hold more.

/// Bytes beyond the last echo at which the broker says no more than it must: progress and partial results
/// are dropped, requests with large answers wait.
pub(crate) const UNREAD_BYTES_TIGHT: u64 = 16 << 20;
/// Bytes beyond the last echo at which the peer is cut. Twice as much, so that the largest answer still
/// fits when there was room for it.
pub(crate) const UNREAD_BYTES_MAX: u64 = 32 << 20;

/// The counts of one connection.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Outbox {
    sent: u64,
    echoed: u64,
}

/// What may be sent to a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// Anything.
    Free,
    /// Nothing that can be done without.
    Tight,
    /// Nothing: cut it.
    Over,
}

impl Outbox {
    /// The mark that the next heartbeat carries.
    pub(crate) fn mark(&self) -> u64 {
        self.sent
    }

    /// Counts a message.
    pub(crate) fn book(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// The peer has read up to here. A mark that was never sent is not believed.
    pub(crate) fn echo(&mut self, mark: u64) {
        self.echoed = self.echoed.max(mark.min(self.sent));
    }

    pub(crate) fn room(&self) -> Room {
        match self.sent - self.echoed {
            0..UNREAD_BYTES_TIGHT => Room::Free,
            UNREAD_BYTES_TIGHT..UNREAD_BYTES_MAX => Room::Tight,
            _ => Room::Over,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_echoes_is_never_cut() {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            outbox.book(8 << 20);
            outbox.echo(outbox.mark());
            assert_eq!(outbox.room(), Room::Free);
        }
    }

    #[test]
    fn a_peer_that_does_not_read_loses_the_extras_first_and_then_the_connection() {
        let mut outbox = Outbox::default();
        outbox.book(UNREAD_BYTES_TIGHT as usize);
        assert_eq!(outbox.room(), Room::Tight);
        outbox.book((UNREAD_BYTES_MAX - UNREAD_BYTES_TIGHT) as usize);
        assert_eq!(outbox.room(), Room::Over);
    }

    #[test]
    fn a_mark_from_the_future_is_not_believed() {
        let mut outbox = Outbox::default();
        outbox.echo(u64::MAX);
        outbox.book(UNREAD_BYTES_MAX as usize);
        assert_eq!(outbox.room(), Room::Over);
    }
}
