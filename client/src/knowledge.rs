//! The knowledge map, as a client reads, changes and follows it.

use std::collections::VecDeque;

use bytes::Bytes;
use ganger_common::message::publish::{
    BEAT, BeatHeader, ChangeOp, DeltaHeader, KNOWLEDGE_PREFIX, decode_header,
};
use ganger_common::view::KnowledgeStatusView;
use ganger_common::{Epoch, ErrorCode, Revision};

use crate::broadcast::Feed;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::requests::unexpected;
use crate::session::request::{Answer, Ask, Change, Entry, Reply, Request};

/// Reads and changes the knowledge map.
#[derive(Clone, Debug)]
pub struct Knowledge {
    client: Client,
}

impl Knowledge {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Sets a value, and returns the revision of that change.
    ///
    /// # Errors
    /// When it is too large, or there is no answer; see [`Error::Interrupted`].
    pub async fn put(&self, topic: &str, key: &str, value: impl Into<Bytes>) -> Result<Revision> {
        self.write(put(topic, key, value.into(), None)).await
    }

    /// Sets a value if the key is at this revision now; with revision 0, if there is no such key.
    ///
    /// # Errors
    /// `conflict` when it is not; and as for [`put`](Self::put).
    pub async fn put_if(
        &self,
        topic: &str,
        key: &str,
        value: impl Into<Bytes>,
        revision: Revision,
    ) -> Result<Revision> {
        self.write(put(topic, key, value.into(), Some(revision))).await
    }

    /// Removes a key, and returns the revision of that change.
    ///
    /// # Errors
    /// `not_found`; `conflict` when the key is not at the revision that is expected; no answer.
    pub async fn delete(&self, topic: &str, key: &str, expect: Option<Revision>) -> Result<Revision> {
        self.write(Ask::Delete { topic: topic.to_owned(), key: key.to_owned(), expect }).await
    }

    /// Reads one value.
    ///
    /// # Errors
    /// `not_found`, or no answer.
    pub async fn get(&self, topic: &str, key: &str) -> Result<Entry> {
        match self.ask(Ask::Get { topic: topic.to_owned(), key: key.to_owned() }).await? {
            Reply::Entry(entry) => Ok(entry),
            other => Err(unexpected(&Answer::Knowledge(other))),
        }
    }

    /// Reads all entries of the topics that begin with this, and the revision from which the changes since
    /// can be followed.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn list(&self, prefix: &str, keys_only: bool) -> Result<(Revision, Vec<Entry>)> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut first_revision = None;
        loop {
            let after = entries.last().map(|entry| (entry.topic.clone(), entry.key.clone()));
            match self.ask(Ask::List { prefix: prefix.to_owned(), after, keys_only }).await? {
                Reply::Entries { revision, items, more } => {
                    // What changes while the pages are read has a newer revision than the first page.
                    let first_revision = *first_revision.get_or_insert(revision);
                    let is_last = !more || items.is_empty();
                    entries.extend(items);
                    if is_last {
                        return Ok((first_revision, entries));
                    }
                }
                other => return Err(unexpected(&Answer::Knowledge(other))),
            }
        }
    }

    /// Which worker has which revision.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn status(&self) -> Result<KnowledgeStatusView> {
        match self.ask(Ask::Status).await? {
            Reply::Status(status) => Ok(*status),
            other => Err(unexpected(&Answer::Knowledge(other))),
        }
    }

    /// Follows the topics that begin with this. With `current`, what is there now comes first.
    ///
    /// # Errors
    /// When the broker does not tell where it publishes, or cannot be reached there.
    pub async fn watch(&self, prefix: &str, current: bool) -> Result<KnowledgeWatch> {
        KnowledgeWatch::open(self.clone(), prefix, current).await
    }

    async fn write(&self, ask: Ask) -> Result<Revision> {
        match self.ask(ask).await? {
            Reply::Written(revision) => Ok(revision),
            other => Err(unexpected(&Answer::Knowledge(other))),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Reply> {
        match self.client.ask(Request::Knowledge(ask)).await? {
            Answer::Knowledge(reply) => Ok(reply),
            other => Err(unexpected(&other)),
        }
    }
}

fn put(topic: &str, key: &str, value: Bytes, expect: Option<Revision>) -> Ask {
    Ask::Put { topic: topic.to_owned(), key: key.to_owned(), value, expect }
}

/// Something that one who follows the map learns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Learned {
    /// An entry has changed, or was removed.
    Changed(Change),
    /// What was known no longer leads to what is: forget it. All that is there now follows.
    Reset,
}

