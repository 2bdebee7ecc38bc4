//! The knowledge that is written during a run, and whether all have it in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ganger_client::{Client, ClientConfig, Error};
use ganger_common::{ErrorCode, Outcome, Revision, TaskId};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::dice::Dice;
use crate::proxy::Proxy;
use crate::wait::Metronome;
use crate::work::{self, Replica};

/// Topics of a run.
const TOPICS: [&str; 3] = ["blackbox.a", "blackbox.b", "blackbox.c"];
/// Keys of each topic.
const KEYS: u64 = 15;
/// Between two changes, if the broker keeps up.
const BEAT: Duration = Duration::from_millis(20);
/// Values up to this size; some are larger than what is published inline.
const VALUE_BYTES: u64 = 6_000;
/// Once all faults are over, every replica has the last change within this.
pub const CONVERGED_WITHIN: Duration = Duration::from_secs(20);

/// Checksums of values, by `topic/key`.
type Map = BTreeMap<String, u32>;

/// One that writes all the time.
#[derive(Debug)]
pub struct Writer {
    /// Its way to the broker.
    pub proxy: Proxy,
    stop: watch::Sender<bool>,
    writing: JoinHandle<Written>,
}

/// What it wrote, as far as it knows.
#[derive(Debug, Default)]
pub struct Written {
    /// What each key may hold now: the last acknowledged value first, if any, then those of unknown fate.
    keys: BTreeMap<String, Vec<Option<u32>>>,
    /// Acknowledged changes.
    pub acknowledged: u64,
    /// Changes of unknown fate.
    pub unknown: u64,
    revision: Revision,
    /// Acknowledged revisions that were not above the one before.
    pub backwards: u64,
}

impl Writer {
    /// Begins to write.
    ///
    /// # Errors
    /// When there is no port or thread to be had.
    pub async fn start(endpoint: &str, mut dice: Dice) -> anyhow::Result<Self> {
        let proxy = Proxy::start(endpoint, dice.next_u64()).await?;
        let mut config = ClientConfig::new(proxy.endpoint().parse()?);
        "knowledge-writer".clone_into(&mut config.name);
        let client = Client::start(ganger_transport::zmq::ZmqConnector::default(), config)?;
        let (stop, stopped) = watch::channel(false);
        Ok(Self { proxy, stop, writing: tokio::spawn(write(client, dice, stopped)) })
    }

    /// Writes nothing more, and tells what was written.
    ///
    /// # Errors
    /// When it is still waiting for an answer after the deadline.
    pub async fn finish(self, deadline: Duration) -> anyhow::Result<Written> {
        self.stop.send_replace(true);
        Ok(tokio::time::timeout(deadline, self.writing).await??)
    }
}

async fn write(client: Client, mut dice: Dice, stopped: watch::Receiver<bool>) -> Written {
    let mut written = Written::default();
    let mut metronome = Metronome::new(BEAT);
    while !*stopped.borrow() {
        metronome.beat().await;
        let topic = TOPICS[dice.below(TOPICS.len() as u64) as usize];
        let key = format!("key-{}", dice.below(KEYS));
        let name = format!("{topic}/{key}");
        let is_there = matches!(written.keys.get(&name).map(Vec::as_slice), Some([Some(_)]));
        let knowledge = client.knowledge();
        let (value, answer) = match is_there && dice.permille(100) {
            true => (None, knowledge.delete(topic, &key, None).await),
            false => {
                let value = fresh_value(&mut dice);
                (Some(crc32fast::hash(&value)), knowledge.put(topic, &key, value).await)
            }
        };
        written.book(name, value, answer);
    }
    written
}

fn fresh_value(dice: &mut Dice) -> Vec<u8> {
    let words = dice.below(VALUE_BYTES / 8) + 1;
    (0..words).flat_map(|_| dice.next_u64().to_le_bytes()).collect()
}

