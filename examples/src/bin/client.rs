//! The example client: submits jobs, waits, prints.
//!
//! ```console
//! cargo run --bin ganger-broker
//! cargo run --bin ganger-worker -- --slots 4
//! cargo run --bin client -- --jobs 20
//! ```
//! Start as many workers as you like, and stop one while it runs: every job still has one result.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use ganger_client::{Client, ClientConfig, DEFAULT_ENDPOINT, NewTask};

/// Submits jobs to a broker and prints their results.
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    /// Where the broker listens for clients.
    #[arg(long, env = "GANGER_BROKER", default_value = DEFAULT_ENDPOINT)]
    broker: String,
    /// How many jobs to submit.
    #[arg(long, default_value_t = 10)]
    jobs: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let client = Client::connect(ClientConfig::new(args.broker.parse()?)).await?;
    let start = Instant::now();

    // Submitting does not wait for a result: all jobs are under way before the first is asked for.
    let mut handles = Vec::new();
    for number in 0..args.jobs {
        let text = format!("job number {number}");
        let task = NewTask::new("sha256", text.into_bytes()).run_limit(Duration::from_secs(10));
        handles.push(client.send(task).await?);
    }
    println!("{} jobs submitted", handles.len());

    for mut handle in handles {
        let id = handle.id();
        let job = handle.outcome().await?;
        match job.error {
            None => println!("{id}  {}  {}", job.outcome, String::from_utf8_lossy(&job.result)),
            Some(error) => println!("{id}  {}  {error}", job.outcome),
        }
    }
    println!("done in {:.1?}", start.elapsed());
    client.close().await;
    Ok(())
}
