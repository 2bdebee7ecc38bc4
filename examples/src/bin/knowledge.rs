//! A setting that is changed while workers run.
//!
//! ```console
//! cargo run --bin ganger-broker
//! cargo run --bin knowledge -- serve        # in as many terminals as you like
//! cargo run --bin knowledge -- change
//! ```
//! The workers greet in the language that the knowledge map names. The program changes the language
//! between two rounds of tasks and never restarts a worker. Tasks of the second round ask for the revision
//! of the change, so none of them runs on a worker that has not heard of it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use ganger_client::{Client, ClientConfig, DEFAULT_ENDPOINT, NewTask};
use ganger_common::Revision;
use ganger_examples::gather::gather;
use ganger_examples::handlers::{ServeArgs, stopped};
use ganger_worker::Worker;

/// Where the setting is.
const TOPIC: &str = "greeter";
const KEY: &str = "greeting";
/// The kind of task that greets.
const GREET: &str = "greet";

/// Changes a setting while workers run.
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand, Debug)]
enum Role {
    /// Be a worker that greets.
    Serve(ServeArgs),
    /// Change the greeting between two rounds of tasks.
    Change {
        /// Where the broker listens for clients.
        #[arg(long, env = "GANGER_BROKER", default_value = DEFAULT_ENDPOINT)]
        broker: String,
        /// Tasks of each round.
        #[arg(long, default_value_t = 1_000)]
        tasks: usize,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Args::parse().role {
        Role::Serve(args) => serve(&args).await,
        Role::Change { broker, tasks } => change(&broker, tasks).await,
    }
}

async fn serve(args: &ServeArgs) -> Result<()> {
    let worker = Worker::builder()
        .connect(&args.broker)
        .name(&args.name)
        .slots(args.slots)
        .handler(GREET, |task, context| async move {
            // A copy in this process: reading it costs no message.
            let greeting = context.knowledge().get(TOPIC, KEY).unwrap_or_default();
            Ok([&greeting[..], b", ", &task.payload[..]].concat())
        })
        .build()?;
    println!("{} greets; Ctrl-C ends it", args.name);
    worker.run(stopped()).await?;
    Ok(())
}

async fn change(broker: &str, tasks: usize) -> Result<()> {
    let client = Client::connect(ClientConfig::new(broker.parse()?)).await?;
    for greeting in ["hello", "buenos días"] {
        let revision = client.knowledge().put(TOPIC, KEY, greeting).await?;
        println!("{TOPIC}/{KEY} is {greeting:?} since revision {revision}");
        for (answer, number) in round(&client, tasks, revision).await? {
            println!("{number:>6} × {answer}");
        }
    }
    let status = client.knowledge().status().await?;
    for worker in &status.workers {
        println!("{} is at revision {} of {}", worker.name, worker.revision, status.revision);
    }
    client.close().await;
    Ok(())
}

/// How often each answer came. It is one answer: no task of the round ran with an older greeting.
async fn round(client: &Client, tasks: usize, revision: Revision) -> Result<BTreeMap<String, usize>> {
    let task = NewTask::new(GREET, "world").knowledge(revision).ttl(Duration::from_secs(60));
    let mut answers = BTreeMap::new();
    gather(client, std::iter::repeat_n(task, tasks), |_, answer| {
        *answers.entry(String::from_utf8_lossy(&answer).into_owned()).or_default() += 1;
        Ok(())
    })
    .await?;
    Ok(answers)
}
