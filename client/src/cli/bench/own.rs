//! Brokers and workers that are started to be measured.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ganger_client::Client;
use ganger_common::message::Durability;
use serde_json::{Map, Value, json};

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::gang::Gang;
use super::super::progress;
use super::bare::{self, Bare};
use super::figures::{Figures, Journal, percentiles, print_latencies};
use super::load::{Load, Run};
use super::{BenchArgs, flood, usage};

/// Tasks of the first run that nobody measures: it finds the credit that the worker needs.
const WARM_UP: u32 = 20_000;

/// Tasks one at a time: enough for a 99th percentile.
const ALONE: u32 = 2_000;
/// A load beside them has so long to become even, and goes on for no longer than this.
const SETTLING: Duration = Duration::from_millis(500);
const HALF_LOAD_MAX: Duration = Duration::from_secs(60);

/// What one run on one broker has shown.
struct Measured {
    durability: Durability,
    figures: Figures,
    /// The same client beside another that floods the broker.
    beside: Option<Figures>,
    /// One task at a time.
    alone: Option<Figures>,
    /// The same beside another client that hands in half of what the broker was seen to do.
    alone_loaded: Option<Figures>,
    cpu_per_task: Option<f64>,
    memory_per_task: Option<f64>,
    accepting: Option<Duration>,
    journal: Journal,
}

/// Measures each durability as often as was asked for.
pub(super) async fn run(context: &mut Context, args: &BenchArgs, levels: &[Durability]) -> Result<(), Exit> {
    let mut medians = Medians::default();
    for _ in 0..args.repeat {
        let bare = match args.baseline {
            true => Some(bare::measure(&args.load(), args.workers).await?),
            false => None,
        };
        if let Some(bare) = &bare {
            tell_bare(context, bare)?;
        }
        let mut speeds = Vec::new();
        for durability in levels {
            let measured = one(context, args, *durability).await?;
            let object = measured.object(args, bare.as_ref());
            medians.note(*durability, &object);
            speeds.push(measured.figures.per_second());
            match context.output.is_json() {
                true => context.output.json(&object)?,
                false => measured.print(context, args, &object)?,
            }
        }
        if let [memory, journal] = speeds[..] {
            let ratio = journal / memory;
            match context.output.is_json() {
                true => context.output.json(&json!({ "journal_to_memory": ratio }))?,
                false => context.output.line(&format!("journal to memory: {ratio:.2}"))?,
            }
        }
    }
    if args.repeat > 1 {
        medians.tell(context, args.repeat)?;
    }
    Ok(())
}

fn tell_bare(context: &mut Context, bare: &Bare) -> Result<(), Exit> {
    if context.output.is_json() {
        return Ok(());
    }
    let per_second = bare.messages_per_second;
    context.output.line(&format!("bare relay: {per_second:.0} messages/s, one for each task"))?;
    print_latencies(context, &[("round trip", &bare.round_trip), ("one at a time", &bare.alone)])
}

/// One broker, from its start to its end.
async fn one(context: &mut Context, args: &BenchArgs, durability: Durability) -> Result<Measured, Exit> {
    let mut gang = Gang::start(durability, &args.data, args.tasks.into())?;
    let load = args.load();
    let client = connect(context, &gang, load.window).await?;
    if !args.backlog {
        gang.add_workers(args.workers, args.slots)?;
        until_served(context, &client, &load.kind, args.workers).await?;
        let tasks = WARM_UP.min(load.tasks);
        Run::start(&client, Load { tasks, ..load.clone() })?.finish(&silent()).await?;
    }
    let before = counters(context, &client).await?;
    let cpu_before = usage::cpu_seconds(&gang.pids());
    let memory_before = usage::memory(gang.broker_pid());
    let bar = progress::bar(&context.output, Some(u64::from(load.tasks)));
    let mut run = Run::start(&client, load.clone())?;
    let (mut memory_per_task, mut accepting) = (None, None);
    if args.backlog {
        accepting = Some(run.until_accepted(load.tasks, &bar).await?);
        let grown = memory_before.zip(usage::memory(gang.broker_pid()));
        memory_per_task =
            grown.map(|(before, after)| after.saturating_sub(before) as f64 / f64::from(load.tasks));
        run.restart_clock();
        gang.add_workers(args.workers, args.slots)?;
    }
    let figures = run.finish(&bar).await?;
    bar.finish_and_clear();
    let taken = cpu_before.zip(usage::cpu_seconds(&gang.pids())).map(|(before, after)| after - before);
    let after = counters(context, &client).await?;
    let grown = |name: &str| count(&after, name).saturating_sub(count(&before, name));
    let journal = Journal { records: grown("journal_records"), syncs: grown("journal_syncs") };
    let (mut alone, mut alone_loaded) = (None, None);
    if args.baseline && !args.backlog {
        let one_by_one = Load { tasks: ALONE.min(load.tasks), window: 1, batch: 1, ..load.clone() };
        alone = Some(Run::start(&client, one_by_one.clone())?.finish(&silent()).await?);
        let half = Load { rate: Some(figures.per_second() / 2.0), ..load.clone() };
        alone_loaded = Some(beside_half(context, &gang, &client, half, one_by_one).await?);
    }
    client.close().await;
    context.close().await;
    drop(gang);
    let beside = match args.noisy {
        Some(queued) => Some(flood::beside(context, args, durability, queued).await?),
        None => None,
    };
    Ok(Measured {
        durability,
        cpu_per_task: taken.map(|seconds| seconds / f64::from(load.tasks)),
        figures,
        beside,
        alone,
        alone_loaded,
        memory_per_task,
        accepting,
        journal,
    })
}

