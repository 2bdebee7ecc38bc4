//! A worker of your own: everything that a handler can do.
//!
//! ```console
//! cargo run --bin ganger-broker
//! cargo run --bin custom_worker -- serve
//! cargo run --bin custom_worker -- show
//! ```
//! `serve` is the worker, with three handlers: one that waits (`fetch`), one that computes (`primes`, with
//! progress, parts of the result and cancellation), and one that fails (`flaky`). `show` submits tasks to
//! them and prints what they say. The command line can do the same, for example
//! `cargo run --bin ganger -- submit primes 100000 --wait`.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use clap::{Parser, Subcommand};
use ganger_client::{Client, ClientConfig, DEFAULT_ENDPOINT, Followed, NewTask, TaskEvent};
use ganger_common::TaskOptions;
use ganger_examples::handlers::{ServeArgs, stopped};
use ganger_examples::payload::{pack, unpack};
use ganger_worker::{Context, HandlerError, Task, Worker};

/// Numbers that `primes` looks at between two words about its progress.
const BLOCK: u32 = 20_000;
/// The attempt at which `flaky` gives in.
const GOOD_ATTEMPT: u32 = 3;

/// A worker with handlers of its own, and a client that shows what they do.
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand, Debug)]
enum Role {
    /// Be the worker.
    Serve(ServeArgs),
    /// Submit tasks to it and print what they say.
    Show {
        /// Where the broker listens for clients.
        #[arg(long, env = "GANGER_BROKER", default_value = DEFAULT_ENDPOINT)]
        broker: String,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Args::parse().role {
        Role::Serve(args) => serve(&args).await,
        Role::Show { broker } => show(&broker).await,
    }
}

async fn serve(args: &ServeArgs) -> Result<()> {
    let worker = Worker::builder()
        .connect(&args.broker)
        .name(&args.name)
        .slots(args.slots)
        .handler("fetch", fetch)
        .blocking_handler("primes", |task, context| primes(&task, &context))
        .handler("flaky", flaky)
        .build()?;
    println!("{} serves fetch, primes and flaky; Ctrl-C ends it", args.name);
    // Returns when everything that ran has ended or was handed back, and the broker knows.
    worker.run(stopped()).await?;
    Ok(())
}

/// A handler that waits, as one does that asks another service. While it waits, others run.
async fn fetch(task: Task, context: Context) -> Result<String, HandlerError> {
    // An operator changes this for all workers at once: ganger knowledge put fetch pause_ms 50
    let pause: u64 = match context.knowledge().get("fetch", "pause_ms") {
        Some(value) => unpack(&value)?,
        None => 200,
    };
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(pause)) => {}
        () = context.cancelled() => return Err(HandlerError::new("stopped")),
    }
    Ok(format!("{} after {pause} ms", String::from_utf8_lossy(&task.payload)))
}

/// A handler that computes: it has a thread to itself, tells how far it is, hands out what it has, and
/// looks now and then whether anybody still wants the rest.
fn primes(task: &Task, context: &Context) -> Result<Bytes, HandlerError> {
    // Bytes that are no number will not be one next time either.
    let up_to: u32 = unpack(&task.payload).map_err(|error| HandlerError::from(error).fatal())?;
    let mut found: u64 = 0;
    for start in (0..up_to).step_by(BLOCK as usize) {
        if context.is_cancelled() {
            return Err(HandlerError::new("stopped"));
        }
        let end = up_to.min(start.saturating_add(BLOCK));
        let block: Vec<u32> = (start..end).filter(|number| is_prime(*number)).collect();
        found += block.len() as u64;
        context.progress(end as f32 / up_to as f32, format!("{found} primes below {end}"));
        // For watching: a part may be dropped, so the result does not rely on it.
        context.partial(pack(&block.last())?);
    }
    Ok(pack(&found)?)
}

/// A handler that fails before it succeeds. A failure is tried again, after a pause that it may name.
async fn flaky(_: Task, context: Context) -> Result<String, HandlerError> {
    match context.attempt().0 {
        attempt if attempt >= GOOD_ATTEMPT => Ok(format!("attempt {attempt} worked")),
        attempt => Err(HandlerError::new(format_args!("attempt {attempt} did not work"))
            .retry_after(Duration::from_millis(100))),
    }
}

fn is_prime(number: u32) -> bool {
    let number = u64::from(number);
    number >= 2 && (2..).take_while(|factor| factor * factor <= number).all(|factor| number % factor != 0)
}

async fn show(broker: &str) -> Result<()> {
    let client = Client::connect(ClientConfig::new(broker.parse()?)).await?;

    let mut fetched = client.submit(NewTask::new("fetch", "a page")).await?;
    println!("fetch: {}", String::from_utf8_lossy(&fetched.outcome().await?.result));

    let mut flaky = client.submit(NewTask::new("flaky", "")).await?;
    let worked = flaky.outcome().await?;
    println!("flaky: {}", String::from_utf8_lossy(&worked.result));
    let (history, _) = client.fetch(worked.id).await?;
    for attempt in history.attempts {
        println!("       attempt {} {}: {}", attempt.attempt, attempt.end, attempt.error.unwrap_or_default());
    }

    // Progress and parts are only sent to whom asks for them.
    let events = TaskOptions { events: true, ..TaskOptions::default() };
    let task = client.submit(NewTask::new("primes", pack(&1_000_000_u32)?).options(events.clone())).await?;
    let mut said = client.events(task.id())?;
    while let Some(word) = said.next().await {
        match word? {
            Followed::Event(TaskEvent::Progress { fraction, text, .. }) => {
                println!("primes: {:>3.0} %  {text}", fraction.unwrap_or_default() * 100.0);
            }
            Followed::Event(TaskEvent::Partial { .. }) | Followed::Missed(_) => {}
            Followed::Ended(end) => println!("primes: {} in all", unpack::<u64>(&end.result)?),
        }
    }

    // As soon as it says something it runs, and is cancelled.
    let task = client.submit(NewTask::new("primes", pack(&u32::MAX)?).options(events)).await?;
    let mut said = client.events(task.id())?;
    let first = said.next().await.transpose()?;
    println!("endless primes: running: {}", matches!(first, Some(Followed::Event(_))));
    let refused = client.cancel(&[task.id()]).await?;
    while let Some(word) = said.next().await {
        if let Followed::Ended(end) = word? {
            println!("endless primes: {}, {} refused", end.outcome, refused.len());
        }
    }
    client.close().await;
    Ok(())
}
