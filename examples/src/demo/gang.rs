//! One broker and its workers, each a process of its own, on ports that the system chooses.

use std::io;

use anyhow::{Context, bail};

use super::process::Process;

/// The argument that makes the demonstration's program a broker.
pub const BROKER_ROLE: &str = "__broker";
/// The argument that makes it a worker; the endpoint, the name and the slots follow.
pub const WORKER_ROLE: &str = "__worker";

/// The processes. Dropping it ends them, the workers first, who then have somebody to say goodbye to.
#[derive(Debug)]
pub struct Gang {
    workers: Vec<Hand>,
    clients: String,
    workers_at: String,
    _broker: Process,
}

/// One worker.
#[derive(Debug)]
struct Hand {
    name: String,
    process: Process,
}

impl Gang {
    /// Starts a broker and reads where it listens.
    ///
    /// # Errors
    /// When it does not start, or says something else.
    pub fn start() -> anyhow::Result<Self> {
        let mut broker = Process::start_self([BROKER_ROLE]).context("starting the broker")?;
        let (mut clients, mut workers) = (None, None);
        loop {
            let line = broker.read_line().context("listening to the broker")?;
            match line.as_deref().map(|line| line.split_once(' ').unwrap_or((line, ""))) {
                Some(("clients", endpoint)) => clients = Some(endpoint.to_owned()),
                Some(("workers", endpoint)) => workers = Some(endpoint.to_owned()),
                Some(("ready", _)) => break,
                Some(_) => {}
                None => bail!("the broker ended before it was ready"),
            }
        }
        let (Some(clients), Some(workers_at)) = (clients, workers) else {
            bail!("the broker did not say where it listens");
        };
        Ok(Self { workers: Vec::new(), clients, workers_at, _broker: broker })
    }

    /// Starts another worker.
    ///
    /// # Errors
    /// When the system does not start it.
    pub fn add_worker(&mut self, name: &str, slots: u32) -> io::Result<()> {
        let process = Process::start_self([WORKER_ROLE, &self.workers_at, name, &slots.to_string()])?;
        self.workers.push(Hand { name: name.to_owned(), process });
        Ok(())
    }

    /// Where clients connect.
    pub fn clients_endpoint(&self) -> &str {
        &self.clients
    }

    /// Names and process ids of the workers that were not killed.
    pub fn workers(&self) -> impl Iterator<Item = (&str, u32)> {
        self.workers.iter().map(|hand| (hand.name.as_str(), hand.process.id()))
    }

    /// Ends a worker with SIGKILL.
    ///
    /// # Errors
    /// When there is no worker of that name, or the system refuses.
    pub fn kill_worker(&mut self, name: &str) -> io::Result<()> {
        let Some(at) = self.workers.iter().position(|hand| hand.name == name) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("no worker is called {name}")));
        };
        self.workers.remove(at).process.kill()
    }
}

impl Drop for Gang {
    /// Lets go of all workers before any is waited for.
    fn drop(&mut self) {
        self.workers.iter_mut().for_each(|hand| hand.process.let_go());
    }
}
