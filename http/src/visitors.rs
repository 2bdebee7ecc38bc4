//! The clients of the visitors: one each, so that the broker sees every request as the principal that it is.

use std::collections::HashMap;
use std::sync::Arc;

use ganger_client::{Client, LinkState};
use parking_lot::Mutex;

use crate::house::{House, Visitor};
use crate::limits::VISITORS_MAX;
use crate::refusal::Refusal;

/// Clients by visitor.
pub(crate) struct Visitors {
    house: Arc<dyn House>,
    clients: Mutex<Clients>,
}

#[derive(Default)]
struct Clients {
    /// With the number of its last use.
    of: HashMap<Visitor, (u64, Client)>,
    uses: u64,
}

impl Visitors {
    pub(crate) fn new(house: Arc<dyn House>) -> Self {
        Self { house, clients: Mutex::default() }
    }

    /// The client of a visitor; a new one when there is none, or when the broker has ended the old one.
    pub(crate) fn client(&self, visitor: Visitor) -> Result<Client, Refusal> {
        let mut clients = self.clients.lock();
        clients.uses += 1;
        let use_number = clients.uses;
        if let Some((last, client)) = clients.of.get_mut(&visitor)
            && !matches!(client.state(), LinkState::Ended(_))
        {
            *last = use_number;
            return Ok(client.clone());
        }
        let client = self.house.connect(&visitor)?;
        if clients.of.len() >= VISITORS_MAX
            && let Some(oldest) = clients.of.iter().min_by_key(|(_, (last, _))| *last).map(|(of, _)| *of)
        {
            // Requests that go on have a clone, so it stays until they have ended.
            clients.of.remove(&oldest);
        }
        clients.of.insert(visitor, (use_number, client.clone()));
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ganger_client::ClientConfig;
    use ganger_transport::mem::MemNet;

    use super::*;
    use crate::feed::{Feed, Sight};

    /// A house whose broker never answers.
    #[derive(Default)]
    struct Silent {
        net: MemNet,
        made: AtomicUsize,
        feed: Feed,
    }

    impl House for Silent {
        fn has_keys(&self) -> bool {
            true
        }

        fn knows(&self, _: &Visitor) -> bool {
            true
        }

        fn sight(&self, _: &Visitor) -> Option<Sight> {
            Some(Sight::ALL)
        }

        fn feed(&self) -> &Feed {
            &self.feed
        }

        fn connect(&self, _: &Visitor) -> ganger_client::Result<Client> {
            self.made.fetch_add(1, Ordering::Relaxed);
            Client::start(self.net.connector(), ClientConfig::new("mem://nobody".parse().unwrap()))
        }
    }

    #[test]
    fn visitors_keep_their_clients_and_the_one_not_used_for_longest_goes() {
        let house = Arc::new(Silent::default());
        let visitors = Visitors::new(house.clone());
        let token = |number: usize| Visitor::Token([number as u8; 32]);
        visitors.client(Visitor::Local).unwrap();
        (0..VISITORS_MAX - 1).for_each(|number| drop(visitors.client(token(number)).unwrap()));
        visitors.client(Visitor::Local).unwrap();
        assert_eq!(house.made.load(Ordering::Relaxed), VISITORS_MAX);
        visitors.client(Visitor::Gateway).unwrap();
        let clients = visitors.clients.lock();
        assert_eq!(clients.of.len(), VISITORS_MAX);
        assert!(!clients.of.contains_key(&token(0)) && clients.of.contains_key(&Visitor::Local));
    }
}