/// Follows the knowledge map without gaps: what the publications miss is asked for.
///
/// It listens to all topics, although only some are told: the one counter of the map shows a gap only to
/// whom hears every change.
#[derive(Debug)]
pub struct KnowledgeWatch {
    knowledge: Knowledge,
    feed: Feed,
    prefix: String,
    known: Revision,
    epoch: Option<Epoch>,
    learned: VecDeque<Learned>,
}

impl KnowledgeWatch {
    async fn open(knowledge: Knowledge, prefix: &str, current: bool) -> Result<Self> {
        let topics = vec![KNOWLEDGE_PREFIX.to_owned(), BEAT.to_owned()];
        let mut feed = Feed::new(knowledge.client.clone(), topics);
        // First listen, then read: what comes in between is known from its revision.
        feed.open().await?;
        let prefix = prefix.to_owned();
        let (known, epoch) = (Revision(0), None);
        let mut watch = Self { knowledge, feed, prefix, known, epoch, learned: VecDeque::new() };
        match current {
            true => watch.read_all().await?,
            false => watch.known = watch.knowledge.status().await?.revision,
        }
        Ok(watch)
    }

    /// The revision up to which everything was told.
    pub fn revision(&self) -> Revision {
        self.known
    }

    /// The next change.
    ///
    /// # Errors
    /// When the client is over.
    ///
    /// # Cancel safety
    /// A change may be told twice when the future is dropped, none is missed.
    pub async fn next(&mut self) -> Result<Learned> {
        loop {
            while let Some(learned) = self.learned.pop_front() {
                match &learned {
                    Learned::Changed(change) if !change.topic.starts_with(&self.prefix) => {}
                    _ => return Ok(learned),
                }
            }
            match self.feed.next().await {
                Some(parts) => self.on_publication(&parts).await?,
                None => {
                    self.feed.reopen().await?;
                    self.catch_up().await?;
                }
            }
        }
    }

    async fn on_publication(&mut self, [topic, header, body]: &[Bytes; 3]) -> Result<()> {
        if topic == BEAT {
            // A header that cannot be read is a publication that was missed; the next beat tells.
            let Ok(beat) = decode_header::<BeatHeader>(header) else { return Ok(()) };
            let is_behind = self.is_other_life(beat.epoch) || beat.revision > self.known;
            return if is_behind { self.catch_up().await } else { Ok(()) };
        }
        let topic = std::str::from_utf8(topic).ok().and_then(|topic| topic.strip_prefix(KNOWLEDGE_PREFIX));
        let (Some(topic), Ok(delta)) = (topic, decode_header::<DeltaHeader<'_>>(header)) else {
            return Ok(());
        };
        if !self.is_other_life(delta.epoch) && delta.revision <= self.known {
            return Ok(());
        }
        let value = match delta.op {
            ChangeOp::Put if crc32fast::hash(body) == delta.checksum => Some(body.clone()),
            ChangeOp::Delete => None,
            ChangeOp::Put | ChangeOp::Fetch => return self.catch_up().await,
        };
        if delta.revision != self.known.next() {
            return self.catch_up().await;
        }
        self.known = delta.revision;
        let (topic, key) = (topic.to_owned(), delta.key.to_string());
        let change = Change { revision: delta.revision, topic, key, value };
        self.learned.push_back(Learned::Changed(change));
        Ok(())
    }

    /// Whether the broker's state has begun anew since the last publication.
    fn is_other_life(&mut self, epoch: Epoch) -> bool {
        self.epoch.replace(epoch).is_some_and(|known| known != epoch)
    }

    /// Asks for what was missed.
    async fn catch_up(&mut self) -> Result<()> {
        loop {
            match self.knowledge.ask(Ask::Since(self.known)).await {
                Ok(Reply::Changes { revision, .. }) if revision < self.known => {
                    return self.begin_anew().await;
                }
                Ok(Reply::Changes { revision, items }) => {
                    let Some(last) = items.last() else { return Ok(()) };
                    self.known = last.revision;
                    self.learned.extend(items.into_iter().map(Learned::Changed));
                    if self.known >= revision {
                        return Ok(());
                    }
                }
                Ok(other) => return Err(unexpected(&Answer::Knowledge(other))),
                Err(error) if error.code() == Some(ErrorCode::HistoryGone) => return self.begin_anew().await,
                Err(Error::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn begin_anew(&mut self) -> Result<()> {
        self.learned.push_back(Learned::Reset);
        self.read_all().await
    }

    async fn read_all(&mut self) -> Result<()> {
        let (revision, entries) = self.knowledge.list(&self.prefix, false).await?;
        self.known = revision;
        let changed = |entry: Entry| {
            let Entry { topic, key, revision, value } = entry;
            Learned::Changed(Change { revision, topic, key, value })
        };
        self.learned.extend(entries.into_iter().map(changed));
        Ok(())
    }
}
