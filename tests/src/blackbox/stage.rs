//! Broker, workers and clients of a run, with a proxy on every way between two of them.

use std::sync::Arc;
use std::time::Duration;

use ganger_client::{Client, ClientConfig};
use tempfile::TempDir;

use super::clientele::Visitor;
use super::ledger::Ledger;
use super::settings::{Durability, Settings};
use crate::cluster::{Cluster, WorkerSpec};
use crate::dice::Dice;
use crate::process::Proc;
use crate::proxy::{Fired, Proxy};

/// Beside the faults, an answer comes within this.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);

/// All who take part.
#[derive(Debug)]
pub struct Stage {
    /// Broker and workers.
    pub cluster: Cluster,
    /// The workers, each in the place that it has in the cluster.
    pub crew: Vec<Member>,
    /// The clients.
    pub visitors: Vec<Visitor>,
    /// What the clients know.
    pub ledger: Arc<Ledger>,
    settings: Settings,
    dice: Dice,
    /// Ways of those who are gone.
    old_ways: Vec<Proxy>,
    names: usize,
    _data: Option<TempDir>,
}

/// One worker.
#[derive(Debug)]
pub struct Member {
    /// Its name, which no other worker of the run ever has.
    pub name: String,
    /// Its way to the broker.
    pub work: Proxy,
    /// The way of the publications to it.
    pub knowledge: Proxy,
}

impl Stage {
    /// Starts everybody.
    ///
    /// # Errors
    /// When the machine has no ports or threads for them.
    pub async fn set(settings: &Settings, mut dice: Dice) -> anyhow::Result<Self> {
        let data = match settings.durability {
            Durability::Memory => None,
            Durability::Journal => Some(tempfile::Builder::new().prefix("ganger-blackbox-").tempdir()?),
        };
        let path = data.as_ref().map(|data| data.path().to_string_lossy().into_owned());
        let args = match &path {
            None => vec![],
            Some(path) => vec!["--durability", "journal", "--data", path],
        };
        let cluster = tokio::task::block_in_place(|| Cluster::start(&args));
        let mut stage = Self {
            cluster,
            crew: Vec::new(),
            visitors: Vec::new(),
            ledger: Arc::default(),
            settings: settings.clone(),
            dice: dice.split(),
            old_ways: Vec::new(),
            names: 0,
            _data: data,
        };
        for _ in 0..settings.workers {
            let (member, spec) = stage.new_member().await?;
            stage.cluster.add(&spec);
            stage.crew.push(member);
        }
        for _ in 0..settings.clients {
            stage.admit().await?;
        }
        Ok(stage)
    }

    /// The process of a worker.
    pub fn worker(&self, place: usize) -> &Proc {
        self.cluster.worker(place)
    }

    /// Puts a new worker into a place, whatever has become of the one before.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn replace(&mut self, place: usize) -> anyhow::Result<()> {
        let (member, spec) = self.new_member().await?;
        self.cluster.replace(place, &spec);
        let before = std::mem::replace(&mut self.crew[place], member);
        // It may be leaving in order, and needs its ways until it has.
        self.old_ways.extend([before.work, before.knowledge]);
        Ok(())
    }

    /// Lets another client in.
    ///
    /// # Errors
    /// When there is no port or thread to be had.
    pub async fn admit(&mut self) -> anyhow::Result<()> {
        let name = self.name("client");
        let endpoint = self.cluster.endpoints().clients.clone();
        let (in_flight, dice) = (self.settings.in_flight, self.dice.split());
        let visitor = Visitor::enter(name, &endpoint, self.ledger.clone(), in_flight, dice).await?;
        self.visitors.push(visitor);
        Ok(())
    }

    /// Ends a client in the middle of everything.
    pub fn dismiss(&mut self, place: usize) {
        let way = self.visitors.remove(place).leave();
        self.old_ways.push(way);
    }

    /// Asks the broker to drain a worker, by its name; false when it does not answer at once.
    pub async fn drain(&self, worker: &str) -> bool {
        let drained = async {
            let client = Client::connect(ClientConfig::new(self.cluster.clients())).await.ok()?;
            let refused = client.drain(vec![worker.to_owned()], None).await.ok()?;
            client.close().await;
            refused.is_empty().then_some(())
        };
        tokio::time::timeout(ANSWER_DEADLINE, drained).await.is_ok_and(|drained| drained.is_some())
    }

    /// Starts the broker again where it was.
    pub fn restart_broker(&mut self) {
        tokio::task::block_in_place(|| self.cluster.restart_broker());
    }

    /// Whether a worker still has its program.
    pub fn is_running(&self, place: usize) -> bool {
        self.worker(place).is_running()
    }

    /// The ways of all who are here, by whose they are.
    pub fn ways(&self) -> impl Iterator<Item = (&str, &Proxy)> {
        let crew = self
            .crew
            .iter()
            .flat_map(|member| [&member.work, &member.knowledge].map(|way| (member.name.as_str(), way)));
        crew.chain(self.visitors.iter().map(|visitor| (visitor.name(), visitor.proxy())))
    }

    /// What all proxies did, of those who are gone, too.
    pub fn fired(&self) -> Fired {
        let ways = self.ways().map(|(_, way)| way).chain(&self.old_ways);
        ways.map(Proxy::fired).fold(Fired::default(), Fired::plus)
    }

    /// Ends every fault of every way.
    pub fn heal(&self) {
        self.ways().for_each(|(_, way)| way.heal());
        self.old_ways.iter().for_each(Proxy::heal);
    }

    /// A span by chance.
    pub fn span(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        self.dice.span(Duration::from_millis(least_ms), Duration::from_millis(most_ms))
    }

    async fn new_member(&mut self) -> anyhow::Result<(Member, WorkerSpec)> {
        let endpoints = self.cluster.endpoints();
        let work = Proxy::start(&endpoints.workers, self.dice.next_u64()).await?;
        let knowledge = Proxy::start(&endpoints.knowledge, self.dice.next_u64()).await?;
        let name = self.name("worker");
        let spec = WorkerSpec::diarist(&name)
            .slots(self.settings.slots)
            .through(work.endpoint(), knowledge.endpoint());
        Ok((Member { name, work, knowledge }, spec))
    }

    fn name(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what}-{}", self.names)
    }
}
