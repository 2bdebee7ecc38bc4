//! A worker that serves the kinds of this crate.

use anyhow::Context;
use clap::Args;
use ganger_worker::{Builder, HandlerError, Worker};

use crate::mandelbrot::{self, TileTask};
use crate::{payload, wordcount};

/// What a worker of the examples may be told.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Where the broker listens for workers.
    #[arg(long, default_value = ganger_worker::DEFAULT_BROKER)]
    pub broker: String,
    /// A label for people.
    #[arg(long, default_value = "examples")]
    pub name: String,
    /// Tasks that it runs at a time.
    #[arg(long, default_value_t = 2)]
    pub slots: u32,
}

/// A worker with the handlers for counting words and rendering tiles, to be given slots and run.
///
/// They compute and never wait, so they are blocking handlers: they run on threads of their own, and the
/// worker's heartbeats go on beside them. A payload that cannot be read will not be readable next time
/// either, so such a failure is final.
pub fn worker(broker: &str, name: &str) -> Builder {
    Worker::builder()
        .connect(broker)
        .name(name)
        .blocking_handler(wordcount::MAP, |task, _| wordcount::map(&task.payload).map_err(unreadable))
        .blocking_handler(wordcount::REDUCE, |task, _| wordcount::sum(&task.payload).map_err(unreadable))
        .blocking_handler(mandelbrot::TILE, |task, context| {
            let tile: TileTask = payload::unpack(&task.payload).map_err(unreadable)?;
            // A tile that nobody waits for any more is not rendered to its end.
            tile.render(|| context.is_cancelled()).ok_or_else(|| HandlerError::new("stopped"))
        })
}

/// Runs such a worker until Ctrl-C.
///
/// # Errors
/// When it cannot be built, or the broker does not want it.
pub async fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let worker = worker(&args.broker, &args.name).slots(args.slots).build()?;
    println!("{} serves {} slots; Ctrl-C ends it", args.name, args.slots);
    worker.run(stopped()).await.context("the worker ended")?;
    Ok(())
}

/// Waits for Ctrl-C.
pub async fn stopped() {
    // A system that cannot tell us leaves only the way of stopping when told by the broker.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn unreadable(error: anyhow::Error) -> HandlerError {
    HandlerError::from(error).fatal()
}
