//! What the settings mean, checked.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ganger_common::limits::{HELD_LEASES_MAX, KNOWLEDGE_BYTES_MAX, PAYLOAD_BYTES_MAX, WORKER_SLOTS_MAX};
use ganger_common::message::Durability;
use ganger_otlp::Collector;
use ganger_transport::Endpoint;

use crate::args::{Args, Settings};
use crate::entrance::Entrance;
use crate::error::BrokerError;
use crate::settings::{Given, gather, variable};
use crate::values::LogFormat;

/// Everything that a broker needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub clients: Endpoint,
    /// Where workers connect.
    pub workers: Endpoint,
    /// Where knowledge is published.
    pub knowledge: Endpoint,
    /// Where HTTP is served, if it is.
    pub http: Option<SocketAddr>,
    /// Serving it to other machines without encryption is meant.
    pub http_cleartext: bool,
    /// The certificates by which it is encrypted.
    pub http_tls_cert: Option<PathBuf>,
    /// The secret key that goes with them.
    pub http_tls_key: Option<PathBuf>,
    /// Where spans go that belong to a sampled trace, if anywhere.
    pub otlp: Option<Collector>,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Where the journal is.
    pub data: PathBuf,
    /// Acknowledged records that are gone or damaged are no reason not to start.
    pub accept_loss: bool,
    /// How long a drain lets running tasks go on.
    pub drain_deadline: Duration,
    /// Listening beyond this machine is meant.
    pub insecure: bool,
    /// What stands before the sockets.
    pub entrance: Entrance,
    /// The scheduler's settings. Epoch, durability, seed and knowledge port are filled in at the start.
    pub scheduler: ganger_scheduler::Config,
    /// What is logged.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// Port at which clients connect.
pub const CLIENTS_PORT: u16 = 7710;
/// Port at which workers connect.
pub const WORKERS_PORT: u16 = 7711;
/// Port at which knowledge is published.
pub const KNOWLEDGE_PORT: u16 = 7712;
/// Port at which HTTP is served.
pub const HTTP_PORT: u16 = 7713;
/// How long a drain lets running tasks go on.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
/// Where the journal is.
pub const DATA: &str = "./ganger-data";
/// What is logged.
pub const LOG: &str = "info";

/// Below this, a busy machine is taken for a dead peer.
const HEARTBEAT_MIN: Duration = Duration::from_millis(50);
const DAY: Duration = Duration::from_secs(86_400);
/// A worker that comes back names everything that it holds in one message.
const CREDIT_MAX: u32 = HELD_LEASES_MAX as u32 - WORKER_SLOTS_MAX;

impl Default for Config {
    fn default() -> Self {
        let local = |port| Endpoint::Tcp { host: "127.0.0.1".to_owned(), port };
        Self {
            clients: local(CLIENTS_PORT),
            workers: local(WORKERS_PORT),
            knowledge: local(KNOWLEDGE_PORT),
            http: Some((Ipv4Addr::LOCALHOST, HTTP_PORT).into()),
            http_cleartext: false,
            http_tls_cert: None,
            http_tls_key: None,
            otlp: None,
            durability: Durability::Journal,
            data: PathBuf::from(DATA),
            accept_loss: false,
            drain_deadline: DRAIN_DEADLINE,
            insecure: false,
            entrance: Entrance::default(),
            scheduler: ganger_scheduler::Config::default(),
            log: LOG.to_owned(),
            log_format: LogFormat::Text,
        }
    }
}

