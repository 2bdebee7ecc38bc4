//! Clients as the scheduler sees them: sessions and their streams of outcomes.

use std::collections::{BTreeMap, VecDeque};

use ganger_common::{Attempt, ClientId, ConnId, Outcome, SessionToken, TaskId};

use crate::arena::TaskKey;
use crate::record::Lsn;
use crate::time::Time;

/// A client's session. Never reused; zero is nobody, which lets an optional one take no more room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ClientKey(std::num::NonZeroU32);

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) token: SessionToken,
    /// Its connection; absent while it is away.
    pub(crate) conn: Option<ConnId>,
    pub(crate) last_seen: Time,
    pub(crate) silent_at: Option<Time>,
    pub(crate) stream: Stream,
    /// Whether it waits in [`Clients::dirty`].
    dirty: bool,
}

/// Outcomes on their way to one client.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Not sent yet. The outcome stands here beside the task, because the task may be forgotten first.
    pub(crate) waiting: VecDeque<Waiting>,
    /// Number of the last outcome that was sent.
    pub(crate) sent: u64,
    /// Number of the last outcome that was confirmed.
    pub(crate) confirmed: u64,
    /// Messages that were sent and not confirmed: the number of the last outcome in each, and its bytes.
    unconfirmed: VecDeque<(u64, usize)>,
    unconfirmed_bytes: usize,
}

/// One outcome that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Not to be told before the journal has this.
    pub(crate) lsn: Lsn,
    pub(crate) task: TaskId,
    /// The slot that it was in: another task's, perhaps, when it is told.
    pub(crate) key: TaskKey,
    pub(crate) outcome: Outcome,
    /// The try that it names. With the outcome it tells this settlement from one after a retry, whose record
    /// the journal may not have.
    pub(crate) attempt: Attempt,
}

impl Stream {
    /// How many outcomes may be sent now.
    pub(crate) fn room(&self, window: usize, window_bytes: usize) -> usize {
        if self.unconfirmed_bytes >= window_bytes {
            return 0;
        }
        window.saturating_sub((self.sent - self.confirmed) as usize)
    }

    pub(crate) fn room_bytes(&self, window_bytes: usize) -> usize {
        window_bytes.saturating_sub(self.unconfirmed_bytes)
    }

    pub(crate) fn book_sent(&mut self, items: usize, bytes: usize) {
        self.sent += items as u64;
        self.unconfirmed.push_back((self.sent, bytes));
        self.unconfirmed_bytes += bytes;
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed == self.sent
    }

    /// A number that was never sent is not believed.
    pub(crate) fn confirm(&mut self, upto: u64) {
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::WindowStaysShut) {
            return;
        }
        self.confirmed = self.confirmed.max(upto.min(self.sent));
        while let Some((last, bytes)) = self.unconfirmed.front().copied()
            && last <= self.confirmed
        {
            self.unconfirmed.pop_front();
            self.unconfirmed_bytes -= bytes;
        }
    }
}

/// All clients' sessions.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    clients: BTreeMap<ClientKey, Client>,
    by_id: BTreeMap<ClientId, ClientKey>,
    last: u32,
    /// Clients whose streams may have something to send.
    dirty: Vec<ClientKey>,
}

impl Clients {
    pub(crate) fn add(&mut self, id: ClientId, token: SessionToken, conn: ConnId) -> ClientKey {
        self.last += 1;
        // Four thousand million sessions in one life of the process are out of reach: each takes a
        // handshake.
        let key = ClientKey(std::num::NonZeroU32::new(self.last).unwrap_or(std::num::NonZeroU32::MIN));
        self.by_id.insert(id, key);
        let client = Client {
            id,
            token,
            conn: Some(conn),
            last_seen: Time(0),
            silent_at: None,
            stream: Stream::default(),
            dirty: false,
        };
        self.clients.insert(key, client);
        key
    }

    pub(crate) fn remove(&mut self, key: ClientKey) -> Option<Client> {
        let client = self.clients.remove(&key)?;
        self.by_id.remove(&client.id);
        Some(client)
    }

    pub(crate) fn find(&self, id: ClientId) -> Option<ClientKey> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&self, key: ClientKey) -> Option<&Client> {
        self.clients.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: ClientKey) -> Option<&mut Client> {
        self.clients.get_mut(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClientKey, &Client)> {
        self.clients.iter().map(|(key, client)| (*key, client))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (ClientKey, &mut Client)> {
        self.clients.iter_mut().map(|(key, client)| (*key, client))
    }

    /// Lets an outcome wait for a client, if the client is still there.
    pub(crate) fn tell(&mut self, key: ClientKey, waiting: Waiting) {
        if let Some(client) = self.clients.get_mut(&key) {
            client.stream.waiting.push_back(waiting);
            if !client.dirty {
                client.dirty = true;
                self.dirty.push(key);
            }
        }
    }

    pub(crate) fn mark_dirty(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(&key)
            && !client.dirty
        {
            client.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Clients whose streams must be looked at, each once.
    pub(crate) fn take_dirty(&mut self) -> Vec<ClientKey> {
        let dirty = std::mem::take(&mut self.dirty);
        for key in &dirty {
            if let Some(client) = self.clients.get_mut(key) {
                client.dirty = false;
            }
        }
        dirty
    }
}