/// One task at a time, of a client beside another with half of the load that the broker can bear.
async fn beside_half(
    context: &mut Context,
    gang: &Gang,
    client: &Client,
    half: Load,
    one_by_one: Load,
) -> Result<Figures, Exit> {
    let rate = half.rate.unwrap_or_default();
    // It is stopped when it is no longer needed.
    let half = Load { tasks: (rate * HALF_LOAD_MAX.as_secs_f64()) as u32, ..half };
    let mut run = Run::start(client, half)?;
    run.until_accepted((rate * SETTLING.as_secs_f64()) as u32, &silent()).await?;
    let loading = tokio::spawn(async move { run.finish(&silent()).await });
    let other = connect(context, gang, one_by_one.window).await?;
    let figures = Run::start(&other, one_by_one)?.finish(&silent()).await;
    loading.abort();
    figures
}

pub(super) async fn connect(context: &mut Context, gang: &Gang, window: usize) -> Result<Client, Exit> {
    context
        .client_with(|config| {
            config.endpoint = gang.clients.clone();
            config.window_tasks = config.window_tasks.max(window);
        })
        .await
}

pub(super) fn silent() -> indicatif::ProgressBar {
    indicatif::ProgressBar::hidden()
}

async fn counters(context: &Context, client: &Client) -> Result<BTreeMap<String, u64>, Exit> {
    Ok(context.answer(client.status()).await?.counters.into_iter().collect())
}

fn count(counters: &BTreeMap<String, u64>, name: &str) -> u64 {
    counters.get(name).copied().unwrap_or_default()
}

