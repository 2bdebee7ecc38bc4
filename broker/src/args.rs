//! What the operator may type, in flags, environment and file, each setting in one place.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use ganger_transport::Endpoint;
use serde::de::{self, Deserialize, Deserializer};

/// A span of time as people write it: `1s`, `250ms`, `1h 30m`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|error| format!("{error}; write a duration such as 1s, 250ms or 2h"))
    }
}

/// A number of bytes as people write it: `64MiB`, `4GiB`, `1000`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size(pub usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match &text[digits.len()..] {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err("write a size such as 64MiB, 4GiB or 1000".to_owned()),
        };
        let number: usize =
            digits.trim().parse().map_err(|_| "write a size such as 64MiB or 4GiB".to_owned())?;
        number
            .checked_shl(shift)
            .filter(|size| size >> shift == number)
            .map(Self)
            .ok_or("too large".to_owned())
    }
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as ValueEnum>::from_str(text, false).map_err(|_| "allowed are text and json".to_owned())
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $ty:ty, $env:literal, $value:literal;)+) => {
        /// One ZeroMQ broker that hands tasks to any number of workers.
        ///
        /// Settings are taken from flags, then from the environment (GANGER_…), then from the file that
        /// --config names, then from the defaults. SIGTERM drains the broker, a second one stops it.
        /// Exit codes: 0 stopped as asked, 1 could not start or go on, 2 a setting is not allowed.
        #[derive(Parser, Clone, Debug, Default)]
        #[command(name = "ganger-broker", version, max_term_width = 100)]
        pub struct Args {
            /// A TOML file with settings, named like the flags.
            #[arg(long, env = "GANGER_CONFIG", value_name = "FILE")]
            pub config: Option<PathBuf>,
            /// Listen beyond this machine although nothing is encrypted and nobody is checked.
            #[arg(long)]
            pub insecure: bool,
            $($(#[doc = $doc])+ #[arg(long, env = $env, value_name = $value)] pub $name: Option<$ty>,)+
        }

        /// The same settings in a file.
        #[derive(serde::Deserialize, Clone, Debug, Default)]
        #[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
        struct File {
            insecure: bool,
            $(#[serde(deserialize_with = "setting")] $name: Option<$ty>,)+
        }

        impl Args {
            /// What was not typed is taken from the file.
            fn or(self, file: File) -> Self {
                Self {
                    config: self.config,
                    insecure: self.insecure || file.insecure,
                    $($name: self.$name.or(file.$name),)+
                }
            }
        }
    };
}

settings! {
    /// Where clients connect; port 0 chooses a free one [default: tcp://127.0.0.1:7710]
    clients: Endpoint, "GANGER_CLIENTS", "ENDPOINT";
    /// Where workers connect [default: tcp://127.0.0.1:7711]
    workers: Endpoint, "GANGER_WORKERS", "ENDPOINT";
    /// Where knowledge and broadcasts are published [default: tcp://127.0.0.1:7712]
    knowledge: Endpoint, "GANGER_KNOWLEDGE", "ENDPOINT";
    /// How often peers say that they live; shorter finds dead ones sooner and costs messages [default: 1s]
    heartbeat: Span, "GANGER_HEARTBEAT", "DURATION";
    /// A peer is dead after this many silent heartbeats [default: 3]
    liveness: u32, "GANGER_LIVENESS", "COUNT";
    /// How long a worker whose connection broke may take to come back [default: 2s]
    grace: Span, "GANGER_GRACE", "DURATION";
    /// How long a drain lets running tasks go on [default: 30s]
    drain_deadline: Span, "GANGER_DRAIN_DEADLINE", "DURATION";
    /// Tries of a task that fails or times out, unless the task says otherwise [default: 3]
    max_attempts: u32, "GANGER_MAX_ATTEMPTS", "COUNT";
    /// Workers that may die under a task, unless the task says otherwise [default: 3]
    crash_limit: u32, "GANGER_CRASH_LIMIT", "COUNT";
    /// First pause after a failure; it doubles with each further one [default: 1s]
    backoff: Span, "GANGER_BACKOFF", "DURATION";
    /// Longest pause after a failure [default: 10m]
    backoff_max: Span, "GANGER_BACKOFF_MAX", "DURATION";
    /// Tasks without an outcome; more are answered with busy [default: 10000000]
    queue_tasks: usize, "GANGER_QUEUE_TASKS", "COUNT";
    /// Payload bytes of tasks without an outcome; more are answered with busy [default: 4GiB]
    queue_bytes: Size, "GANGER_QUEUE_BYTES", "SIZE";
    /// How long an outcome is kept [default: 1h]
    retain: Span, "GANGER_RETAIN", "DURATION";
    /// Memory for outcomes that are kept; the oldest leave first [default: 512MiB]
    retain_bytes: Size, "GANGER_RETAIN_BYTES", "SIZE";
    /// Failed and dead tasks that are kept for a retry; the oldest leave first [default: 100000]
    dead_set: usize, "GANGER_DEAD_SET", "COUNT";
    /// Payload bytes of the dead set [default: 1GiB]
    dead_set_bytes: Size, "GANGER_DEAD_SET_BYTES", "SIZE";
    /// Workers at a time [default: 20000]
    workers_max: usize, "GANGER_WORKERS_MAX", "COUNT";
    /// Clients at a time [default: 20000]
    clients_max: usize, "GANGER_CLIENTS_MAX", "COUNT";
    /// Tasks that may wait at a worker beside those that run there [default: 4096]
    credit_max: u32, "GANGER_CREDIT_MAX", "COUNT";
    /// Outcomes sent to a client and not confirmed [default: 16384]
    client_window: usize, "GANGER_CLIENT_WINDOW", "COUNT";
    /// Outcomes that may wait for a client; above it, its submissions are answered with busy [default: 1000000]
    client_backlog: usize, "GANGER_CLIENT_BACKLOG", "COUNT";
    /// Memory for the knowledge map [default: 1GiB]
    knowledge_bytes: Size, "GANGER_KNOWLEDGE_BYTES", "SIZE";
    /// What is logged, by level or by module, as in info,ganger_broker=debug [default: info]
    log: String, "GANGER_LOG", "FILTER";
    /// How log lines look: text or json [default: text]
    log_format: LogFormat, "GANGER_LOG_FORMAT", "FORMAT";
}

/// Reads any setting from a TOML string or number by way of its text.
fn setting<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T::Err: std::fmt::Display,
{
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Text {
        Word(String),
        Number(u64),
    }
    let text = match Text::deserialize(deserializer)? {
        Text::Word(text) => text,
        Text::Number(number) => number.to_string(),
    };
    text.parse().map(Some).map_err(|error: T::Err| de::Error::custom(error))
}

/// Joins the settings of flags and environment with those of the file.
///
/// # Errors
/// One line that names the file, and the line in it.
pub(crate) fn with_file(args: Args) -> Result<Args, String> {
    let Some(path) = args.config.clone() else { return Ok(args) };
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(args.or(parse_file(&path, &text)?))
}

fn parse_file(path: &Path, text: &str) -> Result<File, String> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        let reason = error.message().replace('\n', "; ");
        format!("{}:{line}: {reason}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_are_read_as_people_write_them() {
        assert_eq!("64MiB".parse::<Size>(), Ok(Size(64 << 20)));
        assert_eq!("1000".parse::<Size>(), Ok(Size(1000)));
        assert!("64MB".parse::<Size>().is_err() && "".parse::<Size>().is_err());
        assert!("99999999999999999999GiB".parse::<Size>().is_err());
        assert_eq!("1s 500ms".parse::<Span>(), Ok(Span(Duration::from_millis(1500))));
    }

    #[test]
    fn a_bad_file_is_refused_by_line() {
        let error = parse_file(Path::new("g.toml"), "liveness = 3\nheart-beat = '1s'\n").unwrap_err();
        assert!(error.starts_with("g.toml:2: ") && error.contains("heart-beat"), "{error}");
        let error = parse_file(Path::new("g.toml"), "\nheartbeat = 'soon'\n").unwrap_err();
        assert!(error.starts_with("g.toml:2: ") && error.lines().count() == 1, "{error}");
    }

    #[test]
    fn flags_win_over_the_file() {
        let file =
            parse_file(Path::new("g.toml"), "liveness = 5\ngrace = '1s'\nqueue-bytes = '1MiB'").unwrap();
        let args = Args { liveness: Some(4), ..Args::default() }.or(file);
        assert_eq!((args.liveness, args.grace), (Some(4), Some(Span(Duration::from_secs(1)))));
        assert_eq!(args.queue_bytes, Some(Size(1 << 20)));
    }
}
