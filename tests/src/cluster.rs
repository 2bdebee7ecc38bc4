//! One broker and its workers, as an operator would start them.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ganger_transport::Endpoint;
use tempfile::TempDir;

use crate::binaries;
use crate::process::Proc;
use crate::wait::eventually;

/// Any program of this project listens, or connects, within this.
pub const START_DEADLINE: Duration = Duration::from_secs(20);

/// A broker and the workers that were started for it, with their logs and diaries in a directory of their
/// own. Everything ends when it is dropped; when that is because a test failed, the logs are printed.
#[derive(Debug)]
pub struct Cluster {
    // Fields are dropped in this order: processes before the directory that they write into.
    workers: Vec<Proc>,
    retired: Vec<Proc>,
    broker: Proc,
    endpoints: Endpoints,
    broker_args: Vec<String>,
    directory: TempDir,
}

/// Where a broker listens, as it says itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoints {
    /// For clients.
    pub clients: String,
    /// For workers.
    pub workers: String,
    /// For subscribers.
    pub knowledge: String,
    /// For HTTP, if it is served.
    pub http: Option<String>,
}

/// A worker to start.
#[derive(Clone, Debug)]
pub struct WorkerSpec {
    program: &'static str,
    name: String,
    args: Vec<String>,
    way: Option<Way>,
}

/// Another way to the broker than the straight one.
#[derive(Clone, Debug)]
struct Way {
    workers: String,
    knowledge: String,
}

impl WorkerSpec {
    /// The stock worker.
    pub fn stock(name: impl Into<String>) -> Self {
        Self { program: binaries::WORKER, name: name.into(), args: Vec::new(), way: None }
    }

    /// The worker that keeps a diary.
    pub fn diarist(name: impl Into<String>) -> Self {
        Self { program: binaries::DIARIST, name: name.into(), args: Vec::new(), way: None }
    }

    /// How many tasks it runs at a time.
    #[must_use]
    pub fn slots(self, slots: u32) -> Self {
        self.args(&["--slots", &slots.to_string()])
    }

    /// Through these endpoints instead of the broker's own. Only the diarist can be told so.
    #[must_use]
    pub fn through(self, workers: String, knowledge: String) -> Self {
        Self { way: Some(Way { workers, knowledge }), ..self }
    }

    /// More flags.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }
}

