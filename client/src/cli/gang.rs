//! A broker and a worker of this command's own, for as long as it measures them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ganger_common::message::Durability;
use ganger_transport::Endpoint;

use super::beside;
use super::exit::Exit;

/// The programs. Dropping it ends them and removes what they have written.
pub(crate) struct Gang {
    broker: Child,
    worker: Option<Child>,
    data: PathBuf,
    pub(crate) clients: Endpoint,
}

impl Gang {
    /// Starts a broker on free ports, and a worker with every built-in kind. A journal is written to a new
    /// directory in `place`.
    pub(crate) fn start(durability: Durability, place: &Path) -> Result<Self, Exit> {
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
            "--log",
            "warn",
        ]);
        command.args(["--durability", durability.as_str()]).arg("--data").arg(&data);
        let mut broker = spawn("ganger-broker", command.stdout(Stdio::piped()))?;
        let out = broker.stdout.take();
        // From here on, whatever goes wrong ends the broker, too.
        let mut gang = Self { broker, worker: None, data, clients: endpoint(anywhere)? };
        let mut workers = String::new();
        for line in out.map(BufReader::new).into_iter().flat_map(BufRead::lines) {
            match line?.split_once(' ') {
                Some(("clients", place)) => gang.clients = endpoint(place)?,
                Some(("workers", place)) => workers = place.to_owned(),
                Some(_) => {}
                None => break,
            }
        }
        if workers.is_empty() {
            return Err(Exit::Failed("the broker that was to be measured did not start".to_owned()));
        }
        let mut command = Command::new(beside::program("ganger-worker"));
        command.args(["--broker", &workers, "--log", "warn"]);
        gang.worker = Some(spawn("ganger-worker", &mut command)?);
        Ok(gang)
    }
}

impl Drop for Gang {
    fn drop(&mut self) {
        for child in self.worker.iter_mut().chain([&mut self.broker]) {
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
