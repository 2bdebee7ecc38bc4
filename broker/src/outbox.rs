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
    /// The oldest mark that was sent and has not come back, and the broker's beat at that time.
    asked: Option<(u64, u64)>,
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
    /// The mark that the next heartbeat carries, when nothing waits that was counted already.
    pub(crate) fn mark(&self) -> u64 {
        self.sent
    }

    /// Counts a message.
    pub(crate) fn book(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// A heartbeat leaves at this beat of the broker, with this mark.
    pub(crate) fn ask(&mut self, mark: u64, beat: u64) {
        self.asked.get_or_insert((mark, beat));
    }

    /// The peer has read up to here. A mark that was never sent is not believed.
    pub(crate) fn echo(&mut self, mark: u64) {
        self.echoed = self.echoed.max(mark.min(self.sent));
        self.asked = self.asked.filter(|(asked, _)| *asked > self.echoed);
    }

    /// Whether a mark is out for so many beats that the peer, which goes on talking, cannot be reading.
    /// Counted in the broker's own beats, because a broker that was stopped must not blame its peers.
    pub(crate) fn is_deaf(&self, beat: u64, beats_max: u64) -> bool {
        self.asked.is_some_and(|(_, asked_at)| beat - asked_at > beats_max)
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
    fn a_peer_that_talks_and_does_not_read_is_deaf() {
        let mut outbox = Outbox::default();
        for beat in 0..10 {
            outbox.book(20);
            outbox.ask(outbox.mark(), beat);
            outbox.echo(0);
            assert_eq!(outbox.is_deaf(beat, 6), beat > 6, "beat {beat}");
        }
        outbox.echo(outbox.mark());
        assert!(!outbox.is_deaf(100, 6), "what was read late was read");
    }

    #[test]
    fn a_mark_from_the_future_is_not_believed() {
        let mut outbox = Outbox::default();
        outbox.echo(u64::MAX);
        outbox.book(UNREAD_BYTES_MAX as usize);
        assert_eq!(outbox.room(), Room::Over);
    }
}
