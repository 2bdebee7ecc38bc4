//! Renders a picture in tiles, on as many workers as there are.
//!
//! ```console
//! cargo run --release --bin ganger-broker
//! cargo run --release --bin mandelbrot -- serve --slots 4     # in as many terminals as you like
//! cargo run --release --bin mandelbrot -- render --width 3840 --height 2160
//! ```

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use ganger_client::{Client, ClientConfig, DEFAULT_ENDPOINT, NewTask};
use ganger_examples::gather::gather;
use ganger_examples::handlers;
use ganger_examples::mandelbrot::{Canvas, Picture, TILE};
use ganger_examples::payload::pack;
use indicatif::ProgressBar;

/// Renders the Mandelbrot set in tiles.
#[derive(Parser, Debug)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand, Debug)]
enum Role {
    /// Be a worker that renders.
    Serve(handlers::ServeArgs),
    /// Submit the tiles of a picture and put them together.
    Render {
        /// Where the broker listens for clients.
        #[arg(long, env = "GANGER_BROKER", default_value = DEFAULT_ENDPOINT)]
        broker: String,
        /// Pixels from left to right.
        #[arg(long, default_value_t = 1920, value_parser = clap::value_parser!(u32).range(1..=32_768))]
        width: u32,
        /// Pixels from top to bottom.
        #[arg(long, default_value_t = 1080, value_parser = clap::value_parser!(u32).range(1..=32_768))]
        height: u32,
        /// Width and height of a tile in pixels.
        #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=2_048))]
        tile: u32,
        /// Where the picture goes.
        #[arg(long, value_name = "FILE", default_value = "mandelbrot.png")]
        picture: PathBuf,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Args::parse().role {
        Role::Serve(args) => handlers::serve(&args).await,
        Role::Render { broker, width, height, tile, picture } => {
            let view = Picture { width, height, ..Picture::VALLEY };
            render(&broker, view, tile, &picture).await
        }
    }
}

async fn render(broker: &str, picture: Picture, side: u32, path: &Path) -> Result<()> {
    let client = Client::connect(ClientConfig::new(broker.parse()?)).await?;
    let tiles = picture.tasks(side);
    let tasks = tiles.iter().map(|tile| Ok(NewTask::new(TILE, pack(tile)?))).collect::<Result<Vec<_>>>()?;
    let bar = ProgressBar::new(tasks.len() as u64);
    let start = Instant::now();
    let mut canvas = Canvas::new(picture);
    gather(&client, tasks, |place, pixels| {
        bar.inc(1);
        Ok(canvas.put(tiles[place].tile, &pixels)?)
    })
    .await?;
    bar.finish_and_clear();
    println!("{} tiles in {:.1?}: {}", tiles.len(), start.elapsed(), path.display());
    let file = File::create(path).with_context(|| path.display().to_string())?;
    canvas.write_png(BufWriter::new(file))?;
    client.close().await;
    Ok(())
}
