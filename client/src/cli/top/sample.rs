//! What the broker says of itself, and what follows from two such answers.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use ganger_client::{Client, Error};
use ganger_common::view::{StatusView, WorkerView};
use ganger_common::{ErrorCode, WorkerId};
use serde::Serialize;

use super::latency::Latency;
use crate::cli::context::within;

/// Looks that are remembered: the widest terminal shows one in a column.
const PAST_MAX: usize = 512;

/// Counters of tasks that got their outcome.
const OUTCOMES: [&str; 5] =
    ["tasks_succeeded", "tasks_failed", "tasks_cancelled", "tasks_expired", "tasks_dead"];

/// One look.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) status: StatusView,
    /// The workers, for whoever may list them.
    pub(crate) workers: Option<Vec<WorkerView>>,
    pub(crate) at: Instant,
}

/// Has a look.
pub(crate) async fn take(client: &Client, patience: Duration) -> Result<Sample, Error> {
    let status = within(patience, client.status()).await?;
    let workers = match within(patience, client.workers()).await {
        Ok(workers) => Some(workers),
        Err(Error::Refused { code: ErrorCode::Denied, .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Sample { status, workers, at: Instant::now() })
}

/// What passed between two looks.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Flow {
    /// Tasks taken, a second.
    pub(crate) came: f64,
    /// Tasks that got their outcome, a second.
    pub(crate) ended: f64,
    /// How busy the slots of all workers were, from 0 to 1.
    pub(crate) busy: Option<f64>,
    /// How long tasks took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Latency>,
    /// Each worker: how busy its slots were, and how many attempts ended a second.
    #[serde(skip)]
    pub(crate) workers: HashMap<WorkerId, (f64, f64)>,
}

impl Flow {
    /// What passed; nothing when the broker is another than before.
    pub(crate) fn between(before: &Sample, now: &Sample) -> Option<Self> {
        let (old, new) = (&before.status, &now.status);
        let span = new.uptime_ms.checked_sub(old.uptime_ms).filter(|span| *span > 0)?;
        if old.epoch != new.epoch {
            return None;
        }
        // By the broker's own clock: how long the answer took to come changes nothing.
        let seconds = span as f64 / 1e3;
        let count = |status: &StatusView, name: &str| status.counters.get(name).copied().unwrap_or(0);
        let more = |name: &str| count(new, name).saturating_sub(count(old, name)) as f64;
        let (busy, workers) = workers(before, now);
        let ended = OUTCOMES.iter().map(|name| more(name)).sum::<f64>() / seconds;
        let latency = Latency::between(old, new);
        Some(Self { came: more("tasks_accepted") / seconds, ended, busy, latency, workers })
    }
}

/// How busy all were, and each.
fn workers(before: &Sample, now: &Sample) -> (Option<f64>, HashMap<WorkerId, (f64, f64)>) {
    let (Some(old), Some(new)) = (&before.workers, &now.workers) else { return (None, HashMap::new()) };
    let old: HashMap<WorkerId, &WorkerView> = old.iter().map(|worker| (worker.id, worker)).collect();
    let seconds = now.at.duration_since(before.at).as_secs_f64().max(1e-3);
    let (mut slots, mut used) = (0.0, 0.0);
    let mut each = HashMap::new();
    for worker in new {
        let Some(was) = old.get(&worker.id) else { continue };
        let own = f64::from(worker.slots).max(1.0);
        let ran = worker.busy_us.saturating_sub(was.busy_us) as f64 / 1e6;
        let busy = (ran / seconds / own).min(1.0);
        slots += own;
        used += busy * own;
        each.insert(worker.id, (busy, worker.ended.saturating_sub(was.ended) as f64 / seconds));
    }
    ((slots > 0.0).then(|| used / slots), each)
}

/// The last looks.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) last: Option<Sample>,
    pub(crate) flow: Option<Flow>,
    /// What passed, oldest first: tasks that came and tasks that ended, a second.
    pub(crate) rates: VecDeque<(u64, u64)>,
}

impl Past {
    /// Takes in another look.
    pub(crate) fn take(&mut self, sample: Sample) {
        self.flow = self.last.as_ref().and_then(|last| Flow::between(last, &sample));
        if let Some(flow) = &self.flow {
            if self.rates.len() == PAST_MAX {
                self.rates.pop_front();
            }
            self.rates.push_back((flow.came.round() as u64, flow.ended.round() as u64));
        }
        self.last = Some(sample);
    }
}
