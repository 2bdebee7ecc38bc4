//! `bench`: how fast a broker and its workers are.
//!
//! - `load`: what a client hands in and what comes back; `durations`: how long its tasks run.
//! - `figures`: what a run has shown; `usage`: what its processes took of the machine.
//! - `own`: brokers and workers that are started to be measured. `flood`: somebody else's load beside it.
//!   `bare`: the library without any broker.
//! - `plot`: figures as drawings.

mod bare;
mod durations;
mod figures;
mod flood;
mod load;
mod own;
mod plot;
mod usage;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use ganger_common::limits::{PAYLOAD_BYTES_MAX, WORKER_SLOTS_MAX};
use ganger_common::message::Durability;
use serde_json::Value;

use self::durations::Durations;
use self::load::{Load, Run};
use super::context::Context;
use super::exit::Exit;
use super::progress;

pub(crate) use self::bare::{BareArgs, part as bare_part};

/// Measure throughput and latency against a running broker and its workers, or against a broker and workers
/// that are started for it (with --durability).
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,
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
    #[arg(long, value_name = "KIND", default_value = "noop", conflicts_with = "runs")]
    kind: String,
    /// How long each task runs, by the built-in kind `sleep`: 1ms, exp:1ms (mean of an exponential
    /// distribution) or mixed:100us,10ms (nine in ten and one in ten).
    #[arg(long, value_name = "TIMES", conflicts_with = "payload")]
    runs: Option<Durations>,
    /// Measure a broker and workers that are started for it, with this durability, or with both, one after
    /// the other, to compare them.
    #[arg(long, value_name = "LEVEL")]
    durability: Option<Level>,
    /// Where such a broker writes its journal, in a directory that is removed afterwards.
    #[arg(long, value_name = "DIR", default_value = ".", requires = "durability")]
    data: PathBuf,
    /// How many workers are started, each a process.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "durability",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    workers: u32,
    /// How many tasks each of them runs at a time. Default: one for each processor.
    #[arg(long, value_name = "NUMBER", requires = "durability",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKER_SLOTS_MAX)))]
    slots: Option<u32>,
    /// Submit everything before the first worker starts: what a queued task takes, and how fast a deep
    /// queue is worked off.
    #[arg(long, requires = "durability", conflicts_with = "noisy")]
    backlog: bool,
    /// Measure a second time while another client keeps so many tasks queued, and compare.
    #[arg(long, value_name = "NUMBER", requires = "durability", value_parser = clap::value_parser!(u32).range(1..))]
    noisy: Option<u32>,
    /// In the same run, measure the bare ZeroMQ library without any broker, one message a task, and print
    /// figures as ratios to it.
    #[arg(long, requires = "durability")]
    baseline: bool,
    /// Do all of it so many times, and print the medians at the end.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "durability",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    repeat: u32,
}

/// What to do with figures.
#[derive(Subcommand, Clone, Debug)]
enum BenchCommand {
    /// Draw throughput from files that --json has written, as SVG.
    Plot(plot::PlotArgs),
}

/// What is to be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Level {
    Memory,
    Journal,
    Both,
}

impl Level {
    fn levels(self) -> &'static [Durability] {
        match self {
            Self::Memory => &[Durability::Memory],
            Self::Journal => &[Durability::Journal],
            Self::Both => &[Durability::Memory, Durability::Journal],
        }
    }
}

impl BenchArgs {
    fn load(&self) -> Load {
        Load {
            kind: if self.runs.is_some() { "sleep".to_owned() } else { self.kind.clone() },
            tasks: self.tasks,
            payload: self.payload as usize,
            durations: self.runs,
            window: if self.backlog { self.tasks } else { self.window } as usize,
            batch: self.batch,
            rate: None,
        }
    }

    /// What was asked for, as it stands in JSON.
    fn asked(&self, workers: u32) -> Vec<(&'static str, Value)> {
        vec![
            ("kind", self.load().kind.into()),
            ("tasks", self.tasks.into()),
            ("payload", self.payload.into()),
            ("window", self.window.into()),
            ("batch", self.batch.into()),
            ("workers", workers.into()),
            ("backlog", self.backlog.into()),
        ]
    }
}

pub(crate) async fn run(context: &mut Context, args: BenchArgs) -> Result<(), Exit> {
    match (&args.command, args.durability) {
        (Some(BenchCommand::Plot(plot)), _) => plot::run(context, plot),
        (None, None) => run_on_broker(context, &args).await,
        (None, Some(level)) => tokio::select! {
            done = own::run(context, &args, level.levels()) => done,
            // Whoever is stopped like this still ends what was started.
            stopped = stopped() => Err(stopped),
        },
    }
}

/// Waits until somebody wants the end.
async fn stopped() -> Exit {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            Exit::Failed("stopped before the end".to_owned())
        }
        // Without signals nobody can ask.
        _ => std::future::pending().await,
    }
}

async fn run_on_broker(context: &mut Context, args: &BenchArgs) -> Result<(), Exit> {
    let window = args.window as usize;
    let client = context.client_with(|config| config.window_tasks = config.window_tasks.max(window)).await?;
    let status = context.answer(client.status()).await?;
    let load = args.load();
    let serving = status.kinds.iter().find(|kind| kind.kind == load.kind).map_or(0, |kind| kind.workers);
    if serving == 0 {
        let kind = &load.kind;
        context.output.hint(&format!("no connected worker serves {kind}: nothing ends until one comes"));
    }
    let bar = progress::bar(&context.output, Some(u64::from(load.tasks)));
    let what = format!("{} tasks of kind {}", load.tasks, load.kind);
    let figures = Run::start(&client, load)?.finish(&bar).await?;
    bar.finish_and_clear();
    if context.output.is_json() {
        let mut object = figures.object();
        object.extend(args.asked(status.workers).into_iter().map(|(name, value)| (name.to_owned(), value)));
        return context.output.json(&object);
    }
    figures.print(context, &what)
}