impl Cluster {
    /// Starts a broker on free ports, with these flags beside the endpoints.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub fn start(broker_args: &[&str]) -> Self {
        Self::start_at(None, broker_args)
    }

    /// The same with a broker that serves HTTP.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub fn start_with_http(broker_args: &[&str]) -> Self {
        Self::start_at(Some(own_address().to_string()), broker_args)
    }

    /// The same at a certain address, which another program may need for the port when the broker starts anew.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub fn start_with_http_at(address: &str, broker_args: &[&str]) -> Self {
        Self::start_at(Some(address.to_owned()), broker_args)
    }

    fn start_at(http: Option<String>, broker_args: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("ganger-test-").tempdir();
        let directory = directory.unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let mut broker_args: Vec<String> = broker_args.iter().map(|arg| (*arg).to_owned()).collect();
        if !broker_args.iter().any(|arg| arg == "--durability") {
            broker_args.extend(["--durability".to_owned(), "memory".to_owned()]);
        }
        if !broker_args.iter().any(|arg| arg == "--data") {
            let data = directory.path().join("data").to_string_lossy().into_owned();
            broker_args.extend(["--data".to_owned(), data]);
        }
        let free = format!("tcp://{}:0", own_address());
        let http = http.map(|address| format!("{address}:0"));
        let anywhere = Endpoints { clients: free.clone(), workers: free.clone(), knowledge: free, http };
        let broker = spawn_broker(&anywhere, &broker_args, directory.path());
        let endpoints = wait_until_ready(&broker, 0);
        Self { workers: Vec::new(), retired: Vec::new(), broker, endpoints, broker_args, directory }
    }

    /// Starts a worker and returns its place among the workers.
    pub fn add(&mut self, spec: &WorkerSpec) -> usize {
        self.workers.push(self.spawn_worker(spec));
        self.workers.len() - 1
    }

    /// Starts some workers alike, named by `name` with their place.
    #[must_use]
    pub fn with_diarists(mut self, count: usize, slots: u32) -> Self {
        for index in 0..count {
            self.add(&WorkerSpec::diarist(format!("w{index}")).slots(slots));
        }
        self
    }

    /// Puts a new worker in the place of another, which stays what it is: killed, frozen or running.
    pub fn replace(&mut self, index: usize, spec: &WorkerSpec) {
        let new = self.spawn_worker(spec);
        self.retired.push(std::mem::replace(&mut self.workers[index], new));
    }

    /// Starts the broker anew on the same endpoints. If it still runs, it is killed first.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub fn restart_broker(&mut self) {
        self.broker.kill();
        let seen = self.broker.stdout().len();
        self.broker = spawn_broker(&self.endpoints, &self.broker_args, self.directory.path());
        let again = wait_until_ready(&self.broker, seen);
        assert_eq!(again, self.endpoints, "a broker listens where it is told to");
    }

    /// The broker.
    pub fn broker(&self) -> &Proc {
        &self.broker
    }

    /// A worker, by its place.
    pub fn worker(&self, index: usize) -> &Proc {
        &self.workers[index]
    }

    /// The workers in their places.
    pub fn workers(&self) -> &[Proc] {
        &self.workers
    }

    /// Those whose places others have taken.
    pub fn retired(&self) -> &[Proc] {
        &self.retired
    }

    /// Where the broker listens.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Where clients connect.
    pub fn clients(&self) -> Endpoint {
        parse(&self.endpoints.clients)
    }

    /// Where workers connect.
    pub fn workers_endpoint(&self) -> Endpoint {
        parse(&self.endpoints.workers)
    }

    /// Where logs and diaries are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file of the test's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The command line, pointed at this broker.
    pub fn command_line(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binaries::path(binaries::CLIENT));
        command.args(args).arg("--broker").arg(&self.endpoints.clients);
        clean(&mut command);
        command
    }

    /// Prints the end of every log.
    pub fn print_logs(&self) {
        self.broker.print_log();
        self.retired.iter().chain(&self.workers).for_each(Proc::print_log);
    }

    fn spawn_worker(&self, spec: &WorkerSpec) -> Proc {
        let mut command = Command::new(binaries::path(spec.program));
        let workers = spec.way.as_ref().map_or(&self.endpoints.workers, |way| &way.workers);
        command.args(["--broker", workers, "--name", &spec.name]).args(&spec.args);
        if let Some(way) = &spec.way {
            command.args(["--knowledge", &way.knowledge]);
        }
        if spec.program == binaries::DIARIST {
            command.arg("--diary").arg(self.directory.path());
        }
        clean(&mut command);
        Proc::spawn(&spec.name, command, self.directory.path())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_logs();
        }
    }
}

/// An address of the loopback network that is likely nobody else's.
///
/// A broker that is started again wants the ports that it had, and meanwhile the kernel may have given one of
/// them to a connection that somebody else makes. It gives those the address 127.0.0.1.
fn own_address() -> Ipv4Addr {
    if !cfg!(target_os = "linux") {
        return Ipv4Addr::LOCALHOST;
    }
    static CLUSTERS: AtomicU32 = AtomicU32::new(0);
    let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed);
    let number = std::process::id().wrapping_mul(61).wrapping_add(cluster);
    let [_, a, b, c] = number.to_be_bytes();
    Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254))
}

fn spawn_broker(at: &Endpoints, args: &[String], logs: &Path) -> Proc {
    let mut command = Command::new(binaries::path(binaries::BROKER));
    command
        .args(["--clients", &at.clients, "--workers", &at.workers, "--knowledge", &at.knowledge])
        .args(["--http", at.http.as_deref().unwrap_or("none")])
        .args(args);
    clean(&mut command);
    Proc::spawn("broker", command, logs)
}

/// Settings of whoever runs the tests must not reach the programs under test.
fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("GANGER_")) {
            command.env_remove(name);
        }
    }
}

/// Reads what a broker says of itself after the first `seen` bytes of its output.
fn wait_until_ready(broker: &Proc, seen: usize) -> Endpoints {
    let mut said = String::new();
    eventually("the broker listens", START_DEADLINE, || {
        if !broker.is_running() {
            broker.print_log();
            panic!("the broker has ended instead of listening");
        }
        said = broker.stdout().get(seen..).unwrap_or_default().to_owned();
        said.lines().any(|line| line == "ready")
    });
    let named = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(str::to_owned)
    };
    let endpoint = |name: &str| {
        named(name).unwrap_or_else(|| panic!("the broker does not name its {name} endpoint: {said:?}"))
    };
    Endpoints {
        clients: endpoint("clients"),
        workers: endpoint("workers"),
        knowledge: endpoint("knowledge"),
        http: named("http"),
    }
}

fn parse(endpoint: &str) -> Endpoint {
    endpoint.parse().unwrap_or_else(|error| panic!("the broker names an endpoint that is none: {error}"))
}
