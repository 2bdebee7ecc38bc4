//! What one subscriber has subscribed to.

use std::collections::HashMap;
use std::sync::Arc;

use super::counters::Breach;
use super::limits::DoorLimits;

/// Topics that a peer may subscribe to, by their beginnings.
pub type Prefixes = Arc<[String]>;

/// What a subscriber wants changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Add,
    Remove,
}

/// The topics of one connection. The library keeps every subscription that it is sent, the same ones too,
/// and looks through all of them at each publication; here they are counted, and each is passed on once.
#[derive(Debug)]
pub(super) struct Topics {
    counts: HashMap<Box<[u8]>, u32>,
    most: usize,
    longest: usize,
    allowed: Option<Prefixes>,
}

impl Topics {
    /// Without `allowed` every topic is.
    pub(super) fn new(limits: &DoorLimits, allowed: Option<Prefixes>) -> Self {
        let (most, longest) = (limits.subscriptions, limits.topic_bytes);
        Self { counts: HashMap::new(), most, longest, allowed }
    }

    /// Whether the library has to know.
    pub(super) fn change(&mut self, change: Change, topic: &[u8]) -> Result<bool, Breach> {
        match change {
            Change::Add => self.add(topic),
            Change::Remove => Ok(self.remove(topic)),
        }
    }

    fn add(&mut self, topic: &[u8]) -> Result<bool, Breach> {
        if topic.len() > self.longest {
            return Err(Breach::Subscriptions);
        }
        // A subscription is for everything that begins with it, so it must be as narrow as the right.
        let is_allowed =
            |allowed: &Prefixes| allowed.iter().any(|prefix| topic.starts_with(prefix.as_bytes()));
        if self.allowed.as_ref().is_some_and(|allowed| !is_allowed(allowed)) {
            return Err(Breach::Topic);
        }
        if let Some(count) = self.counts.get_mut(topic) {
            *count = count.saturating_add(1);
            return Ok(false);
        }
        if self.counts.len() >= self.most {
            return Err(Breach::Subscriptions);
        }
        self.counts.insert(topic.into(), 1);
        Ok(true)
    }

    fn remove(&mut self, topic: &[u8]) -> bool {
        match self.counts.get_mut(topic) {
            None => false,
            Some(1) => self.counts.remove(topic).is_some(),
            Some(count) => {
                *count -= 1;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_passed_on_at_its_first_and_its_last() {
        let mut topics = Topics::new(&DoorLimits::default(), None);
        let mut change = |change, topic: &str| topics.change(change, topic.as_bytes()).unwrap();
        assert!(change(Change::Add, "a") && !change(Change::Add, "a"));
        assert!(!change(Change::Remove, "a") && change(Change::Remove, "a"));
        assert!(!change(Change::Remove, "a") && !change(Change::Remove, "never"));
    }

    #[test]
    fn there_are_only_so_many_and_only_so_long() {
        let limits = DoorLimits { subscriptions: 2, topic_bytes: 3, ..DoorLimits::default() };
        let mut topics = Topics::new(&limits, None);
        let mut add = |topic: &str| topics.change(Change::Add, topic.as_bytes());
        assert_eq!(add("abcd"), Err(Breach::Subscriptions));
        assert_eq!((add("a"), add("b"), add("c")), (Ok(true), Ok(true), Err(Breach::Subscriptions)));
        assert_eq!(add("a"), Ok(false));
    }

    #[test]
    fn a_subscription_wider_than_the_right_is_refused() {
        let allowed: Prefixes = Arc::from(["k/public/".to_owned(), "beat".to_owned()]);
        let mut topics = Topics::new(&DoorLimits::default(), Some(allowed));
        let mut add = |topic: &str| topics.change(Change::Add, topic.as_bytes());
        assert_eq!(add("k/public/weather"), Ok(true));
        assert_eq!(add("beat"), Ok(true));
        for wide in ["", "k/", "k/public", "k/secret/"] {
            assert_eq!(add(wide), Err(Breach::Topic), "{wide:?}");
        }
        assert!(Topics::new(&DoorLimits::default(), Some(Arc::from([]))).change(Change::Add, b"").is_err());
    }
}
