//! `bench`: how fast a running broker and its workers are.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use ganger_client::{Client, NewTask, PipeConfig, PipeItem};
use ganger_common::limits::PAYLOAD_BYTES_MAX;
use ganger_common::message::Durability;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::context::Context;
use super::exit::Exit;
use super::gang::Gang;
use super::output::{must, number, text};
use super::progress;

/// Measure throughput and latency against a running broker and its workers.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// How many tasks.
    #[arg(long, value_name = "NUMBER", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    tasks: u32,
    /// Bytes of payload of each.
    #[arg(long, value_name = "BYTES", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(..=PAYLOAD_BYTES_MAX as i64))]
    payload: u32,
    /// Most tasks submitted and not settled.
    #[arg(long, value_name = "NUMBER", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// Tasks handed in together; the library makes messages as it sees fit.
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Their kind; a worker must serve it.
    #[arg(long, value_name = "KIND", default_value = "noop")]
    kind: String,
    /// Measure a broker and a worker that are started for it instead, with this durability, or with both,
    /// one after the other, to compare them.
    #[arg(long, value_name = "LEVEL")]
    durability: Option<Level>,
    /// Where such a broker writes its journal, in a directory that is removed afterwards.
    #[arg(long, value_name = "DIR", default_value = ".", requires = "durability")]
    data: PathBuf,
}

/// What is to be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Level {
    Memory,
    Journal,
    Both,
}

pub(crate) async fn run(context: &mut Context, args: BenchArgs) -> Result<(), Exit> {
    match args.durability {
        None => run_on_broker(context, &args).await,
        Some(level) => compare(context, &args, level).await,
    }
}

/// Measures brokers of its own.
async fn compare(context: &mut Context, args: &BenchArgs, level: Level) -> Result<(), Exit> {
    let levels: &[Durability] = match level {
        Level::Memory => &[Durability::Memory],
        Level::Journal => &[Durability::Journal],
        Level::Both => &[Durability::Memory, Durability::Journal],
    };
    let mut speeds = Vec::new();
    for durability in levels {
        let gang = Gang::start(*durability, &args.data)?;
        let window = args.window as usize;
        let client = context
            .client_with(|config| {
                config.endpoint = gang.clients.clone();
                config.window_tasks = config.window_tasks.max(window);
            })
            .await?;
        until_served(context, &client, &args.kind).await?;
        let figures = measure(context, &client, args).await?;
        let counters = context.answer(client.status()).await?.counters;
        let count = |name: &str| counters.get(name).copied().unwrap_or_default();
        let journal = Journal { records: count("journal_records"), syncs: count("journal_syncs") };
        speeds.push(figures.per_second());
        match context.output.is_json() {
            true => {
                let mut object = figures.object(args, 1);
                object["durability"] = durability.as_str().into();
                object["journal"] = journal.object();
                context.output.json(&object)?;
            }
            false => {
                context.output.line(&format!("durability {}", durability.as_str()))?;
                figures.print(context, args)?;
                if *durability == Durability::Journal {
                    context.output.line(&journal.text(args.tasks))?;
                }
            }
        }
        context.close().await;
    }
    if let [memory, journal] = speeds[..] {
        let ratio = journal / memory;
        match context.output.is_json() {
            true => context.output.json(&json!({ "journal_to_memory": ratio }))?,
            false => context.output.line(&format!("journal to memory: {ratio:.2}"))?,
        }
    }
    Ok(())
}

/// How the journal did.
struct Journal {
    records: u64,
    syncs: u64,
}

impl Journal {
    fn per_sync(&self) -> f64 {
        self.records as f64 / self.syncs.max(1) as f64
    }

    fn object(&self) -> Value {
        json!({ "records": self.records, "syncs": self.syncs, "records_per_sync": self.per_sync() })
    }

    fn text(&self, tasks: u32) -> String {
        format!(
            "{} records in {} syncs: {:.1} records and {:.0} tasks a sync",
            self.records,
            self.syncs,
            self.per_sync(),
            f64::from(tasks) / self.syncs.max(1) as f64
        )
    }
}

