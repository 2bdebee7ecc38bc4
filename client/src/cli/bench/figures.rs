//! What a run has shown.

use std::time::{Duration, Instant};

use ganger_client::PipeItem;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::output::{must, number, text};

/// The figures of one client's run.
pub(super) struct Figures {
    pub(super) elapsed: Duration,
    pub(super) accepted: Histogram<u64>,
    pub(super) settled: Histogram<u64>,
    pub(super) succeeded: u64,
    pub(super) unsuccessful: u64,
}

impl Figures {
    pub(super) fn new() -> Result<Self, Exit> {
        Ok(Self {
            elapsed: Duration::ZERO,
            accepted: histogram()?,
            settled: histogram()?,
            succeeded: 0,
            unsuccessful: 0,
        })
    }

    pub(super) fn ended(&self) -> u64 {
        self.succeeded + self.unsuccessful
    }

    pub(super) fn per_second(&self) -> f64 {
        self.ended() as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// Takes in what came out of the pipe at this moment, of tasks that were handed in at those.
    pub(super) fn note(&mut self, item: &PipeItem, begun: &[Instant], now: Instant) -> Result<(), Exit> {
        let since = |tag: &u32| begun.get(*tag as usize).map_or(0, |at| (now - *at).as_micros() as u64);
        match item {
            PipeItem::Accepted { tag } => self.accepted.saturating_record(since(tag)),
            PipeItem::Settled { tag, outcome } => {
                self.settled.saturating_record(since(tag));
                match outcome.is_success() {
                    true => self.succeeded += 1,
                    false => self.unsuccessful += 1,
                }
            }
            // A task that is refused will be refused the next time, too: no figure is worth that.
            PipeItem::Failed { error, .. } => return Err(error.clone().into()),
        }
        Ok(())
    }

    pub(super) fn object(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("seconds".to_owned(), self.elapsed.as_secs_f64().into());
        object.insert("tasks_per_second".to_owned(), self.per_second().into());
        object.insert("succeeded".to_owned(), self.succeeded.into());
        object.insert("unsuccessful".to_owned(), self.unsuccessful.into());
        object.insert("accepted_us".to_owned(), percentiles(&self.accepted));
        object.insert("settled_us".to_owned(), percentiles(&self.settled));
        object
    }

    pub(super) fn print(&self, context: &mut Context, what: &str) -> Result<(), Exit> {
        context.output.line(&format!(
            "{what} in {:.2} s: {:.0} tasks/s ({} did not succeed)",
            self.elapsed.as_secs_f64(),
            self.per_second(),
            self.unsuccessful
        ))?;
        print_latencies(
            context,
            &[("submit to accepted", &self.accepted), ("submit to settled", &self.settled)],
        )
    }
}

/// Microseconds up to an hour, three digits: far more than a run takes, in 200 KiB.
pub(super) fn histogram() -> Result<Histogram<u64>, Exit> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3)
        .map_err(|error| Exit::Failed(format!("cannot make a histogram: {error}")))
}

/// A table of percentiles, a row for each histogram that has any.
pub(super) fn print_latencies(
    context: &mut Context,
    histograms: &[(&str, &Histogram<u64>)],
) -> Result<(), Exit> {
    let row = |(name, histogram): &(&str, &Histogram<u64>)| {
        let mut row = vec![text(*name)];
        row.extend(QUANTILES.iter().map(|(_, at)| number(millis(histogram.value_at_quantile(*at)))));
        row
    };
    let header = ["MILLISECONDS", "P50", "P90", "P99", "P99.9", "MAX"].map(must);
    let rows = histograms.iter().filter(|(_, histogram)| !histogram.is_empty()).map(row).collect();
    context.output.table(&header, rows)
}

const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

pub(super) fn percentiles(histogram: &Histogram<u64>) -> Value {
    let at = |(name, at): (&str, f64)| (name.to_owned(), histogram.value_at_quantile(at).into());
    Value::Object(QUANTILES.into_iter().map(at).collect())
}

fn millis(micros: u64) -> String {
    format!("{:.2}", micros as f64 / 1_000.0)
}

/// How the journal did, from the counters of the broker before and after.
pub(super) struct Journal {
    pub(super) records: u64,
    pub(super) syncs: u64,
}

impl Journal {
    fn per_sync(&self) -> f64 {
        self.records as f64 / self.syncs.max(1) as f64
    }

    pub(super) fn object(&self) -> Value {
        json!({ "records": self.records, "syncs": self.syncs, "records_per_sync": self.per_sync() })
    }

    pub(super) fn text(&self, tasks: u64) -> String {
        format!(
            "{} records in {} syncs: {:.1} records and {:.0} tasks a sync",
            self.records,
            self.syncs,
            self.per_sync(),
            tasks as f64 / self.syncs.max(1) as f64
        )
    }
}
