//! Flags, environment and what they mean.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use ganger_common::limits::WORKER_SLOTS_MAX;
use ganger_transport::Endpoint;
use ganger_transport::door::{ClientKeys, KeyError, PublicKey};
use ganger_worker::otlp::SpansTo;
use ganger_worker::{DEFAULT_BROKER, builtin};

/// Most workers in one process.
const INSTANCES_MAX: u32 = 10_000;

/// Runs tasks for a Ganger broker.
///
/// Serves the built-in kinds, and kinds that run programs of this machine as a file says. SIGTERM or
/// SIGINT drains: what has not started is handed back, what runs may finish until the deadline. A second
/// one stops at once.
#[derive(Parser, Clone, Debug)]
#[command(name = "ganger-worker", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// The broker's endpoint for workers.
    #[arg(long, env = "GANGER_WORKERS", default_value = DEFAULT_BROKER, value_name = "ENDPOINT")]
    pub(crate) broker: Endpoint,

    /// The broker's endpoint for knowledge [default: what the broker says, on the broker's host]
    #[arg(long, env = "GANGER_KNOWLEDGE", value_name = "ENDPOINT")]
    pub(crate) knowledge: Option<Endpoint>,

    /// The file with the secret key of this worker, for a broker that asks for one (see ganger keygen)
    #[arg(long, env = "GANGER_SECRET_KEY", value_name = "FILE", requires = "broker_key")]
    pub(crate) secret_key: Option<PathBuf>,

    /// The public key of the broker, without which nobody is trusted
    #[arg(long, env = "GANGER_BROKER_KEY", value_name = "KEY", requires = "secret_key")]
    pub(crate) broker_key: Option<PublicKey>,

    /// Where spans go that belong to a sampled trace: an OpenTelemetry collector over HTTP, as in
    /// http://127.0.0.1:4318
    #[arg(long, env = "GANGER_OTLP", default_value = "none", value_name = "URL")]
    pub(crate) otlp: SpansTo,

    /// A label for people [default: the name of the host]
    #[arg(long, env = "GANGER_NAME")]
    pub(crate) name: Option<String>,

    /// How many tasks run at a time [default: one for each processor]
    #[arg(long, env = "GANGER_SLOTS", value_name = "COUNT", value_parser = slots)]
    pub(crate) slots: Option<u32>,

    /// The built-in kinds to serve, separated by commas; "none" for none of them.
    #[arg(long, env = "GANGER_KINDS", value_name = "KINDS", value_delimiter = ',', value_parser = kind)]
    #[arg(default_values = builtin::KINDS)]
    pub(crate) kinds: Vec<String>,

    /// A file with kinds that run programs.
    #[arg(long, env = "GANGER_EXEC", value_name = "FILE.toml")]
    pub(crate) exec: Option<PathBuf>,

    /// How long running tasks may go on when the worker is asked to stop.
    #[arg(long, env = "GANGER_DRAIN_DEADLINE", default_value = "30s", value_name = "TIME")]
    #[arg(value_parser = time)]
    pub(crate) drain_deadline: Duration,

    /// What is logged: a level, or levels by module, such as "info,ganger_worker=debug".
    #[arg(long, env = "GANGER_LOG", default_value = "info,zeromq=warn", value_name = "FILTER")]
    pub(crate) log: String,

    /// How logs are written, to standard error.
    #[arg(long, env = "GANGER_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,

    /// Runs this many workers in one process, each with a session and slots of its own.
    #[arg(long, env = "GANGER_INSTANCES", default_value = "1", value_name = "COUNT")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(INSTANCES_MAX)))]
    pub(crate) instances: u32,
}

/// How logs are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  left in order: everything was finished or handed back, and the broker knows
  1  could not start, or the broker refused the worker for good
  2  a flag, a variable or the file of programs is wrong
  3  left with something that the broker was not told; it will run those tasks again";

impl Args {
    /// Reads flags and environment. What is wrong is told in one line, with exit code 2.
    pub(crate) fn read() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            if !error.use_stderr() {
                error.exit();
            }
            let text = error.to_string();
            let lines = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
            eprintln!("{}", lines.collect::<Vec<_>>().join(" "));
            std::process::exit(2)
        })
    }

    /// The keys of the connection, if it is to be encrypted.
    pub(crate) fn keys(&self) -> Result<Option<ClientKeys>, KeyError> {
        match (&self.secret_key, self.broker_key) {
            (Some(secret), Some(broker)) => ClientKeys::load(secret, broker).map(Some),
            _ => Ok(None),
        }
    }

    /// The built-in kinds to serve.
    pub(crate) fn builtin_kinds(&self) -> impl Iterator<Item = &str> {
        let mut seen = std::collections::BTreeSet::new();
        self.kinds.iter().map(String::as_str).filter(move |kind| *kind != "none" && seen.insert(*kind))
    }
}

fn slots(text: &str) -> Result<u32, String> {
    let slots = text.parse().ok().filter(|slots| (1..=WORKER_SLOTS_MAX).contains(slots));
    slots.ok_or_else(|| format!("allowed is 1 to {WORKER_SLOTS_MAX}"))
}

fn kind(text: &str) -> Result<String, String> {
    match text == "none" || builtin::KINDS.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("allowed are {} and none", builtin::KINDS.join(", "))),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; allowed is a time such as 30s or 5m"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let args = Args::try_parse_from(["ganger-worker"]).unwrap();
        assert_eq!(args.broker.to_string(), DEFAULT_BROKER);
        assert_eq!(args.drain_deadline, ganger_worker::session::DRAIN_DEADLINE);
        assert_eq!(args.builtin_kinds().collect::<Vec<_>>(), builtin::KINDS);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (flags, expected) in [
            (["--slots", "0"], "1 to 4096"),
            (["--slots", "many"], "--slots"),
            (["--kinds", "noop,nope"], "wordcount"),
            (["--broker", "udp://x"], "tcp://"),
            (["--drain-deadline", "soon"], "30s"),
            (["--log-format", "xml"], "json"),
            (["--instances", "0"], "1..=10000"),
            (["--otlp", "https://collector"], "http://127.0.0.1:4318"),
        ] {
            let error = Args::try_parse_from(["ganger-worker"].into_iter().chain(flags)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
