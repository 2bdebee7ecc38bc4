//! Map and reduce: counts the words of all text files in a folder.
//!
//! ```console
//! cargo run --release --bin ganger-broker
//! cargo run --release --bin wordcount -- serve --slots 4      # in as many terminals as you like
//! cargo run --release --bin wordcount -- count docs
//! ```

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};
use ganger_client::{Client, ClientConfig, DEFAULT_ENDPOINT};
use ganger_examples::gather::gather;
use ganger_examples::{handlers, wordcount, words};

/// Counts words with map and reduce tasks.
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand, Debug)]
enum Role {
    /// Be a worker that counts.
    Serve(handlers::ServeArgs),
    /// Submit the text files of folders, and print the words that occur most often.
    Count {
        /// Files and folders.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Where the broker listens for clients.
        #[arg(long, env = "GANGER_BROKER", default_value = DEFAULT_ENDPOINT)]
        broker: String,
        /// Bytes of text for one map task.
        #[arg(long, default_value_t = 64 << 10)]
        piece: usize,
        /// How many words to print.
        #[arg(long, default_value_t = 20)]
        top: usize,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Args::parse().role {
        Role::Serve(args) => handlers::serve(&args).await,
        Role::Count { paths, broker, piece, top } => count(&paths, &broker, piece, top).await,
    }
}

async fn count(paths: &[PathBuf], broker: &str, piece: usize, top: usize) -> Result<()> {
    let files = words::text_files(paths)?;
    let texts = files.iter().map(|file| words::read_text(file)).collect::<Result<Vec<_>, _>>()?;
    let client = Client::connect(ClientConfig::new(broker.parse()?)).await?;
    let start = Instant::now();

    let mut parts = Vec::new();
    gather(&client, wordcount::map_tasks(&texts, piece), |_, part| {
        parts.push(part);
        Ok(())
    })
    .await?;
    let maps = parts.len();
    let counts = wordcount::reduce(&client, parts, || {}).await?;

    for (word, number) in words::most_frequent(&counts, top) {
        println!("{number:>8}  {word}");
    }
    let total: u64 = counts.values().sum();
    println!("{total} words in {} files, {maps} map tasks, {:.1?}", files.len(), start.elapsed());
    client.close().await;
    Ok(())
}
