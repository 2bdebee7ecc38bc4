//! What many connections have said and their server has not taken yet: a queue for each, emptied in turn.
//!
//! With one queue for all, whoever sends most would be heard first: megabytes of a peer that never stops
//! would stand before the one small message of another. Here a connection gives out [`QUANTUM`] bytes when
//! its turn comes. A message larger than what is left of it is given out whole, and the connection is in debt
//! and passed over until its turns have made up for it ("deficit round robin", with the deficit after the
//! message instead of before: nobody waits whom nobody competes with). Order within a connection holds.

use std::collections::{HashMap, VecDeque};

use ganger_common::ConnId;
use slab::Slab;

use crate::event::ServerEvent;
use crate::limits::{MESSAGE_COST, RECV_BYTES_MAX};
use crate::mailbox::Queue;

/// What a connection may give out in one turn, in bytes: many of the usual messages, and little enough that
/// a thousand busy connections come to their turns within a tenth of a second.
pub(crate) const QUANTUM: usize = 64 << 10;

/// Every event costs this at least.
pub(crate) fn cost(event: &ServerEvent) -> usize {
    match event {
        ServerEvent::Message { body, .. } => body.len() + MESSAGE_COST,
        ServerEvent::Up { .. } | ServerEvent::Down { .. } | ServerEvent::Malformed { .. } => MESSAGE_COST,
    }
}

/// The queues of all connections.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// All that waits. Its memory is used again, so that a message costs no allocation and a connection
    /// without messages next to nothing.
    entries: Slab<Entry>,
    lanes: HashMap<ConnId, Lane>,
    /// Those of which something waits; the first has its turn.
    turns: VecDeque<ConnId>,
}

#[derive(Debug)]
struct Entry {
    event: ServerEvent,
    bytes: usize,
    /// What the same connection said next.
    next: Option<usize>,
}

/// The queue of one connection.
#[derive(Debug, Default)]
struct Lane {
    /// The first and the last that waits.
    ends: Option<(usize, usize)>,
    /// What is left of its turn, or its debt.
    credit: isize,
}

impl Lane {
    fn waiting(&mut self) -> Option<(&mut Self, (usize, usize))> {
        let ends = self.ends?;
        Some((self, ends))
    }

    /// Whether it may give something out, now that it has its turn. Whom nobody waits for owes nobody
    /// anything: a long time alone must not become a debt that another could never make up for.
    fn may_go_on(&mut self, alone: bool) -> bool {
        if self.credit <= 0 {
            let owed = if alone { 0 } else { self.credit };
            self.credit = owed.saturating_add_unsigned(QUANTUM);
        }
        self.credit > 0
    }
}

impl Turns {
    /// What the connection whose turn it is gives out, if it may; the turn passes on when it may not, when it
    /// has had its share, and when it has no more.
    fn next_of(&mut self, conn: ConnId) -> Option<Entry> {
        let alone = self.turns.len() == 1;
        let Some((lane, (first, last))) = self.lanes.get_mut(&conn).and_then(Lane::waiting) else {
            // Whoever has a turn has something to give; should that ever fail, nobody waits for it.
            self.turns.pop_front();
            return None;
        };
        if !lane.may_go_on(alone) {
            self.turns.rotate_left(1);
            return None;
        }
        let entry = self.entries.remove(first);
        lane.credit = lane.credit.saturating_sub_unsigned(entry.bytes);
        lane.ends = entry.next.map(|next| (next, last));
        if lane.ends.is_some() {
            if lane.credit <= 0 {
                self.turns.rotate_left(1);
            }
            return Some(entry);
        }
        // What is left of a turn is not saved up. A debt stays, or sending one message at a time would be a
        // way round it.
        lane.credit = lane.credit.min(0);
        if matches!(entry.event, ServerEvent::Down { .. }) {
            self.lanes.remove(&conn);
        }
        self.turns.pop_front();
        Some(entry)
    }
}

impl Queue for Turns {
    type Item = ServerEvent;

    fn push(&mut self, event: ServerEvent, bytes: usize) {
        let conn = event.conn();
        let place = self.entries.insert(Entry { event, bytes, next: None });
        let lane = self.lanes.entry(conn).or_default();
        match &mut lane.ends {
            Some((_, last)) => {
                self.entries[*last].next = Some(place);
                *last = place;
            }
            ends @ None => {
                *ends = Some((place, place));
                self.turns.push_back(conn);
            }
        }
    }

