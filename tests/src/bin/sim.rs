//! `cargo sim`: the whole system under thousands of seeds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Parser;
use ganger_tests::sim::runner::{Pace, Total, known_seeds, run_all};
use ganger_tests::sim::{Profile, run};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

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
    /// Go on after a failure, and list all of them at the end.
    #[arg(long)]
    all_failures: bool,
    /// Leave out the seeds that once failed.
    #[arg(long)]
    no_known: bool,
    /// Print the figures as one line of JSON. Those of several parts can be added up.
    #[arg(long)]
    json: bool,
    /// Run nothing: add up what parts have printed with `--json`, a line each.
    #[arg(long, num_args = 1.., value_name = "FILE", conflicts_with_all = ["seed", "seeds", "from", "profile"])]
    add: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // What a run panics with is part of its verdict; the usual message would only stand in between.
    std::panic::set_hook(Box::new(|_| {}));
    match args.seed {
        _ if !args.add.is_empty() => add_up(&args.add),
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
    let begun = Instant::now();
    let one = run(seed, profile);
    let took = begun.elapsed();
    if args.trace {
        let mut out = std::io::stdout().lock();
        for entry in one.log.entries() {
            // Whoever reads may have had enough.
            if writeln!(out, "{entry}").is_err() {
                return ExitCode::FAILURE;
            }
        }
    }
    let mut total = Total::default();
    total.add(one, took);
    println!("{}", figures(&total, None, args.json));
    for failure in total.failed.values().flatten() {
        println!("FAILED {profile} {seed}: {failure}");
    }
    if total.failures() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Set when somebody wants it to end: the runs that have begun come to their end, and the figures are
/// printed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Listens for the wish to end. Whoever says it twice does not want to wait for the figures.
fn listen() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if INTERRUPTED.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    });
    Ok(())
}