/// A value that breaks a rule: the setting, and what is allowed.
type Broken = (&'static str, String);

impl Config {
    /// A broker on free ports of this machine, without HTTP, that leaves nothing behind, for tests and demonstrations.
    pub fn on_free_ports() -> Self {
        let default = Self::default();
        Self {
            clients: default.clients.with_port(0),
            workers: default.workers.with_port(0),
            knowledge: default.knowledge.with_port(0),
            http: None,
            durability: Durability::Memory,
            ..default
        }
    }

    /// What these flags mean, together with the environment and the file that they name.
    ///
    /// # Errors
    /// One line that names the setting, by the place where it was given, and says what is allowed.
    pub fn from_args(args: Args) -> Result<Self, BrokerError> {
        let settings = gather(args, variable).map_err(BrokerError::Config)?;
        Self::from_settings(settings)
    }

    fn from_settings(settings: Settings) -> Result<Self, BrokerError> {
        let places = settings.clone();
        let config = Self::of(settings);
        config.find_broken().map_or(Ok(()), |(name, allowed)| Err(broken(&places.place(name), &allowed)))?;
        Ok(config)
    }

    fn of(settings: Settings) -> Self {
        let default = Self::default();
        let plain = default.scheduler;
        let scheduler = ganger_scheduler::Config {
            heartbeat: or(settings.heartbeat, plain.heartbeat),
            liveness: or(settings.liveness, plain.liveness),
            grace: or(settings.grace, plain.grace),
            max_attempts: or(settings.max_attempts, plain.max_attempts),
            crash_limit: or(settings.crash_limit, plain.crash_limit),
            backoff_base: or(settings.backoff, plain.backoff_base),
            backoff_max: or(settings.backoff_max, plain.backoff_max),
            queue_tasks_max: or(settings.queue_tasks, plain.queue_tasks_max),
            queue_bytes_max: or(settings.queue_bytes, plain.queue_bytes_max),
            retain_for: or(settings.retain, plain.retain_for),
            retain_bytes_max: or(settings.retain_bytes, plain.retain_bytes_max),
            dead_set_max: or(settings.dead_set, plain.dead_set_max),
            dead_set_bytes_max: or(settings.dead_set_bytes, plain.dead_set_bytes_max),
            workers_max: or(settings.workers_max, plain.workers_max),
            clients_max: or(settings.clients_max, plain.clients_max),
            kinds_max: or(settings.kinds_max, plain.kinds_max),
            credit_max: or(settings.credit_max, plain.credit_max),
            worker_bytes_max: or(settings.worker_bytes, plain.worker_bytes_max),
            hold_time: or(settings.hold_time, plain.hold_time),
            client_window: or(settings.client_window, plain.client_window),
            client_window_bytes: or(settings.client_window_bytes, plain.client_window_bytes),
            client_backlog_max: or(settings.client_backlog, plain.client_backlog_max),
            knowledge_bytes_max: or(settings.knowledge_bytes, plain.knowledge_bytes_max),
            knowledge_history_max: or(settings.knowledge_history, plain.knowledge_history_max),
            ..plain
        };
        Self {
            clients: or(settings.clients, default.clients),
            workers: or(settings.workers, default.workers),
            knowledge: or(settings.knowledge, default.knowledge),
            http: settings.http.map_or(default.http, |given| given.value.0),
            http_cleartext: or(settings.http_cleartext, default.http_cleartext),
            http_tls_cert: file(settings.http_tls_cert),
            http_tls_key: file(settings.http_tls_key),
            otlp: settings.otlp.map_or(default.otlp, |given| given.value.0),
            durability: or(settings.durability, default.durability),
            data: or(settings.data, default.data),
            accept_loss: or(settings.accept_loss, default.accept_loss),
            drain_deadline: or(settings.drain_deadline, default.drain_deadline),
            insecure: or(settings.insecure, default.insecure),
            entrance: Entrance {
                is_direct: or(settings.direct, false),
                secret_key: file(settings.secret_key),
                authorised_keys: file(settings.authorised_keys),
                ..Entrance::default()
            },
            scheduler,
            log: or(settings.log, default.log),
            log_format: or(settings.log_format, default.log_format),
        }
    }

    /// Checks every setting, and those that depend on one another.
    ///
    /// # Errors
    /// One line that names the flag and says what is allowed.
    pub fn check(&self) -> Result<(), BrokerError> {
        self.find_broken().map_or(Ok(()), |(name, allowed)| Err(broken(&format!("--{name}"), &allowed)))
    }

    fn find_broken(&self) -> Option<Broken> {
        let rules = self.time_rules().into_iter().chain(self.limit_rules());
        let rule = rules.into_iter().find(|(holds, ..)| !holds);
        let broken = rule.map(|(_, name, allowed)| (name, allowed.to_owned()));
        broken.or_else(|| self.check_keys()).or_else(|| self.check_reach()).or_else(|| self.check_http())
    }

    fn time_rules(&self) -> [(bool, &'static str, &'static str); 8] {
        let it = &self.scheduler;
        [
            ((HEARTBEAT_MIN..=DAY).contains(&it.heartbeat), "heartbeat", "50ms to 1day"),
            ((2..=1_000).contains(&it.liveness), "liveness", "2 to 1000"),
            (it.grace <= DAY, "grace", "0s to 1day"),
            (self.drain_deadline <= DAY, "drain-deadline", "0s to 1day"),
            (it.backoff_max <= 365 * DAY, "backoff-max", "0s to 365days"),
            (it.backoff_base <= it.backoff_max, "backoff", "0s to what --backoff-max says"),
            ((Duration::from_secs(1)..=365 * DAY).contains(&it.retain_for), "retain", "1s to 365days"),
            (it.hold_time <= Duration::from_secs(60), "hold-time", "0s to 1m"),
        ]
    }

    fn limit_rules(&self) -> [(bool, &'static str, &'static str); 16] {
        let it = &self.scheduler;
        // A limit below one payload would answer a task that can never fit with "try again".
        let fits_payload = |bytes: usize| bytes >= PAYLOAD_BYTES_MAX;
        let from_payload = "16MiB and more, the largest payload";
        let fits_replicas = |bytes: usize| (PAYLOAD_BYTES_MAX..=KNOWLEDGE_BYTES_MAX).contains(&bytes);
        let to_replicas = "16MiB, the largest value, to 1GiB, which every worker has room for";
        [
            ((1..=1_000_000).contains(&it.max_attempts), "max-attempts", "1 to 1000000"),
            ((1..=1_000_000).contains(&it.crash_limit), "crash-limit", "1 to 1000000"),
            ((1..=1_000_000_000).contains(&it.queue_tasks_max), "queue-tasks", "1 to 1000000000"),
            (fits_payload(it.queue_bytes_max), "queue-bytes", from_payload),
            (it.retain_bytes_max >= 1 << 20, "retain-bytes", "1MiB and more"),
            (it.dead_set_bytes_max >= 1 << 20, "dead-set-bytes", "1MiB and more"),
            (it.workers_max >= 1, "workers-max", "1 and more"),
            (it.clients_max >= 1, "clients-max", "1 and more"),
            (it.kinds_max >= 1, "kinds-max", "1 and more"),
            (it.credit_max <= CREDIT_MAX, "credit-max", "0 to 12288"),
            (fits_payload(it.worker_bytes_max), "worker-bytes", from_payload),
            (it.client_window >= 1, "client-window", "1 and more"),
            (it.client_window_bytes >= 1 << 20, "client-window-bytes", "1MiB and more"),
            (it.client_backlog_max >= 1, "client-backlog", "1 and more"),
            (fits_replicas(it.knowledge_bytes_max), "knowledge-bytes", to_replicas),
            (it.knowledge_history_max >= 1, "knowledge-history", "1 and more"),
        ]
    }

    /// Keys come in twos, and need the door.
    fn check_keys(&self) -> Option<Broken> {
        let it = &self.entrance;
        match (&it.secret_key, &it.authorised_keys) {
            (Some(_), None) => {
                let allowed = "only together with --authorised-keys, the file that says who may connect";
                Some(("secret-key", allowed.to_owned()))
            }
            (None, Some(_)) => {
                let allowed = "only together with --secret-key, the broker's own key: ganger keygen broker";
                Some(("authorised-keys", allowed.to_owned()))
            }
            (Some(_), Some(_)) if it.is_direct => {
                Some(("direct", "not with keys, which the door asks for".to_owned()))
            }
            _ => None,
        }
    }

    /// Without keys, only this machine may connect, unless the operator insists.
    fn check_reach(&self) -> Option<Broken> {
        let (name, endpoint) = self.exposed()?;
        if self.entrance.is_direct {
            let allowed = format!("only where nobody but this machine can connect, and {endpoint} is more");
            return Some(("direct", allowed));
        }
        if self.insecure || self.entrance.secret_key.is_some() {
            return None;
        }
        let allowed = format!(
            "endpoints of this machine, which {endpoint} is not, or keys: make one for the broker with \
             `ganger keygen broker` and one for each peer, write the peers' public keys and roles into a \
             file, and start with --secret-key broker.key --authorised-keys FILE (docs/security.md, step by \
             step); or let everybody in, unencrypted, with --insecure"
        );
        Some((name, allowed))
    }

    /// Beyond this machine HTTP is encrypted, or somebody must have said that it needs not be, and tokens say
    /// who may do what.
    fn check_http(&self) -> Option<Broken> {
        if self.http_tls_cert.is_some() != self.http_tls_key.is_some() {
            let (name, other) = match self.http_tls_cert {
                Some(_) => ("http-tls-cert", "--http-tls-key, the file with the secret key"),
                None => ("http-tls-key", "--http-tls-cert, the file with the certificates"),
            };
            return Some((name, format!("only together with {other}")));
        }
        let address = self.http.filter(|address| !address.ip().is_loopback())?;
        let is_safe = self.http_tls_cert.is_some() || self.http_cleartext;
        if self.insecure || (is_safe && self.entrance.secret_key.is_some()) {
            return None;
        }
        let allowed = format!(
            "addresses of this machine for itself, which {address} is not; or keys and tokens (--secret-key, \
             --authorised-keys) together with a certificate (--http-tls-cert, --http-tls-key), or with \
             --http-cleartext behind a tunnel or a proxy with TLS (docs/http.md); or none; or let everybody in \
             with --insecure"
        );
        Some(("http", allowed))
    }

    /// The first setting by which other machines can connect.
    pub fn exposed(&self) -> Option<(&'static str, &Endpoint)> {
        let endpoints =
            [("clients", &self.clients), ("workers", &self.workers), ("knowledge", &self.knowledge)];
        endpoints.into_iter().find(|(_, endpoint)| !endpoint.is_loopback())
    }
}

fn or<T>(given: Option<Given<T>>, default: T) -> T {
    given.map_or(default, |given| given.value)
}

/// "none" takes back what another place gave.
fn file(given: Option<Given<PathBuf>>) -> Option<PathBuf> {
    given.map(|given| given.value).filter(|path| path.as_os_str() != "none")
}

fn broken(place: &str, allowed: &str) -> BrokerError {
    BrokerError::Config(format!("{place}: allowed: {allowed}"))
}

#[cfg(test)]
mod tests;
