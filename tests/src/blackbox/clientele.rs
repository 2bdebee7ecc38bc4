//! Clients that hand in tasks without end, each on a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ganger_client::{Client, ClientConfig, Error};
use ganger_common::ErrorCode;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::ledger::Ledger;
use super::workload::Spec;
use crate::dice::Dice;
use crate::proxy::Proxy;
use crate::wait::Metronome;

/// In this many of a thousand cases a client asks for a task of somebody instead of handing in a new one.
const REPEATS_PERMILLE: u64 = 50;
/// Among so many of the last.
const RECENT: usize = 2_000;

/// One client, behind a proxy of its own.
#[derive(Debug)]
pub struct Visitor {
    name: String,
    proxy: Proxy,
    stop: watch::Sender<bool>,
    busy: Arc<AtomicUsize>,
    visit: JoinHandle<()>,
}

impl Visitor {
    /// Connects a client and lets it keep so many tasks under way until it is told to stop.
    ///
    /// # Errors
    /// When there is no port or thread to be had.
    pub async fn enter(
        name: String,
        endpoint: &str,
        ledger: Arc<Ledger>,
        in_flight: usize,
        mut dice: Dice,
    ) -> anyhow::Result<Self> {
        let proxy = Proxy::start(endpoint, dice.next_u64()).await?;
        let mut config = ClientConfig::new(proxy.endpoint().parse()?);
        config.name.clone_from(&name);
        let client = Client::start(ganger_transport::zmq::ZmqConnector::default(), config)?;
        let (stop, stopped) = watch::channel(false);
        let busy = Arc::new(AtomicUsize::new(0));
        let visit = Visit { client, ledger, in_flight, dice, stopped, busy: busy.clone() };
        Ok(Self { name, proxy, stop, busy, visit: tokio::spawn(visit.run()) })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its way to the broker.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Tells it to hand in nothing more.
    pub fn finish(&self) {
        self.stop.send_replace(true);
    }

    /// Whether it waits for nothing any more, after [`finish`](Self::finish).
    pub fn is_done(&self) -> bool {
        self.visit.is_finished()
    }

    /// What it still waits for.
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Ends it in the middle of everything. Its library still says goodbye, if its proxy lets it. The proxy
    /// stays: what is silenced stays silent.
    pub fn leave(self) -> Proxy {
        self.visit.abort();
        self.proxy
    }
}

struct Visit {
    client: Client,
    ledger: Arc<Ledger>,
    in_flight: usize,
    dice: Dice,
    stopped: watch::Receiver<bool>,
    busy: Arc<AtomicUsize>,
}

impl Visit {
    async fn run(mut self) {
        let mut errands = JoinSet::new();
        loop {
            while errands.len() < self.in_flight && !*self.stopped.borrow() {
                let errand = self.next_errand();
                errands.spawn(errand.run());
            }
            self.busy.store(errands.len(), Ordering::Relaxed);
            if errands.is_empty() {
                return;
            }
            tokio::select! {
                _ = errands.join_next() => {}
                // Nobody will tell any more: that is a word, too.
                _ = self.stopped.wait_for(|stopped| *stopped), if !*self.stopped.borrow() => {}
            }
        }
    }

    fn next_errand(&mut self) -> Errand {
        let (client, ledger) = (self.client.clone(), self.ledger.clone());
        let known = match self.dice.permille(REPEATS_PERMILLE) {
            true => ledger.recent(&mut self.dice, RECENT),
            false => None,
        };
        let what = match known {
            Some(spec) if self.dice.permille(500) => Ask::HandInAgain(spec),
            Some(spec) => Ask::Watch(spec),
            None => Ask::HandIn(Spec::roll(&mut self.dice)),
        };
        Errand { client, ledger, what }
    }
}

/// One task, from its submission to its outcome.
struct Errand {
    client: Client,
    ledger: Arc<Ledger>,
    what: Ask,
}

enum Ask {
    HandIn(Spec),
    /// The same task that some client handed in before.
    HandInAgain(Spec),
    /// Only its outcome.
    Watch(Spec),
}

impl Errand {
    async fn run(self) {
        let Self { client, ledger, what } = self;
        let id = match &what {
            Ask::HandIn(spec) | Ask::HandInAgain(spec) | Ask::Watch(spec) => spec.id,
        };
        let result = match &what {
            Ask::HandIn(spec) => {
                ledger.submitted(spec);
                hand_in(&client, &ledger, spec).await
            }
            Ask::HandInAgain(spec) => {
                ledger.repeated();
                hand_in(&client, &ledger, &Spec { cancel_after: None, ..spec.clone() }).await
            }
            Ask::Watch(spec) => {
                ledger.repeated();
                watch_only(&client, &ledger, spec).await
            }
        };
        if let Err(error) = result {
            ledger.trouble(id, &error);
        }
    }
}

async fn hand_in(client: &Client, ledger: &Ledger, spec: &Spec) -> Result<(), Error> {
    let mut handle = client.send(spec.task()).await?;
    handle.accepted().await?;
    ledger.acknowledged(spec.id);
    if let Some(after) = spec.cancel_after {
        tokio::select! {
            outcome = handle.outcome() => {
                ledger.told(&outcome?);
                return Ok(());
            }
            // The span is part of what is asked for: it decides how far the task is when it is cancelled.
            () = Metronome::once(after) => {}
        }
        let answer = match client.cancel(&[spec.id]).await {
            Ok(refused) => Some(refused.is_empty()),
            Err(_) => None,
        };
        ledger.cancel_answered(spec.id, answer);
    }
    ledger.told(&handle.outcome().await?);
    Ok(())
}

async fn watch_only(client: &Client, ledger: &Ledger, spec: &Spec) -> Result<(), Error> {
    let was_acknowledged = ledger.is_acknowledged(spec.id);
    for mut handle in client.watch([spec.id])? {
        match handle.outcome().await {
            Ok(outcome) => ledger.told(&outcome),
            // It may not have been taken yet.
            Err(error) if error.code() == Some(ErrorCode::UnknownTask) && !was_acknowledged => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
