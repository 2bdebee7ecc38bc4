//! What the operator may set: one table, of which flags, environment variables and the keys of the file
//! are made.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use ganger_common::message::Durability;
use ganger_otlp::SpansTo;
use ganger_transport::Endpoint;

use crate::settings::{Given, Origin, parse};
use crate::values::{
    HttpAt, LogFormat, collector, count, durability, endpoint, file, filter, http, log_format, path, size,
    span, switch,
};

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $ty:ty = $read:expr, $value:literal, $env:literal, $default:literal;)+) => {
        /// Leads any number of workers: takes tasks from clients, hands them out, returns the results.
        ///
        /// A setting is taken from its flag; without one from its environment variable; without that from
        /// the file that --config names; else it has its default. SIGTERM or Ctrl-C drains the broker, a
        /// second one stops it at once. Exit codes: 0 ended as asked, 1 could not start or go on, 2 a
        /// setting is not allowed, 3 the journal has failed or is damaged.
        #[derive(Parser, Clone, Debug, Default)]
        #[command(name = "ganger-broker", version, max_term_width = 100)]
        pub struct Args {
            /// A TOML file with settings, named like the flags [env: GANGER_CONFIG]
            #[arg(long, value_name = "FILE")]
            pub config: Option<PathBuf>,
            /// Let other machines connect although nothing is encrypted and nobody is checked [env:
            /// GANGER_INSECURE]
            #[arg(long)]
            pub insecure: bool,
            /// Go on although acknowledged records are missing or damaged; what is there is copied aside first
            /// [env: GANGER_ACCEPT_LOSS]
            #[arg(long)]
            pub accept_loss: bool,
            /// Serve HTTP to other machines although it is not encrypted: the way there is safe, a tunnel or a
            /// proxy with TLS. Not needed with --http-tls-cert [env: GANGER_HTTP_CLEARTEXT]
            #[arg(long)]
            pub http_cleartext: bool,
            /// Leave out the door, which checks what strangers send; only where nobody but this machine can
            /// connect, and only to measure it [env: GANGER_DIRECT]
            #[arg(long)]
            pub direct: bool,
            $(
                $(#[doc = $doc])+
                #[arg(
                    long,
                    value_name = $value,
                    value_parser = $read,
                    help = concat!($($doc),+, " [default: ", $default, "] [env: ", $env, "]").trim(),
                )]
                pub $name: Option<$ty>,
            )+
        }

        /// The settings that were given, and where.
        #[derive(Clone, PartialEq, Debug, Default)]
        pub(crate) struct Settings {
            pub(crate) insecure: Option<Given<bool>>,
            pub(crate) accept_loss: Option<Given<bool>>,
            pub(crate) direct: Option<Given<bool>>,
            pub(crate) http_cleartext: Option<Given<bool>>,
            $(pub(crate) $name: Option<Given<$ty>>,)+
        }

        impl Settings {
            /// The names of all settings, as they stand in a file.
            #[cfg(test)]
            pub(crate) const NAMES: &[&str] = &["insecure", "accept_loss", "direct", "http_cleartext", $(stringify!($name)),+];

            pub(crate) fn from_flags(args: Args) -> Self {
                Self {
                    insecure: args.insecure.then_some(Given { value: true, origin: Origin::Flag }),
                    accept_loss: args.accept_loss.then_some(Given { value: true, origin: Origin::Flag }),
                    direct: args.direct.then_some(Given { value: true, origin: Origin::Flag }),
                    http_cleartext: args.http_cleartext.then_some(Given { value: true, origin: Origin::Flag }),
                    $($name: args.$name.map(|value| Given { value, origin: Origin::Flag }),)+
                }
            }

            /// Reads the environment by way of `get`.
            pub(crate) fn from_env(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
                Ok(Self {
                    insecure: from_variable("GANGER_INSECURE", &get, switch)?,
                    accept_loss: from_variable("GANGER_ACCEPT_LOSS", &get, switch)?,
                    direct: from_variable("GANGER_DIRECT", &get, switch)?,
                    http_cleartext: from_variable("GANGER_HTTP_CLEARTEXT", &get, switch)?,
                    $($name: from_variable($env, &get, $read)?,)+
                })
            }

            /// Sets one setting by its name in a file. `None`: there is none of that name.
            pub(crate) fn set(&mut self, name: &str, text: &str, origin: Origin) -> Option<Result<(), String>> {
                if name == "insecure" {
                    return Some(parse(name, text, origin, switch).map(|given| self.insecure = Some(given)));
                }
                if name == "accept-loss" {
                    return Some(parse(name, text, origin, switch).map(|given| self.accept_loss = Some(given)));
                }
                if name == "direct" {
                    return Some(parse(name, text, origin, switch).map(|given| self.direct = Some(given)));
                }
                if name == "http-cleartext" {
                    return Some(parse(name, text, origin, switch).map(|given| self.http_cleartext = Some(given)));
                }
                $(if is_named(stringify!($name), name) {
                    return Some(parse(name, text, origin, $read).map(|given| self.$name = Some(given)));
                })+
                None
            }

            /// What is not here is taken from there.
            pub(crate) fn or(self, there: Self) -> Self {
                Self {
                    insecure: self.insecure.or(there.insecure),
                    accept_loss: self.accept_loss.or(there.accept_loss),
                    direct: self.direct.or(there.direct),
                    http_cleartext: self.http_cleartext.or(there.http_cleartext),
                    $($name: self.$name.or(there.$name),)+
                }
            }

            /// Where a setting was given, in words that lead there; its flag when it was not given at all.
            pub(crate) fn place(&self, name: &str) -> String {
                let origin = match name {
                    "insecure" => self.insecure.as_ref().map(|given| &given.origin),
                    "accept-loss" => self.accept_loss.as_ref().map(|given| &given.origin),
                    "direct" => self.direct.as_ref().map(|given| &given.origin),
                    "http-cleartext" => self.http_cleartext.as_ref().map(|given| &given.origin),
                    $(_ if is_named(stringify!($name), name) => {
                        self.$name.as_ref().map(|given| &given.origin)
                    })+
                    _ => None,
                };
                origin.unwrap_or(&Origin::Flag).place(name)
            }
        }
    };
}

