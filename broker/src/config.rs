//! What the settings mean, checked.

use std::time::Duration;

use ganger_transport::Endpoint;

use crate::args::{Args, LogFormat, with_file};
use crate::error::BrokerError;

/// Everything that a broker needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub clients: Endpoint,
    /// Where workers connect.
    pub workers: Endpoint,
    /// Where knowledge is published.
    pub knowledge: Endpoint,
    /// How long a drain lets running tasks go on.
    pub drain_deadline: Duration,
    /// Listening beyond this machine is meant.
    pub insecure: bool,
    /// The scheduler's settings. Epoch, seed and knowledge port are filled in at the start.
    pub scheduler: ganger_scheduler::Config,
    /// What is logged.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// Default endpoints of a broker.
pub const DEFAULT_CLIENTS: &str = "tcp://127.0.0.1:7710";
/// See [`DEFAULT_CLIENTS`].
pub const DEFAULT_WORKERS: &str = "tcp://127.0.0.1:7711";
/// See [`DEFAULT_CLIENTS`].
pub const DEFAULT_KNOWLEDGE: &str = "tcp://127.0.0.1:7712";
/// How long a drain lets running tasks go on.
pub const DEFAULT_DRAIN_DEADLINE: Duration = Duration::from_secs(30);

/// Below this, a busy machine is taken for a dead peer.
const HEARTBEAT_MIN: Duration = Duration::from_millis(50);

impl Default for Config {
    fn default() -> Self {
        let local = |text: &str| text.parse().unwrap_or(Endpoint::Mem { name: text.to_owned() });
        Self {
            clients: local(DEFAULT_CLIENTS),
            workers: local(DEFAULT_WORKERS),
            knowledge: local(DEFAULT_KNOWLEDGE),
            drain_deadline: DEFAULT_DRAIN_DEADLINE,
            insecure: false,
            scheduler: ganger_scheduler::Config::default(),
            log: "info".to_owned(),
            log_format: LogFormat::Text,
        }
    }
}

impl Config {
    /// A broker on free ports of this machine, for tests and demonstrations.
    pub fn on_free_ports() -> Self {
        let default = Self::default();
        Self {
            clients: default.clients.with_port(0),
            workers: default.workers.with_port(0),
            knowledge: default.knowledge.with_port(0),
            ..default
        }
    }

