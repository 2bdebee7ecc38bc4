//! What the demonstration's program does when it is started as a broker or as a worker.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use ganger_broker::server::Stop;
use ganger_broker::{Broker, Config};

use super::gang::{BROKER_ROLE, WORKER_ROLE};
use super::process::until_parent_leaves;
use crate::handlers;

/// How long a worker may take to leave after its parent has left.
const LEAVE_DEADLINE: Duration = Duration::from_secs(2);

/// Plays the role that the arguments name, if they name one.
///
/// # Errors
/// When the role cannot be played.
pub fn play(args: &[String]) -> Option<anyhow::Result<()>> {
    match args.split_first()? {
        (role, []) if role == BROKER_ROLE => Some(broker()),
        (role, rest) if role == WORKER_ROLE => Some(worker(rest)),
        _ => None,
    }
}

fn broker() -> anyhow::Result<()> {
    let broker = Broker::start(Config::on_free_ports())?;
    let endpoints = broker.endpoints();
    let mut out = std::io::stdout().lock();
    writeln!(out, "clients {}\nworkers {}\nready", endpoints.clients, endpoints.workers)?;
    out.flush()?;
    until_parent_leaves();
    broker.stop(Stop::Now);
    Ok(broker.join()?)
}

fn worker(args: &[String]) -> anyhow::Result<()> {
    let [broker, name, slots] = args else { bail!("a worker needs an endpoint, a name and its slots") };
    let slots = slots.parse().context("the number of slots")?;
    let worker = handlers::worker(broker, name).slots(slots).build()?;
    let handle = worker.handle();
    std::thread::spawn(move || {
        until_parent_leaves();
        handle.stop();
        // Without its parent the broker is gone too, and there is nobody whose word is worth waiting for.
        std::thread::sleep(LEAVE_DEADLINE);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(worker.run(std::future::pending()))?;
    Ok(())
}