fn many(args: &Args) -> ExitCode {
    let mut known = Vec::new();
    if !args.no_known {
        match known_seeds(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/sim-seeds.txt"))) {
            Ok(seeds) => known = seeds,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        }
    }
    if let Err(error) = listen() {
        eprintln!("signals cannot be heard: {error}");
        return ExitCode::from(2);
    }
    let end = args.from.saturating_add(args.seeds);
    let story = |number: usize| match known.get(number) {
        Some(story) => Some(*story),
        None => {
            let seed = args.from.saturating_add((number - known.len()) as u64);
            (seed < end).then(|| (args.profile.unwrap_or_else(|| profile_of(seed)), seed))
        }
    };
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let bar = bar(known.len() as u64 + (end - args.from));
    let begun = Instant::now();
    let total = run_all(story, threads, |one| {
        bar.inc(1);
        if !one.failures.is_empty() {
            bar.suspend(|| eprintln!("FAILED {} {}: {}", one.profile, one.seed, one.failures[0]));
        }
        let goes_on = (one.failures.is_empty() || args.all_failures) && !INTERRUPTED.load(Ordering::Relaxed);
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    bar.finish_and_clear();
    let took = begun.elapsed();
    println!("{}", figures(&total, Some(took.as_secs_f64()), args.json));
    // Runs are begun in the order of their numbers, and whatever was begun was finished.
    let next = (args.from + total.runs.saturating_sub(known.len() as u64)).min(end);
    if next < end {
        eprintln!("broken off: go on with --from {next} --seeds {}", end - next);
    }
    if !args.json {
        tell_failures(&total);
    }
    if total.failures() == 0 && next == end { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell_failures(total: &Total) {
    for ((profile, seed), failures) in &total.failed {
        for failure in failures {
            println!("FAILED {profile} {seed}: {failure}");
        }
        println!("  replay: cargo sim --profile {profile} --seed {seed} --trace");
    }
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
        let profiles = total.profiles.iter().map(|(profile, pace)| (profile.to_string(), json_of(pace)));
        let failing = total.failed.iter();
        let failing = failing.map(|((profile, seed), texts)| (format!("{profile} {seed}"), texts));
        return serde_json::json!({
            "runs": total.runs, "failed": total.failures(), "seconds": seconds, "seeds_per_second": per_second,
            "events": it.happenings, "simulated_seconds": it.simulated_us / 1_000_000, "turns": it.turns,
            "records": it.records, "trims": it.trims, "appends_refused": it.appends_refused,
            "storage_refusals": it.storage_refusals, "turns_behind": it.turns_behind,
            "log_entries": it.entries, "broker_lives": it.lives,
            "tasks": it.tasks, "acknowledged": it.acknowledged, "executions": it.runs, "stale_reports": it.stale,
            "settled": settled.collect::<BTreeMap<_, _>>(),
            "extra_executions": extra.collect::<BTreeMap<_, _>>(),
            "faults": faults.collect::<BTreeMap<_, _>>(),
            "profiles": profiles.collect::<BTreeMap<_, _>>(),
            "failing": failing.collect::<BTreeMap<_, _>>(),
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
        format!("runs        {}, {} failed{speed}", total.runs, total.failures()),
        format!(
            "happened    {} events in {simulated} simulated seconds, {} lives of brokers, {} trims of journals",
            it.happenings, it.lives, it.trims
        ),
        format!("tasks       {}, {} acknowledged, {} executions", it.tasks, it.acknowledged, it.runs),
        format!("settled     {}", list(&mut settled.into_iter())),
        format!("ran again   {}", list(&mut extra.into_iter())),
        format!("too late    {} reports", it.stale),
        format!(
            "the disk    had no room for {} batches, for which {} submissions were refused; behind in {} turns",
            it.appends_refused, it.storage_refusals, it.turns_behind
        ),
        format!("faults      {}{}", list(&mut faults.into_iter()), paces(total).unwrap_or_default()),
    ]
    .join("\n")
}

fn json_of(pace: &Pace) -> Value {
    serde_json::json!({ "runs": pace.runs, "failed": pace.failed, "seconds": pace.took.as_secs_f64() })
}

/// What a run of each profile takes, and the slowest of all. Left out for one run alone, of which everything
/// that is printed is the same each time.
fn paces(total: &Total) -> Option<String> {
    let (took, (profile, seed)) = total.slowest.filter(|_| total.runs > 1)?;
    let slowest = format!("slowest {profile} {seed} with {:.0} ms", took.as_secs_f64() * 1_000.0);
    let mut text = "\nprofiles    ".to_owned();
    for (profile, pace) in &total.profiles {
        let each = pace.took.as_secs_f64() * 1_000.0 / pace.runs as f64;
        let _ = write!(text, "{profile} {} of {each:.1} ms, ", pace.runs);
    }
    Some(text + &slowest)
}

/// Prints the sum of what several parts have printed.
fn add_up(files: &[PathBuf]) -> ExitCode {
    let mut sum = Value::Null;
    for file in files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                return ExitCode::from(2);
            }
        };
        for line in text.lines().filter(|line| !line.is_empty()) {
            match serde_json::from_str(line) {
                Ok(part) => add_value(&mut sum, part),
                Err(error) => {
                    eprintln!("{}: not a line of --json: {error}", file.display());
                    return ExitCode::from(2);
                }
            }
        }
    }
    // The only figure that is no sum.
    sum["seeds_per_second"] = match (sum["runs"].as_f64(), sum["seconds"].as_f64()) {
        (Some(runs), Some(seconds)) if seconds > 0.0 => (runs / seconds).into(),
        _ => Value::Null,
    };
    println!("{sum}");
    if sum["failed"] == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn add_value(sum: &mut Value, part: Value) {
    match (sum, part) {
        (Value::Object(sum), Value::Object(part)) => {
            for (name, value) in part {
                add_value(sum.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Number(sum), Value::Number(part)) => match (sum.as_u64(), part.as_u64()) {
            (Some(one), Some(other)) => *sum = (one + other).into(),
            _ => {
                let both = sum.as_f64().unwrap_or_default() + part.as_f64().unwrap_or_default();
                *sum = serde_json::Number::from_f64(both).unwrap_or_else(|| 0.into());
            }
        },
        // A part that was not measured, or the texts of a seed that failed in both.
        (sum, part) => *sum = part,
    }
}