    /// What these arguments, with the file that they name, mean.
    ///
    /// # Errors
    /// One line that names the setting and says what is allowed.
    pub fn from_args(args: Args) -> Result<Self, BrokerError> {
        let args = with_file(args).map_err(BrokerError::Config)?;
        let default = Self::default();
        let plain = default.scheduler;
        let scheduler = ganger_scheduler::Config {
            heartbeat: args.heartbeat.map_or(plain.heartbeat, |span| span.0),
            liveness: args.liveness.unwrap_or(plain.liveness),
            grace: args.grace.map_or(plain.grace, |span| span.0),
            max_attempts: args.max_attempts.unwrap_or(plain.max_attempts),
            crash_limit: args.crash_limit.unwrap_or(plain.crash_limit),
            backoff_base: args.backoff.map_or(plain.backoff_base, |span| span.0),
            backoff_max: args.backoff_max.map_or(plain.backoff_max, |span| span.0),
            queue_tasks_max: args.queue_tasks.unwrap_or(plain.queue_tasks_max),
            queue_bytes_max: args.queue_bytes.map_or(plain.queue_bytes_max, |size| size.0),
            retain_for: args.retain.map_or(plain.retain_for, |span| span.0),
            retain_bytes_max: args.retain_bytes.map_or(plain.retain_bytes_max, |size| size.0),
            dead_set_max: args.dead_set.unwrap_or(plain.dead_set_max),
            dead_set_bytes_max: args.dead_set_bytes.map_or(plain.dead_set_bytes_max, |size| size.0),
            workers_max: args.workers_max.unwrap_or(plain.workers_max),
            clients_max: args.clients_max.unwrap_or(plain.clients_max),
            credit_max: args.credit_max.unwrap_or(plain.credit_max),
            client_window: args.client_window.unwrap_or(plain.client_window),
            client_backlog_max: args.client_backlog.unwrap_or(plain.client_backlog_max),
            knowledge_bytes_max: args.knowledge_bytes.map_or(plain.knowledge_bytes_max, |size| size.0),
            ..plain
        };
        let config = Self {
            clients: args.clients.unwrap_or(default.clients),
            workers: args.workers.unwrap_or(default.workers),
            knowledge: args.knowledge.unwrap_or(default.knowledge),
            drain_deadline: args.drain_deadline.map_or(default.drain_deadline, |span| span.0),
            insecure: args.insecure,
            scheduler,
            log: args.log.unwrap_or(default.log),
            log_format: args.log_format.unwrap_or(default.log_format),
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), BrokerError> {
        let scheduler = &self.scheduler;
        let day = Duration::from_secs(86_400);
        let rules = [
            (
                scheduler.heartbeat >= HEARTBEAT_MIN && scheduler.heartbeat <= day,
                "--heartbeat: allowed is 50ms to 1day",
            ),
            ((2..=1_000).contains(&scheduler.liveness), "--liveness: allowed is 2 to 1000"),
            (scheduler.grace <= day, "--grace: allowed is 0s to 1day"),
            (self.drain_deadline <= day, "--drain-deadline: allowed is 0s to 1day"),
            (scheduler.max_attempts >= 1, "--max-attempts: allowed is 1 and more"),
            (scheduler.crash_limit >= 1, "--crash-limit: allowed is 1 and more"),
            (scheduler.backoff_base <= scheduler.backoff_max, "--backoff: allowed is up to --backoff-max"),
            (scheduler.backoff_max <= 365 * day, "--backoff-max: allowed is up to 1year"),
            (
                (1..=1_000_000_000).contains(&scheduler.queue_tasks_max),
                "--queue-tasks: allowed is 1 to 1000000000",
            ),
            (scheduler.queue_bytes_max >= 1 << 20, "--queue-bytes: allowed is 1MiB and more"),
            (scheduler.workers_max >= 1, "--workers-max: allowed is 1 and more"),
            (scheduler.clients_max >= 1, "--clients-max: allowed is 1 and more"),
            (scheduler.client_window >= 1, "--client-window: allowed is 1 and more"),
            (scheduler.client_backlog_max >= 1, "--client-backlog: allowed is 1 and more"),
        ];
        if let Some((_, rule)) = rules.iter().find(|(holds, _)| !holds) {
            return Err(BrokerError::Config((*rule).to_owned()));
        }
        self.check_reach()
    }

    /// Without keys, only this machine may connect, unless the operator insists.
    fn check_reach(&self) -> Result<(), BrokerError> {
        let endpoints =
            [("--clients", &self.clients), ("--workers", &self.workers), ("--knowledge", &self.knowledge)];
        match endpoints.iter().find(|(_, endpoint)| !endpoint.is_loopback()) {
            Some((flag, endpoint)) if !self.insecure => Err(BrokerError::Config(format!(
                "{flag}: {endpoint} can be reached from other machines, and this version neither encrypts nor \
                 checks who connects; use a loopback or ipc endpoint (through a VPN or SSH tunnel from \
                 elsewhere), or accept that with --insecure"
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    fn parse(args: &[&str]) -> Result<Config, BrokerError> {
        Config::from_args(Args::try_parse_from([&["ganger-broker"], args].concat()).unwrap())
    }

    #[test]
    fn what_help_says_are_the_defaults() {
        let config = parse(&[]).unwrap();
        let scheduler = &config.scheduler;
        let shown = [
            ("heartbeat", humantime::format_duration(scheduler.heartbeat).to_string()),
            ("liveness", scheduler.liveness.to_string()),
            ("grace", humantime::format_duration(scheduler.grace).to_string()),
            ("clients", config.clients.to_string()),
            ("workers", config.workers.to_string()),
            ("knowledge", config.knowledge.to_string()),
            ("queue_tasks", scheduler.queue_tasks_max.to_string()),
            ("queue_bytes", format!("{}GiB", scheduler.queue_bytes_max >> 30)),
            ("retain", humantime::format_duration(scheduler.retain_for).to_string()),
            ("retain_bytes", format!("{}MiB", scheduler.retain_bytes_max >> 20)),
            ("dead_set", scheduler.dead_set_max.to_string()),
            ("dead_set_bytes", format!("{}GiB", scheduler.dead_set_bytes_max >> 30)),
            ("max_attempts", scheduler.max_attempts.to_string()),
            ("crash_limit", scheduler.crash_limit.to_string()),
            ("backoff", humantime::format_duration(scheduler.backoff_base).to_string()),
            ("backoff_max", humantime::format_duration(scheduler.backoff_max).to_string()),
            ("workers_max", scheduler.workers_max.to_string()),
            ("clients_max", scheduler.clients_max.to_string()),
            ("credit_max", scheduler.credit_max.to_string()),
            ("client_window", scheduler.client_window.to_string()),
            ("client_backlog", scheduler.client_backlog_max.to_string()),
            ("knowledge_bytes", format!("{}GiB", scheduler.knowledge_bytes_max >> 30)),
            ("drain_deadline", humantime::format_duration(config.drain_deadline).to_string()),
            ("log", config.log.clone()),
        ];
        let command = Args::command();
        for (name, default) in shown {
            let arg = command.get_arguments().find(|arg| arg.get_id() == name).unwrap();
            let help = arg.get_help().unwrap().to_string();
            assert!(help.contains(&format!("[default: {default}]")), "{name}: {help} does not say {default}");
        }
    }

    #[test]
    fn values_out_of_range_name_their_flag() {
        for (args, flag) in [
            (["--heartbeat", "1ms"], "--heartbeat"),
            (["--liveness", "1"], "--liveness"),
            (["--backoff", "1h"], "--backoff"),
            (["--queue-tasks", "0"], "--queue-tasks"),
            (["--clients", "tcp://0.0.0.0:1"], "--clients"),
        ] {
            let error = parse(&args).unwrap_err().to_string();
            assert!(error.starts_with(flag) && error.lines().count() == 1, "{error}");
        }
        assert!(parse(&["--clients", "tcp://0.0.0.0:1", "--insecure"]).is_ok());
    }
}
