//! The broker as a program: arguments, wiring, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use ganger_broker::args::{Args, LogFormat};
use ganger_broker::server::Stop;
use ganger_broker::{Broker, BrokerError, Config, RunningBroker};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

const FAILED: u8 = 1;
const BAD_SETTING: u8 = 2;

fn main() -> ExitCode {
    let config = match read_config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    if config.insecure {
        tracing::warn!("--insecure: nothing is encrypted, and whoever can connect is served");
    }
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ganger-broker: {}", chain(&error));
            ExitCode::from(FAILED)
        }
    }
}

/// The settings, with logging switched on by them; or the exit code.
fn read_config() -> Result<Config, ExitCode> {
    let bad = |text: String| {
        eprintln!("ganger-broker: {text}");
        ExitCode::from(BAD_SETTING)
    };
    let args = Args::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => bad(one_line(&error)),
    })?;
    let config = Config::from_args(args).map_err(|error| bad(error.to_string()))?;
    let filter = EnvFilter::try_new(&config.log).map_err(|error| bad(format!("--log: {error}")))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(config)
}

/// What is wrong with the flags, without the advice that follows it.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    first.join(" ").trim_start_matches("error: ").to_owned()
}

fn serve(config: Config) -> Result<(), BrokerError> {
    let broker = Broker::start(config)?;
    announce(&broker);
    let stop = broker.stopper();
    std::thread::spawn(move || watch_signals(&stop));
    broker.join()
}

/// Programs read this, so each line stands alone and leaves at once. Nobody reading is no reason to stop.
fn announce(broker: &RunningBroker) {
    let endpoints = broker.endpoints();
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "clients {}\nworkers {}\nknowledge {}\nready",
        endpoints.clients, endpoints.workers, endpoints.knowledge
    );
    let _ = out.flush();
}

/// The first signal drains, the second stops.
fn watch_signals(stop: &tokio::sync::mpsc::Sender<Stop>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return;
        };
        for how in [Stop::Drain, Stop::Now] {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            let _ = stop.send(how).await;
        }
    });
}

/// An error with everything that led to it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