/// Waits until the workers have come.
pub(super) async fn until_served(
    context: &Context,
    client: &Client,
    kind: &str,
    workers: u32,
) -> Result<(), Exit> {
    let begin = Instant::now();
    loop {
        let status = context.answer(client.status()).await?;
        if status.kinds.iter().any(|served| served.kind == kind && served.workers >= workers) {
            return Ok(());
        }
        if begin.elapsed() > context.global.timeout {
            return Err(Exit::Failed(format!("not all workers that serve {kind} came")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Measured {
    fn object(&self, args: &BenchArgs, bare: Option<&Bare>) -> Map<String, Value> {
        let mut object = self.figures.object();
        let asked = args.asked(args.workers);
        object.extend(asked.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("durability", self.durability.as_str().into());
        put("cpu_us_per_task", self.cpu_per_task.map(|seconds| seconds * 1e6).into());
        put("memory_bytes_per_task", self.memory_per_task.into());
        put("journal", self.journal.object());
        if let Some(accepting) = self.accepting {
            put("accepting_seconds", accepting.as_secs_f64().into());
        }
        if let Some(alone) = &self.alone {
            put("alone_us", percentiles(&alone.settled));
        }
        if let Some(alone) = &self.alone_loaded {
            put("alone_loaded_us", percentiles(&alone.settled));
        }
        if let Some(beside) = &self.beside {
            let p99 = |figures: &Figures| figures.settled.value_at_quantile(0.99) as f64;
            put("beside_us", percentiles(&beside.settled));
            put("beside_to_itself_p99", (p99(beside) / p99(&self.figures).max(1.0)).into());
        }
        if let Some(bare) = bare {
            let ratios = self.ratios(bare);
            put("bare", bare.object());
            put("to_bare", Value::Object(ratios));
        }
        object
    }

    /// Every figure as a ratio to the bare library's.
    fn ratios(&self, bare: &Bare) -> Map<String, Value> {
        let mut ratios = Map::new();
        let mut put = |name: &str, value: f64| ratios.insert(name.to_owned(), value.into());
        put("throughput", self.figures.per_second() / bare.messages_per_second);
        if let (Some(own), Some(bare)) = (self.cpu_per_task, bare.cpu_per_message) {
            put("cpu", own / bare.max(f64::EPSILON));
        }
        if let Some(alone) = &self.alone {
            for (name, at) in [("alone_p50", 0.5), ("alone_p99", 0.99)] {
                let bare = bare.alone.value_at_quantile(at).max(1) as f64;
                put(name, alone.settled.value_at_quantile(at) as f64 / bare);
            }
        }
        ratios
    }

    fn print(
        &self,
        context: &mut Context,
        args: &BenchArgs,
        object: &Map<String, Value>,
    ) -> Result<(), Exit> {
        context.output.line(&format!("durability {}", self.durability.as_str()))?;
        let what = match self.accepting {
            Some(accepting) => {
                let per_second = f64::from(args.tasks) / accepting.as_secs_f64();
                let line = format!("{} tasks queued: {per_second:.0} tasks/s", args.tasks);
                context.output.line(&line)?;
                format!("{} queued tasks of kind {}", args.tasks, args.load().kind)
            }
            None => format!("{} tasks of kind {}", args.tasks, args.load().kind),
        };
        self.figures.print(context, &what)?;
        let histograms = [
            ("one at a time", &self.alone),
            ("beside half of it", &self.alone_loaded),
            ("beside a flood", &self.beside),
        ];
        for (name, figures) in histograms {
            if let Some(figures) = figures {
                print_latencies(context, &[(name, &figures.settled)])?;
            }
        }
        if let Some(seconds) = self.cpu_per_task {
            context
                .output
                .line(&format!("{:.2} µs of processor time a task, all processes", seconds * 1e6))?;
        }
        if let Some(bytes) = self.memory_per_task {
            context.output.line(&format!("{bytes:.0} bytes of broker memory a queued task"))?;
        }
        if self.durability == Durability::Journal {
            context.output.line(&self.journal.text(u64::from(args.tasks)))?;
        }
        if let Some(Value::Object(ratios)) = object.get("to_bare") {
            let ratio = |(name, value): (&String, &Value)| {
                format!("{name} {:.2}", value.as_f64().unwrap_or_default())
            };
            let line = ratios.iter().map(ratio).collect::<Vec<_>>().join(", ");
            context.output.line(&format!("to the bare relay: {line}"))?;
        }
        Ok(())
    }
}

/// The middle of what repeated runs have shown.
#[derive(Default)]
struct Medians(BTreeMap<(&'static str, String), Vec<f64>>);

impl Medians {
    fn note(&mut self, durability: Durability, object: &Map<String, Value>) {
        let mut note = |name: String, value: &Value| {
            if let Some(value) = value.as_f64() {
                self.0.entry((durability.as_str(), name)).or_default().push(value);
            }
        };
        for name in ["tasks_per_second", "cpu_us_per_task", "memory_bytes_per_task", "beside_to_itself_p99"] {
            object.get(name).into_iter().for_each(|value| note(name.to_owned(), value));
        }
        for part in ["to_bare", "accepted_us", "settled_us", "alone_us", "alone_loaded_us"] {
            let values = object.get(part).and_then(Value::as_object).into_iter().flatten();
            values.for_each(|(name, value)| note(format!("{part}.{name}"), value));
        }
    }

    fn tell(self, context: &mut Context, repeats: u32) -> Result<(), Exit> {
        let mut all = Map::new();
        for ((durability, name), mut values) in self.0 {
            values.sort_unstable_by(f64::total_cmp);
            let median = values[values.len() / 2];
            let (least, most) = (values[0], values[values.len() - 1]);
            match context.output.is_json() {
                true => drop(all.insert(format!("{durability}.{name}"), median.into())),
                false => context.output.line(&format!(
                    "median of {repeats}: {durability} {name} {median:.2} ({least:.2} to {most:.2})"
                ))?,
            }
        }
        match context.output.is_json() {
            true => context.output.json(&json!({ "medians": all, "of": repeats })),
            false => Ok(()),
        }
    }
}
