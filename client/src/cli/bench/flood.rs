//! What a client notices of another that floods the broker.

use std::time::{Duration, Instant};

use ganger_client::Client;
use ganger_common::message::Durability;

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::gang::Gang;
use super::BenchArgs;
use super::figures::Figures;
use super::load::Run;
use super::own::{connect, silent, until_served};

/// A flood hands in so many times what it keeps queued, and is ended long before that.
const FLOODS: u32 = 16;

/// The same load on a new broker, on which another client, in a process of its own, has so many tasks queued
/// before the workers come, and hands in more as they settle.
pub(super) async fn beside(
    context: &mut Context,
    args: &BenchArgs,
    durability: Durability,
    queued: u32,
) -> Result<Figures, Exit> {
    let mut gang = Gang::start(durability, &args.data, u64::from(queued) + u64::from(args.tasks))?;
    let load = args.load();
    let client = connect(context, &gang, load.window).await?;
    // Tasks enter the window by batches, so that the last of them must fit whole.
    let window = queued.saturating_add(args.batch);
    let counts = [("tasks", queued.saturating_mul(FLOODS)), ("window", window), ("batch", args.batch)];
    let mut flood: Vec<(&str, String)> =
        counts.iter().map(|(name, count)| (*name, count.to_string())).collect();
    match args.runs {
        Some(runs) => flood.push(("runs", runs.to_string())),
        None => flood.extend([("kind", load.kind.clone()), ("payload", args.payload.to_string())]),
    }
    gang.add_flood(&flood)?;
    until_queued(context, &client, queued).await?;
    gang.add_workers(args.workers, args.slots)?;
    until_served(context, &client, &load.kind, args.workers).await?;
    let figures = Run::start(&client, load)?.finish(&silent()).await;
    client.close().await;
    context.close().await;
    figures
}

/// Waits until so many tasks are in the queue, for as long as their number grows.
async fn until_queued(context: &Context, client: &Client, tasks: u32) -> Result<(), Exit> {
    let (mut most, mut since) = (0, Instant::now());
    loop {
        let queued = context.answer(client.status()).await?.queued;
        if queued >= u64::from(tasks) {
            return Ok(());
        }
        if queued > most {
            (most, since) = (queued, Instant::now());
        }
        if since.elapsed() > context.global.timeout {
            return Err(Exit::Failed(format!("the other client has come to {queued} of {tasks} tasks")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