impl Written {
    fn book(&mut self, name: String, value: Option<u32>, answer: Result<Revision, Error>) {
        let candidates = self.keys.entry(name).or_insert_with(|| vec![None]);
        match answer {
            Ok(revision) => {
                *candidates = vec![value];
                self.acknowledged += 1;
                self.backwards += u64::from(revision <= self.revision);
                self.revision = revision;
            }
            // A life of the broker that knows nothing of the key.
            Err(error) if error.code() == Some(ErrorCode::NotFound) => candidates.push(None),
            Err(_) => {
                candidates.push(value);
                self.unknown += 1;
            }
        }
    }

    /// Holds what the broker has now against what was acknowledged.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn compare(&self, client: &Client) -> anyhow::Result<Vec<String>> {
        let (_, now) = map_of(client).await?;
        let wrong = self.keys.iter().filter(|(name, may_be)| !may_be.contains(&now.get(*name).copied()));
        Ok(wrong.map(|(name, may_be)| format!("{name} is {:?}, may be {may_be:?}", now.get(name))).collect())
    }
}

/// The broker's map and its revision.
async fn map_of(client: &Client) -> anyhow::Result<(Revision, Map)> {
    let (revision, entries) = client.knowledge().list("", false).await?;
    let entries = entries.into_iter().map(|entry| {
        let checksum = crc32fast::hash(&entry.value.unwrap_or_default());
        (format!("{}/{}", entry.topic, entry.key), checksum)
    });
    Ok((revision, entries.collect()))
}

/// Waits until every one of these workers has exactly what the broker has, and nobody writes any more. All
/// that they missed must have come to them by then: nothing is written once more for them. Returns the tasks
/// that asked them, and those workers that have something else.
///
/// # Errors
/// When the broker does not answer.
pub async fn converge(client: &Client, workers: &[String]) -> anyhow::Result<(Vec<TaskId>, Vec<String>)> {
    let (last, expected) = map_of(client).await?;
    anyhow::ensure!(last > Revision(0), "nothing was written that anybody could know");
    let asked = workers.iter().map(|worker| ask(client, worker, last, &expected));
    let answers = futures_util::future::join_all(asked).await;
    let mut tasks = Vec::new();
    let mut wrong = Vec::new();
    for (asked, answer) in answers {
        tasks.extend(asked);
        wrong.extend(answer.err());
    }
    Ok((tasks, wrong))
}

fn differs(replica: &Replica, last: Revision, expected: &Map) -> String {
    let names: BTreeSet<&String> = replica.entries.keys().chain(expected.keys()).collect();
    let wrong: Vec<_> =
        names.into_iter().filter(|name| replica.entries.get(*name) != expected.get(*name)).collect();
    format!("it has revision {} of {last}, and {} entries differ: {wrong:?}", replica.revision, wrong.len())
}

/// Asks one worker for its replica until that is the broker's map.
async fn ask(
    client: &Client,
    worker: &str,
    last: Revision,
    expected: &Map,
) -> (Vec<TaskId>, Result<(), String>) {
    let (mut tasks, mut found) = (Vec::new(), String::new());
    let mut metronome = Metronome::new(BEAT);
    let asking = async {
        loop {
            let task = work::task(work::replica_kind(worker), TOPICS.join(","));
            let mut handle = client.submit(task).await.map_err(|error| error.to_string())?;
            tasks.push(handle.id());
            let outcome = handle.outcome().await.map_err(|error| error.to_string())?;
            if outcome.outcome != Outcome::Succeeded {
                return Err(format!("its replica was not told: {outcome:?}"));
            }
            let replica: Replica =
                serde_json::from_slice(&outcome.result).map_err(|error| error.to_string())?;
            if (replica.revision, &replica.entries) == (last.0, expected) {
                return Ok(());
            }
            found = differs(&replica, last, expected);
            metronome.beat().await;
        }
    };
    let answer = match tokio::time::timeout(CONVERGED_WITHIN, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("after {CONVERGED_WITHIN:?} {found}")),
    };
    (tasks, answer.map_err(|text| format!("{worker}: {text}")))
}
