//! Who is behind a connection that the library reports: the door knows, and the identity that it assigns is
//! the thread between the two.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::event::PeerMeta;

/// The library reports a connection long before this is over, or never.
const REPORTED_WITHIN: Duration = Duration::from_secs(60);

/// An identity that the door assigns: random, so that nobody can guess another's.
pub(crate) type Badge = [u8; 16];

/// Those who passed the door and were not reported by the library yet.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<Badge, PeerMeta>,
    order: VecDeque<(Instant, Badge)>,
}

impl Guests {
    /// A new identity, under which this peer will be reported.
    pub(super) fn expect(&self, peer: PeerMeta) -> Badge {
        let badge = *Uuid::new_v4().as_bytes();
        let now = Instant::now();
        let mut state = self.state.lock();
        while let Some((since, stale)) = state.order.front().copied()
            && now.saturating_duration_since(since) > REPORTED_WITHIN
        {
            state.order.pop_front();
            state.waiting.remove(&stale);
        }
        state.waiting.insert(badge, peer);
        state.order.push_back((now, badge));
        badge
    }

    /// Who was reported. Whoever the door knows nothing of has proven nothing.
    pub(crate) fn meet(&self, identity: &[u8]) -> Option<PeerMeta> {
        let badge = Badge::try_from(identity).ok()?;
        self.state.lock().waiting.remove(&badge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_met_once_under_the_badge_they_were_given() {
        let guests = Guests::default();
        let meta = |port| PeerMeta { addr: Some(([127, 0, 0, 1], port).into()), ..PeerMeta::default() };
        let (first, second) = (guests.expect(meta(1)), guests.expect(meta(2)));
        assert_eq!(guests.meet(&second), Some(meta(2)));
        assert_eq!(guests.meet(&second), None);
        assert_eq!(guests.meet(&first), Some(meta(1)));
        assert_eq!((guests.meet(b""), guests.meet(b"somebody else's.")), (None, None));
    }
}