    fn take(&mut self, max: usize, sink: &mut impl FnMut(ServerEvent)) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        // Passing over a connection in debt is paid for by the bytes that it sent before.
        while count < max && bytes < RECV_BYTES_MAX {
            let Some(conn) = self.turns.front().copied() else { break };
            if let Some(entry) = self.next_of(conn) {
                count += 1;
                bytes += entry.bytes;
                sink(entry.event);
            }
        }
        (count, bytes)
    }

    fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::{DownReason, PeerMeta};

    const FLOODER: ConnId = ConnId(1);
    const QUIET: ConnId = ConnId(2);

    fn say(turns: &mut Turns, conn: ConnId, bytes: usize) {
        let event = ServerEvent::Message { conn, body: Bytes::from(vec![0; bytes]) };
        let cost = cost(&event);
        turns.push(event, cost);
    }

    /// What comes out when all is taken, one at a time.
    fn drain(turns: &mut Turns) -> Vec<ServerEvent> {
        let mut events = Vec::new();
        while turns.take(1, &mut |event| events.push(event)).0 > 0 {}
        events
    }

    fn senders(turns: &mut Turns) -> Vec<ConnId> {
        drain(turns).iter().map(ServerEvent::conn).collect()
    }

    #[test]
    fn a_small_message_waits_for_one_turn_of_a_flooder_and_not_for_all_that_it_sent() {
        let mut turns = Turns::default();
        (0..10_000).for_each(|_| say(&mut turns, FLOODER, 0));
        say(&mut turns, QUIET, 0);
        let place = senders(&mut turns).iter().position(|conn| *conn == QUIET);
        assert_eq!(place, Some(QUANTUM / MESSAGE_COST));
    }

    #[test]
    fn a_large_message_is_made_up_for() {
        let mut turns = Turns::default();
        for _ in 0..10 {
            say(&mut turns, FLOODER, 10 * QUANTUM);
            (0..QUANTUM / MESSAGE_COST * 10).for_each(|_| say(&mut turns, QUIET, 0));
        }
        let order = senders(&mut turns);
        // As many bytes of one as of the other, whatever they come in.
        let half = order.len() / 2;
        let large = order[..half].iter().filter(|conn| **conn == FLOODER).count();
        assert!((4..=6).contains(&large), "{large} of 10 in the first half");
    }

    #[test]
    fn a_debt_outlives_the_moment_without_messages() {
        let mut turns = Turns::default();
        say(&mut turns, FLOODER, 3 * QUANTUM);
        assert_eq!(senders(&mut turns), [FLOODER]);
        say(&mut turns, FLOODER, 0);
        (0..2 * QUANTUM / MESSAGE_COST).for_each(|_| say(&mut turns, QUIET, 0));
        assert_eq!(senders(&mut turns).first(), Some(&QUIET));
    }

    #[test]
    fn who_is_alone_does_not_wait_for_its_turn() {
        let mut turns = Turns::default();
        (0..3).for_each(|_| say(&mut turns, FLOODER, 1_000 * QUANTUM));
        let mut given = 0;
        let first = turns.take(100, &mut |_| given += 1);
        assert_eq!(first.0, 1, "one message is more than what is given at a time");
        assert_eq!(senders(&mut turns).len() + given, 3);
    }

    #[test]
    fn a_long_time_alone_is_no_debt() {
        let mut turns = Turns::default();
        (0..1_000).for_each(|_| say(&mut turns, FLOODER, 10 * QUANTUM));
        assert_eq!(senders(&mut turns).len(), 1_000);
        for _ in 0..100 {
            say(&mut turns, FLOODER, QUANTUM);
            say(&mut turns, QUIET, QUANTUM);
        }
        let order = senders(&mut turns);
        let place = order.iter().position(|conn| *conn == FLOODER).unwrap();
        assert!(place <= 11, "after {place} of the other");
    }

    #[test]
    fn what_is_given_at_a_time_is_no_more_than_its_limit_and_one_message() {
        let mut turns = Turns::default();
        (0..100).for_each(|_| say(&mut turns, FLOODER, RECV_BYTES_MAX / 3));
        assert_eq!(turns.take(100, &mut |_| ()).0, 3);
    }

    #[test]
    fn a_connection_begins_with_its_up_and_is_forgotten_with_its_down() {
        let mut turns = Turns::default();
        let up = || ServerEvent::Up { conn: QUIET, peer: PeerMeta::default() };
        let down = || ServerEvent::Down { conn: QUIET, reason: DownReason::Closed };
        (0..1_000).for_each(|_| say(&mut turns, FLOODER, QUANTUM));
        turns.push(up(), MESSAGE_COST);
        (0..100).for_each(|_| say(&mut turns, QUIET, QUANTUM));
        turns.push(down(), MESSAGE_COST);
        let all = drain(&mut turns);
        let its: Vec<&ServerEvent> = all.iter().filter(|event| event.conn() == QUIET).collect();
        assert_eq!((its.len(), its[0], its[101]), (102, &up(), &down()));
        assert!(!turns.lanes.contains_key(&QUIET) && turns.turns.is_empty() && turns.len() == 0);
    }

    #[test]
    fn order_holds_within_each_of_many_connections() {
        let mut turns = Turns::default();
        for number in 0..1_000_u64 {
            let body = Bytes::from(vec![number as u8; (number as usize * 7_919) % 100_000]);
            turns.push(ServerEvent::Message { conn: ConnId(number % 7), body }, number as usize);
        }
        let all = drain(&mut turns);
        for conn in (0..7).map(ConnId) {
            let numbers = all.iter().filter(|event| event.conn() == conn);
            let lengths = numbers.map(|event| match event {
                ServerEvent::Message { body, .. } => body.len(),
                _ => unreachable!(),
            });
            let sent = (0..1_000_u64).filter(|number| number % 7 == conn.0);
            assert!(lengths.eq(sent.map(|number| (number as usize * 7_919) % 100_000)));
        }
    }
}
