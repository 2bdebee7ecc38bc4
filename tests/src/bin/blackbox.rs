//! Runs the whole system as real processes, with faults, and judges it by a log of its own.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ganger_tests::blackbox::{self, Durability, Moment, Profile, Report, Settings};
use ganger_tests::dice::Dice;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Without a terminal, a line is printed this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Starts a broker, workers and clients with a proxy on every way between them, lets a profile of faults
/// happen while tasks run, ends the faults, and checks that everything that was acknowledged settled exactly
/// once. Exit code 1 when it did not, or when a fault did not happen.
#[derive(Debug, Parser)]
#[command(name = "blackbox", disable_help_subcommand = true)]
struct Args {
    /// What happens: none, kill, pause, partition, churn, broker
    #[arg(long, default_value = "none")]
    profile: Profile,
    /// How long it goes on
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Go on until the broker was killed so many times [profile broker]
    #[arg(long, default_value_t = 0)]
    kills: u64,
    /// Decides faults and tasks; another one each time unless given
    #[arg(long)]
    seed: Option<u64>,
    /// Where the broker keeps what it acknowledges: memory, journal
    #[arg(long, default_value = "memory")]
    durability: Durability,
    /// Workers at a time
    #[arg(long, default_value_t = Settings::new(Profile::None, Duration::ZERO, 0).workers)]
    workers: usize,
    /// Tasks that a worker runs at a time
    #[arg(long, default_value_t = Settings::new(Profile::None, Duration::ZERO, 0).slots)]
    slots: u32,
    /// Clients at a time
    #[arg(long, default_value_t = Settings::new(Profile::None, Duration::ZERO, 0).clients)]
    clients: usize,
    /// Tasks that a client has under way
    #[arg(long, default_value_t = Settings::new(Profile::None, Duration::ZERO, 0).in_flight)]
    in_flight: usize,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let settings = Settings {
        kills: if args.profile == Profile::Broker { args.kills } else { 0 },
        durability: args.durability,
        workers: args.workers.max(1),
        slots: args.slots.max(1),
        clients: args.clients.max(1),
        in_flight: args.in_flight.max(1),
        ..Settings::new(args.profile, args.time, args.seed.unwrap_or_else(Dice::seed_from_env))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut progress = Progress::new(&settings);
    let running = settings.clone();
    // A run that panics leaves its processes to their destructors, and its seed to whoever reads this.
    let run = runtime.block_on(async {
        let run = async move { blackbox::run(&running, |moment| progress.show(moment)).await };
        tokio::spawn(run).await
    });
    match run {
        Ok(Ok(report)) => Ok(close(&report, args.json)),
        Ok(Err(error)) => {
            eprintln!("the run could not go on: {error:#}\nhave it again: {}", settings.command());
            Ok(ExitCode::FAILURE)
        }
        Err(_) => {
            eprintln!("the run panicked\nhave it again: {}", settings.command());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn close(report: &Report, json: bool) -> ExitCode {
    match (json, serde_json::to_string_pretty(report)) {
        (true, Ok(text)) => println!("{text}"),
        _ => println!("{}", report.table()),
    }
    if report.is_clean() {
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", report.complaint());
    ExitCode::FAILURE
}

/// A bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    time: Duration,
    kills: u64,
    is_terminal: bool,
    told: Duration,
}

impl Progress {
    fn new(settings: &Settings) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let length = if settings.kills > 0 { settings.kills } else { settings.time.as_millis() as u64 };
        let bar = ProgressBar::with_draw_target(Some(length.max(1)), target);
        if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, time: settings.time, kills: settings.kills, is_terminal, told: Duration::ZERO }
    }

    fn show(&mut self, moment: &Moment) {
        let Moment { elapsed, phase, sums, faults, kills } = moment;
        let text =
            format!("{phase}: {} acknowledged, {} settled, {faults} faults", sums.acknowledged, sums.settled);
        let so_far = if self.kills > 0 { *kills } else { elapsed.min(&self.time).as_millis() as u64 };
        if *phase == "judging" {
            self.bar.finish_and_clear();
        } else if self.is_terminal {
            self.bar.set_position(so_far);
            self.bar.set_message(text);
        } else if *elapsed >= self.told + LINE_EVERY {
            self.told = *elapsed;
            eprintln!("{:>4} s  {text}", elapsed.as_secs());
        }
    }
}