/// Waits until the worker has come.
async fn until_served(context: &Context, client: &Client, kind: &str) -> Result<(), Exit> {
    let begin = Instant::now();
    loop {
        let status = context.answer(client.status()).await?;
        if status.kinds.iter().any(|served| served.kind == kind && served.workers > 0) {
            return Ok(());
        }
        if begin.elapsed() > context.global.timeout {
            return Err(Exit::Failed(format!("no worker that serves {kind} came")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn run_on_broker(context: &mut Context, args: &BenchArgs) -> Result<(), Exit> {
    let window = args.window as usize;
    let client = context.client_with(|config| config.window_tasks = config.window_tasks.max(window)).await?;
    let status = context.answer(client.status()).await?;
    let serving = status.kinds.iter().find(|kind| kind.kind == args.kind).map_or(0, |kind| kind.workers);
    if serving == 0 {
        let kind = &args.kind;
        context.output.hint(&format!("no connected worker serves {kind}: nothing ends until one comes"));
    }
    let figures = measure(context, &client, args).await?;
    match context.output.is_json() {
        true => context.output.json(&figures.object(args, status.workers)),
        false => figures.print(context, args),
    }
}

/// What a run has shown.
struct Figures {
    elapsed: Duration,
    accepted: Histogram<u64>,
    settled: Histogram<u64>,
    succeeded: u64,
    unsuccessful: u64,
}

impl Figures {
    fn new() -> Result<Self, Exit> {
        // Microseconds up to an hour, three digits: far more than a run takes, in 200 KiB.
        let histogram = || {
            Histogram::new_with_bounds(1, 3_600_000_000, 3)
                .map_err(|error| Exit::Failed(format!("cannot make a histogram: {error}")))
        };
        Ok(Self {
            elapsed: Duration::ZERO,
            accepted: histogram()?,
            settled: histogram()?,
            succeeded: 0,
            unsuccessful: 0,
        })
    }

    fn per_second(&self) -> f64 {
        let tasks = self.succeeded + self.unsuccessful;
        tasks as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    fn object(&self, args: &BenchArgs, workers: u32) -> Value {
        json!({
            "kind": args.kind, "tasks": args.tasks, "payload": args.payload, "window": args.window,
            "batch": args.batch, "workers": workers, "seconds": self.elapsed.as_secs_f64(),
            "tasks_per_second": self.per_second(), "succeeded": self.succeeded,
            "unsuccessful": self.unsuccessful,
            "accepted_us": percentiles(&self.accepted), "settled_us": percentiles(&self.settled),
        })
    }

    fn print(&self, context: &mut Context, args: &BenchArgs) -> Result<(), Exit> {
        context.output.line(&format!(
            "{} tasks of kind {} in {:.2} s: {:.0} tasks/s ({} did not succeed)",
            args.tasks,
            args.kind,
            self.elapsed.as_secs_f64(),
            self.per_second(),
            self.unsuccessful
        ))?;
        let row = |name: &str, histogram: &Histogram<u64>| {
            let mut row = vec![text(name)];
            row.extend(QUANTILES.iter().map(|(_, at)| number(millis(histogram.value_at_quantile(*at)))));
            row
        };
        let header = ["MILLISECONDS", "P50", "P90", "P99", "P99.9", "MAX"].map(must);
        let rows = vec![row("submit to accepted", &self.accepted), row("submit to settled", &self.settled)];
        context.output.table(&header, rows)
    }
}

const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

fn percentiles(histogram: &Histogram<u64>) -> Value {
    let at = |(name, at): (&str, f64)| (name.to_owned(), histogram.value_at_quantile(at).into());
    Value::Object(QUANTILES.into_iter().map(at).collect())
}

fn millis(micros: u64) -> String {
    format!("{:.2}", micros as f64 / 1_000.0)
}

async fn measure(context: &Context, client: &Client, args: &BenchArgs) -> Result<Figures, Exit> {
    let bar = progress::bar(&context.output, Some(u64::from(args.tasks)));
    let (mut sender, mut receiver) =
        client.pipe(PipeConfig { in_flight: args.window as usize, accepted: true });
    let task = NewTask::new(args.kind.as_str(), Bytes::from(vec![0x61; args.payload as usize]));
    let (tasks, batch) = (args.tasks, args.batch.min(args.window));
    // When each task was handed in, by its tag. Written by the sending half, read by the receiving one.
    let (told, mut handed_in) = tokio::sync::mpsc::unbounded_channel::<(usize, Instant)>();
    let begin = Instant::now();
    let sending = tokio::spawn(async move {
        let mut left = tasks;
        while left > 0 {
            let count = batch.min(left);
            // From the moment when there is room: to wait for that is this side's own doing.
            let entering = |count| {
                // The other half only leaves when everything is over.
                let _ = told.send((count, Instant::now()));
            };
            sender.send_many_noting(vec![task.clone(); count as usize], entering).await?;
            left -= count;
        }
        Ok::<(), Exit>(())
    });
    let mut figures = Figures::new()?;
    let mut begun: Vec<Instant> = Vec::with_capacity(tasks as usize);
    let mut items = Vec::new();
    while receiver.recv_many(&mut items).await > 0 {
        let now = Instant::now();
        while let Ok((count, at)) = handed_in.try_recv() {
            begun.extend(std::iter::repeat_n(at, count));
        }
        bar.inc(items.iter().filter(|item| !matches!(item, PipeItem::Accepted { .. })).count() as u64);
        for item in items.drain(..) {
            figures.note(&item, &begun, now)?;
        }
    }
    figures.elapsed = begin.elapsed();
    bar.finish_and_clear();
    sending.await.unwrap_or_else(|error| Err(Exit::Failed(error.to_string())))?;
    Ok(figures)
}

impl Figures {
    fn note(&mut self, item: &PipeItem, begun: &[Instant], now: Instant) -> Result<(), Exit> {
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
}
