//! A broker and workers of this command's own, for as long as it measures them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ganger_common::message::Durability;
use ganger_transport::Endpoint;

use super::beside;
use super::exit::Exit;

/// What a broker has room for by itself. One client gets eight ninths of it, so that a larger load needs more.
const QUEUE_TASKS_MIN: u64 = 10_000_000;

/// The programs. Dropping it ends them and removes what they have written.
pub(crate) struct Gang {
    broker: Child,
    /// Workers and other clients.
    others: Vec<Child>,
    workers_at: String,
    data: PathBuf,
    pub(crate) clients: Endpoint,
}

impl Gang {
    /// Starts a broker on free ports whose queue has room for so many tasks. A journal is written to a new
    /// directory in `place`.
    pub(crate) fn start(durability: Durability, place: &Path, tasks: u64) -> Result<Self, Exit> {
        let data = place.join(format!("ganger-bench-{}", std::process::id()));
        let anywhere = "tcp://127.0.0.1:0";
        let mut command = Command::new(beside::program("ganger-broker"));
        command.args([
            "--clients",
            anywhere,
            "--workers",
            anywhere,
            "--knowledge",
            anywhere,
            "--http",
            "none",
            "--log",
            "warn",
        ]);
        command.args(["--durability", durability.as_str()]).arg("--data").arg(&data);
        let queue = QUEUE_TASKS_MIN.max(tasks + tasks / 4);
        command.args(["--queue-tasks", &queue.to_string()]);
        let mut broker = spawn("ganger-broker", command.stdout(Stdio::piped()))?;
        let out = broker.stdout.take();
        // From here on, whatever goes wrong ends the broker, too.
        let (others, clients) = (Vec::new(), endpoint(anywhere)?);
        let mut gang = Self { broker, others, workers_at: String::new(), data, clients };
        for line in out.map(BufReader::new).into_iter().flat_map(BufRead::lines) {
            match line?.split_once(' ') {
                Some(("clients", place)) => gang.clients = endpoint(place)?,
                Some(("workers", place)) => gang.workers_at = place.to_owned(),
                Some(_) => {}
                None => break,
            }
        }
        if gang.workers_at.is_empty() {
            return Err(Exit::Failed("the broker that was to be measured did not start".to_owned()));
        }
        Ok(gang)
    }

    /// Starts workers with every built-in kind, each a process.
    pub(crate) fn add_workers(&mut self, count: u32, slots: Option<u32>) -> Result<(), Exit> {
        for _ in 0..count {
            let mut command = Command::new(beside::program("ganger-worker"));
            command.args(["--broker", &self.workers_at, "--log", "warn"]);
            if let Some(slots) = slots {
                command.args(["--slots", &slots.to_string()]);
            }
            self.others.push(spawn("ganger-worker", &mut command)?);
        }
        Ok(())
    }

    /// Starts a client that hands in load after load until it is ended: somebody else's, in a process of its own.
    pub(crate) fn add_flood(&mut self, load: &[(&str, String)]) -> Result<(), Exit> {
        let mut command = Command::new(beside::program("ganger"));
        command.args(["--broker", &self.clients.to_string(), "bench", "--json"]);
        for (name, value) in load {
            command.arg(format!("--{name}")).arg(value);
        }
        self.others.push(spawn("ganger", command.stdout(Stdio::null()))?);
        Ok(())
    }

    pub(crate) fn broker_pid(&self) -> u32 {
        self.broker.id()
    }

    /// All processes that take part, this one included.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let others = self.others.iter().chain([&self.broker]).map(Child::id);
        others.chain([std::process::id()]).collect()
    }
}

impl Drop for Gang {
    fn drop(&mut self) {
        for child in self.others.iter_mut().chain([&mut self.broker]) {
            // It may have ended by itself; there is nothing that it could lose.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// Settings of whoever measures must not reach what is measured.
fn spawn(name: &str, command: &mut Command) -> Result<Child, Exit> {
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|variable| variable.starts_with("GANGER_")) {
            command.env_remove(variable);
        }
    }
    command.stdin(Stdio::null()).spawn().map_err(|error| {
        Exit::Failed(format!("cannot start {name}, which must be beside this program or in PATH: {error}"))
    })
}

fn endpoint(text: &str) -> Result<Endpoint, Exit> {
    text.parse().map_err(|error| Exit::Failed(format!("{text}: {error}")))
}
