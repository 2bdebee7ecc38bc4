//! `cargo sim`: the whole system under thousands of seeds.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use ganger_tests::sim::runner::{Story, Total, known_seeds, run_all};
use ganger_tests::sim::{Profile, Run, run};
use indicatif::{ProgressBar, ProgressStyle};

/// Runs the whole system in one thread, under seeds and with faults, and holds what happened against what
/// was promised.
#[derive(Debug, Parser)]
#[command(name = "cargo sim", version)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// What goes wrong: calm, workers, network, broker, disk, clock, overload, knowledge, memory or all.
    /// Unless it is given, the seeds go round through all profiles.
    #[arg(long)]
    profile: Option<Profile>,
    /// How many run at a time. As many as there are processors unless it is given.
    #[arg(long)]
    threads: Option<usize>,
    /// One seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Print what happens, one line an event.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Go on after a failure.
    #[arg(long)]
    all_failures: bool,
    /// Leave out the seeds that once failed.
    #[arg(long)]
    no_known: bool,
    /// Print the figures as one line of JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // What a run panics with is part of its verdict; the usual message would only stand in between.
    std::panic::set_hook(Box::new(|_| {}));
    match args.seed {
        Some(seed) => one(seed, &args),
        None => many(&args),
    }
}

/// The profile that a seed has when nobody says another.
fn profile_of(seed: u64) -> Profile {
    // Every second one is of everything.
    match seed % 2 {
        0 => Profile::All,
        _ => Profile::ALL[(seed / 2 % (Profile::ALL.len() as u64 - 1)) as usize],
    }
}

fn one(seed: u64, args: &Args) -> ExitCode {
    let profile = args.profile.unwrap_or_else(|| profile_of(seed));
    let one = run(seed, profile);
    if args.trace {
        let mut out = std::io::stdout().lock();
        for entry in one.log.entries() {
            // Whoever reads may have had enough.
            if writeln!(out, "{entry}").is_err() {
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{}", figures(&total_of(&one), None, args.json));
    for failure in &one.failures {
        println!("FAILED {profile} {seed}: {failure}");
    }
    if one.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn total_of(one: &Run) -> Total {
    let failures = u64::from(!one.failures.is_empty());
    Total { runs: 1, figures: one.figures.clone(), failures, ..Total::default() }
}

fn many(args: &Args) -> ExitCode {
    let mut stories: Vec<Story> = Vec::new();
    if !args.no_known {
        match known_seeds(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/sim-seeds.txt"))) {
            Ok(known) => stories.extend(known),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        }
    }
    let seeds = args.from..args.from.saturating_add(args.seeds);
    stories.extend(seeds.map(|seed| (args.profile.unwrap_or_else(|| profile_of(seed)), seed)));
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let bar = bar(stories.len() as u64);
    let begun = Instant::now();
    let total = run_all(&stories, threads, args.all_failures, &|_: &Run| bar.inc(1));
    bar.finish_and_clear();
    println!("{}", figures(&total, Some(begun.elapsed().as_secs_f64()), args.json));
    for ((profile, seed), failures) in &total.failed {
        for failure in failures {
            println!("FAILED {profile} {seed}: {failure}");
        }
        println!("  replay: cargo sim --profile {profile} --seed {seed} --trace");
    }
    if total.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn bar(length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn figures(total: &Total, seconds: Option<f64>, json: bool) -> String {
    let it = &total.figures;
    let faults = it.faults.iter().map(|(fault, count)| (format!("{fault:?}"), *count));
    let settled = it.settled.iter().map(|(outcome, count)| (outcome.to_string(), *count));
    let extra = it.extra.iter().map(|(cause, count)| ((*cause).to_owned(), *count));
    let per_second = seconds.map(|seconds| total.runs as f64 / seconds.max(1e-9));
    if json {
        return serde_json::json!({
            "runs": total.runs, "failed": total.failures, "seconds": seconds, "seeds_per_second": per_second,
            "events": it.happenings, "simulated_seconds": it.simulated_us / 1_000_000, "turns": it.turns,
            "records": it.records, "trims": it.trims, "log_entries": it.entries, "broker_lives": it.lives,
            "tasks": it.tasks, "acknowledged": it.acknowledged, "executions": it.runs, "stale_reports": it.stale,
            "settled": settled.collect::<std::collections::BTreeMap<_, _>>(),
            "extra_executions": extra.collect::<std::collections::BTreeMap<_, _>>(),
            "faults": faults.collect::<std::collections::BTreeMap<_, _>>(),
        })
        .to_string();
    }
    let list = |items: &mut dyn Iterator<Item = (String, u64)>| {
        let mut text = String::new();
        for (name, count) in items {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{name} {count}");
        }
        if text.is_empty() { "none".to_owned() } else { text }
    };
    let speed = match (seconds, per_second) {
        (Some(seconds), Some(rate)) => format!(" in {seconds:.1} s, {rate:.1} seeds a second"),
        _ => String::new(),
    };
    let simulated = it.simulated_us / 1_000_000;
    [
        format!("runs        {}, {} failed{speed}", total.runs, total.failures),
        format!(
            "happened    {} events in {simulated} simulated seconds, {} lives of brokers, {} trims of journals",
            it.happenings, it.lives, it.trims
        ),
        format!("tasks       {}, {} acknowledged, {} executions", it.tasks, it.acknowledged, it.runs),
        format!("settled     {}", list(&mut settled.into_iter())),
        format!("ran again   {}", list(&mut extra.into_iter())),
        format!("too late    {} reports", it.stale),
        format!("faults      {}", list(&mut faults.into_iter())),
    ]
    .join("\n")
}
