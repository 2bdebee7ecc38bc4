//! The stock worker: flags in, workers running, signals out.

mod args;

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use ganger_transport::door::ClientKeys;
use ganger_transport::{raise_nofile_limit, zmq::ZmqConnector};
use ganger_worker::otlp::{Exporter, Sending};
use ganger_worker::{Engine, Stopped, Worker, WorkerError, WorkerHandle, builtin, exec};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

use args::{Args, LogFormat};

/// How long the process stays after everything has been said.
const EXIT_LINGER: Duration = Duration::from_millis(20);
/// What a collector calls this program.
const SERVICE: &str = "ganger-worker";

fn main() {
    let args = Args::read();
    if let Err(reason) = start_log(&args) {
        wrong(&format!(
            "--log {:?}: {reason}; allowed is a filter such as info or ganger_worker=debug",
            args.log
        ));
    }
    let programs = match args.exec.as_deref().map(exec::Programs::load).transpose() {
        Ok(programs) => programs.unwrap_or_default(),
        Err(error) => wrong(&format!("--exec: {error}")),
    };
    let keys = args.keys().unwrap_or_else(|error| wrong(&format!("--secret-key: {error}")));
    raise_nofile_limit();
    let sending = match args.otlp.0.clone().map(|collector| Exporter::start(collector, SERVICE)).transpose() {
        Ok(sending) => sending,
        Err(error) => {
            eprintln!("error: cannot start the export of spans: {error}");
            std::process::exit(1)
        }
    };
    let exporter = sending.as_ref().map(Sending::exporter);
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")
        .and_then(|runtime| runtime.block_on(run(&args, &programs, keys, exporter)));
    // Last, so that the spans of what was finished in the drain are among them.
    sending.into_iter().for_each(Sending::finish);
    match result {
        Ok(true) => {}
        Ok(false) => std::process::exit(3),
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::exit(1)
        }
    }
}

/// Says what is wrong with what the operator gave, and ends the process.
fn wrong(text: &str) -> ! {
    eprintln!("error: {text}");
    std::process::exit(2)
}

fn start_log(args: &Args) -> Result<(), String> {
    let filter = EnvFilter::try_new(&args.log).map_err(|error| error.to_string())?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let log = log.with_ansi(std::io::stderr().is_terminal());
    match args.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Returns whether the broker knows everything.
async fn run(
    args: &Args,
    programs: &exec::Programs,
    keys: Option<ClientKeys>,
    exporter: Option<&Exporter>,
) -> anyhow::Result<bool> {
    // Before anything runs: a signal that came earlier would end the process on the spot.
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let engine = std::sync::Arc::new(Engine::for_this_machine()?);
    let connector = ZmqConnector::with_keys_or_without(keys);
    let mut workers = JoinSet::new();
    let mut handles = Vec::new();
    for number in 1..=args.instances {
        let worker = build(args, programs, number, &connector, exporter)
            .unwrap_or_else(|error| wrong(&explain(&error)));
        tracing::debug!(worker = %worker.id(), number, "a worker starts");
        handles.push(worker.handle());
        let engine = engine.clone();
        workers.spawn(async move { worker.run_on(&engine, std::future::pending()).await });
    }
    tracing::info!(broker = %args.broker, workers = args.instances, "working");
    let mut is_complete = true;
    loop {
        tokio::select! {
            ended = workers.join_next() => match ended {
                Some(ended) => is_complete &= tell(&ended.context("a worker panicked")??),
                None => {
                    // What was said last may still be on its way to the system's buffers.
                    tokio::time::sleep(EXIT_LINGER).await;
                    return Ok(is_complete);
                }
            },
            is_second = signals.next() => match is_second {
                false => {
                    tracing::info!(deadline = ?args.drain_deadline, "draining; a second signal stops at once");
                    handles.iter().for_each(|handle| handle.drain(None));
                }
                true => handles.iter().for_each(WorkerHandle::stop),
            },
        }
    }
}

fn build(
    args: &Args,
    programs: &exec::Programs,
    number: u32,
    connector: &ZmqConnector,
    exporter: Option<&Exporter>,
) -> Result<Worker, WorkerError> {
    let mut builder = Worker::builder().connect(args.broker.to_string()).drain_deadline(args.drain_deadline);
    if let Some(knowledge) = &args.knowledge {
        builder = builder.knowledge(knowledge.to_string());
    }
    match (&args.name, args.instances) {
        (Some(name), 1) => builder = builder.name(name),
        (Some(name), _) => builder = builder.name(format!("{name}-{number}")),
        (None, _) => {}
    }
    if let Some(slots) = args.slots {
        builder = builder.slots(slots);
    }
    if let Some(exporter) = exporter {
        builder = builder.spans(exporter.clone());
    }
    for kind in args.builtin_kinds() {
        builder = builtin::serve(builder, kind);
    }
    programs.serve(builder).build_with(connector.clone())
}

/// What is wrong, by the names of the flags.
fn explain(error: &WorkerError) -> String {
    match error {
        WorkerError::NoHandlers => {
            format!("--kinds: {error}; allowed is at least one kind here or in --exec")
        }
        WorkerError::Twice { .. } => format!("--kinds, --exec: {error}; leave it out of one of them"),
        WorkerError::Kind { .. } | WorkerError::TooManyKinds { .. } => format!("--exec: {error}"),
        WorkerError::Name { .. } => format!("--name: {error}"),
        WorkerError::Slots { .. } => format!("--slots: {error}"),
        other => other.to_string(),
    }
}

/// Says how a worker ended. Returns whether the broker knows everything.
fn tell(stopped: &Stopped) -> bool {
    let Stopped { reason, unfinished, unreported } = stopped;
    match (unfinished, unreported) {
        (0, 0) => tracing::info!(?reason, "left"),
        _ => tracing::warn!(?reason, unfinished, unreported, "left with work that was not finished"),
    }
    *unreported == 0
}

/// The signals that ask a process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    count: u32,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())?, count: 0 })
    }

    /// Waits for the next one. Returns whether it is not the first.
    async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        self.count += 1;
        self.count > 1
    }
}
