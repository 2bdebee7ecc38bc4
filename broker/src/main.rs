//! The broker as a program: settings, wiring, exit code.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use ganger_broker::args::Args;
use ganger_broker::journal::{JournalError, tool};
use ganger_broker::server::Stop;
use ganger_broker::{Broker, BrokerError, Config, KeyRing, LogFormat, RunningBroker, Tls};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The broker could not start or go on.
const FAILED: u8 = 1;
/// A setting is not allowed.
const BAD_SETTING: u8 = 2;
/// The journal has failed, or is not as it was left.
const BAD_JOURNAL: u8 = 3;

fn main() -> ExitCode {
    let given: Vec<OsString> = std::env::args_os().collect();
    if given.get(1).is_some_and(|word| word == "journal") {
        return tool::main(given.into_iter().skip(1));
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse_flags(&error),
    };
    ganger_broker::memory::give_large_blocks_back();
    let result = Config::from_args(args).and_then(|config| {
        log_to_stderr(&config);
        serve(config)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ganger-broker: {}", ganger_broker::error::in_one_line(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &BrokerError) -> u8 {
    match error {
        BrokerError::Config(_) => BAD_SETTING,
        // Nothing is wrong with it: somebody else has it.
        BrokerError::Journal(JournalError::Locked { .. }) => FAILED,
        BrokerError::Journal(_) | BrokerError::Recovery { .. } => BAD_JOURNAL,
        _ => FAILED,
    }
}

/// Says in one line what is wrong with the flags, or shows the help that was asked for.
fn refuse_flags(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    // The usage that follows is what --help says.
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more")).collect();
    let line = lines.join("; ");
    eprintln!("ganger-broker: {} (see --help)", line.trim_start_matches("error: "));
    ExitCode::from(BAD_SETTING)
}

fn log_to_stderr(config: &Config) {
    // The settings were checked, so this filter is one.
    let mut filter = EnvFilter::try_new(&config.log).unwrap_or_default();
    // The library tells of every connection, by names that mean nothing here, and that the file of a private
    // socket is gone, which has moved; and the clients of the gateway tell of a broker that goes away, which is
    // this one. Whoever wants that asks for it.
    for (of, quiet, level) in [
        ("zeromq", "zeromq=warn", LevelFilter::WARN),
        ("zeromq", "zeromq::transport::ipc=error", LevelFilter::ERROR),
        ("ganger_client", "ganger_client=error", LevelFilter::ERROR),
    ] {
        let is_talkative = filter.max_level_hint().is_none_or(|hint| hint > level);
        if is_talkative
            && !config.log.contains(of)
            && let Ok(quiet) = quiet.parse()
        {
            filter = filter.add_directive(quiet);
        }
    }
    let is_terminal = std::io::stderr().is_terminal();
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_terminal);
    match config.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}

fn serve(config: Config) -> Result<(), BrokerError> {
    // Before anybody is told that the broker is ready, so that no signal finds it without a handler.
    let signals = Signals::catch()?;
    let broker = Broker::start(config)?;
    announce(&broker);
    let (stop, keys, tls) = (broker.stopper(), broker.keys().cloned(), broker.tls().cloned());
    std::thread::spawn(move || signals.forward(&stop, || reload(keys.as_ref(), tls.as_ref())));
    broker.join()
}

/// Programs read this, so each line stands alone and leaves at once. Nobody reading is no reason to stop.
fn announce(broker: &RunningBroker) {
    let endpoints = broker.endpoints();
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "clients {}\nworkers {}\nknowledge {}",
        endpoints.clients, endpoints.workers, endpoints.knowledge
    );
    let _ = endpoints.http.map(|address| writeln!(out, "http {address}"));
    let _ = writeln!(out, "ready");
    let _ = out.flush();
}

/// SIGTERM and SIGINT, and SIGHUP.
struct Signals {
    runtime: tokio::runtime::Runtime,
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn catch() -> Result<Self, BrokerError> {
        let io = |source| BrokerError::Io { what: "cannot catch signals", source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io)?;
        let _entered = runtime.enter();
        let term = signal(SignalKind::terminate()).map_err(io)?;
        let int = signal(SignalKind::interrupt()).map_err(io)?;
        let hup = signal(SignalKind::hangup()).map_err(io)?;
        drop(_entered);
        Ok(Self { runtime, term, int, hup })
    }

    /// The first that asks for the end drains, the second stops. SIGHUP has the files read again.
    fn forward(mut self, stop: &tokio::sync::mpsc::Sender<Stop>, reload: impl Fn()) {
        self.runtime.block_on(async {
            for how in [Stop::Drain, Stop::Now] {
                loop {
                    tokio::select! {
                        _ = self.term.recv() => break,
                        _ = self.int.recv() => break,
                        Some(()) = self.hup.recv() => reload(),
                    }
                }
                let _ = stop.send(how).await;
            }
        });
    }
}

/// Reads again what may change while the broker runs. What is wrong stays as it was.
fn reload(keys: Option<&KeyRing>, tls: Option<&Tls>) {
    if keys.is_none() && tls.is_none() {
        tracing::info!("there is nothing to read again: this broker has no keys and no certificate");
    }
    match keys.map(KeyRing::reload) {
        None => {}
        Some(Ok(count)) => tracing::info!(keys = count, "the authorised keys were read again"),
        Some(Err(error)) => tracing::error!(%error, "the authorised keys stay as they were"),
    }
    match tls.map(Tls::reload) {
        None => {}
        Some(Ok(())) => tracing::info!("the certificate was read again"),
        Some(Err(error)) => tracing::error!(%error, "the certificate stays as it was"),
    }
}