settings! {
    /// Where clients connect; port 0 chooses a free one
    clients: Endpoint = endpoint, "ENDPOINT", "GANGER_CLIENTS", "tcp://127.0.0.1:7710";
    /// Where workers connect
    workers: Endpoint = endpoint, "ENDPOINT", "GANGER_WORKERS", "tcp://127.0.0.1:7711";
    /// Where knowledge and broadcasts are published
    knowledge: Endpoint = endpoint, "ENDPOINT", "GANGER_KNOWLEDGE", "tcp://127.0.0.1:7712";
    /// Where HTTP is served, as in 127.0.0.1:0 or none; see docs/http.md
    http: HttpAt = http, "ADDRESS", "GANGER_HTTP", "127.0.0.1:7713";
    /// The certificates for HTTP over TLS, PEM, the own one first; read again on SIGHUP
    http_tls_cert: PathBuf = file, "FILE", "GANGER_HTTP_TLS_CERT", "none";
    /// The secret key that goes with them, PEM
    http_tls_key: PathBuf = file, "FILE", "GANGER_HTTP_TLS_KEY", "none";
    /// Where spans go that belong to a sampled trace: an OpenTelemetry collector over HTTP, as in
    /// http://127.0.0.1:4318
    otlp: SpansTo = collector, "URL", "GANGER_OTLP", "none";
    /// What an acknowledgement means: memory, as safe as this process, or journal, as safe as the disk
    durability: Durability = durability, "LEVEL", "GANGER_DURABILITY", "journal";
    /// Where the journal is; made when it is not there
    data: PathBuf = path, "DIR", "GANGER_DATA", "./ganger-data";
    /// The broker's own secret key (see ganger keygen); with it everything is encrypted, and only those may
    /// connect whose keys are authorised
    secret_key: PathBuf = file, "FILE", "GANGER_SECRET_KEY", "none";
    /// The public keys that may connect, one a line with what they may do; read again on SIGHUP
    authorised_keys: PathBuf = file, "FILE", "GANGER_AUTHORISED_KEYS", "none";
    /// How often peers say that they live; shorter finds the dead sooner and costs messages
    heartbeat: Duration = span, "DURATION", "GANGER_HEARTBEAT", "1s";
    /// A peer is dead after this many heartbeats of silence; fewer mistake busy peers for dead ones
    liveness: u32 = count::<u32>, "COUNT", "GANGER_LIVENESS", "3";
    /// How long a worker whose connection broke may take to come back before its tasks move
    grace: Duration = span, "DURATION", "GANGER_GRACE", "2s";
    /// How long running tasks may go on when the broker is asked to end
    drain_deadline: Duration = span, "DURATION", "GANGER_DRAIN_DEADLINE", "30s";
    /// Tries of a task that fails or times out, unless the task says otherwise
    max_attempts: u32 = count::<u32>, "COUNT", "GANGER_MAX_ATTEMPTS", "3";
    /// Workers that may die under a task before it is dead, unless the task says otherwise
    crash_limit: u32 = count::<u32>, "COUNT", "GANGER_CRASH_LIMIT", "3";
    /// First pause after a failure; each further failure doubles it
    backoff: Duration = span, "DURATION", "GANGER_BACKOFF", "1s";
    /// Longest pause after a failure
    backoff_max: Duration = span, "DURATION", "GANGER_BACKOFF_MAX", "10m";
    /// Tasks without an outcome; more are answered with busy
    queue_tasks: usize = count::<usize>, "COUNT", "GANGER_QUEUE_TASKS", "10000000";
    /// Payload bytes of tasks without an outcome; more are answered with busy
    queue_bytes: usize = size, "SIZE", "GANGER_QUEUE_BYTES", "4GiB";
    /// How long an outcome can be asked for after its task settled
    retain: Duration = span, "DURATION", "GANGER_RETAIN", "1h";
    /// Memory for outcomes that are kept; the oldest leave first
    retain_bytes: usize = size, "SIZE", "GANGER_RETAIN_BYTES", "512MiB";
    /// Failed and dead tasks that are kept for a retry; the oldest leave first
    dead_set: usize = count::<usize>, "COUNT", "GANGER_DEAD_SET", "100000";
    /// Payload bytes of those; the oldest leave first
    dead_set_bytes: usize = size, "SIZE", "GANGER_DEAD_SET_BYTES", "1GiB";
    /// Workers at a time; more are refused
    workers_max: usize = count::<usize>, "COUNT", "GANGER_WORKERS_MAX", "20000";
    /// Clients at a time; more are refused
    clients_max: usize = count::<usize>, "COUNT", "GANGER_CLIENTS_MAX", "20000";
    /// Different kinds of tasks; more are refused
    kinds_max: usize = count::<usize>, "COUNT", "GANGER_KINDS_MAX", "65536";
    /// Tasks that may wait at a worker beside those that run there
    credit_max: u32 = count::<u32>, "COUNT", "GANGER_CREDIT_MAX", "1024";
    /// Payload bytes that may be with one worker
    worker_bytes: usize = size, "SIZE", "GANGER_WORKER_BYTES", "64MiB";
    /// How much work, in time, may wait at a worker; too little for a round trip lets workers run dry
    hold_time: Duration = span, "DURATION", "GANGER_HOLD_TIME", "10ms";
    /// Outcomes sent to a client and not confirmed
    client_window: usize = count::<usize>, "COUNT", "GANGER_CLIENT_WINDOW", "16384";
    /// Result bytes sent to a client and not confirmed
    client_window_bytes: usize = size, "SIZE", "GANGER_CLIENT_WINDOW_BYTES", "8MiB";
    /// Outcomes that may wait for a client; above it its submissions are answered with busy
    client_backlog: usize = count::<usize>, "COUNT", "GANGER_CLIENT_BACKLOG", "1000000";
    /// Memory for the knowledge map, which every worker has too; more is answered with busy
    knowledge_bytes: usize = size, "SIZE", "GANGER_KNOWLEDGE_BYTES", "1GiB";
    /// Changes of knowledge that are kept for workers that were away; older ones cost them a snapshot
    knowledge_history: usize = count::<usize>, "COUNT", "GANGER_KNOWLEDGE_HISTORY", "100000";
    /// What is logged, by level or by module, as in info,ganger_broker=debug
    log: String = filter, "FILTER", "GANGER_LOG", "info";
    /// How log lines look: text for people, json for programs
    log_format: LogFormat = log_format, "FORMAT", "GANGER_LOG_FORMAT", "text";
}

/// Whether a field of the table has this name in a file: the same with hyphens.
fn is_named(field: &str, name: &str) -> bool {
    field.len() == name.len() && field.split('_').eq(name.split('-'))
}

fn from_variable<T>(
    variable: &'static str,
    get: impl Fn(&str) -> Option<String>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<Given<T>>, String> {
    let Some(text) = get(variable) else { return Ok(None) };
    parse(variable, &text, Origin::Variable(variable), read).map(Some)
}
