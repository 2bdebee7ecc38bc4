//! The whole of Ganger in a few seconds. From the root of the repository:
//!
//! ```console
//! cargo demo                      # counts the words of the repository's own documents
//! cargo demo notes.txt some/dir   # or of these
//! ```
//!
//! It starts a broker and four worker processes on free ports, counts words, renders `mandelbrot.png`,
//! kills one worker halfway, and shows what became of its tasks. The exit code is 1 if the counts differ
//! from those of a single process.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ganger_examples::demo::{roles, story};
use ganger_examples::mandelbrot::Picture;

/// A broker and four workers count words and render a picture; one worker is killed halfway.
#[derive(Parser, Debug)]
#[command(name = "demo", version)]
struct Args {
    /// Text files and folders whose words are counted; by default the documents of the repository.
    files: Vec<PathBuf>,
    /// Where the picture goes.
    #[arg(long, value_name = "FILE", default_value = "mandelbrot.png")]
    picture: PathBuf,
    /// Height of the picture in pixels; its width follows.
    #[arg(long, default_value_t = 1080, value_parser = clap::value_parser!(u32).range(9..=8_640))]
    height: u32,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let right = match roles::play(&args) {
        Some(played) => played.map(|()| true),
        None => tell(&Args::parse()),
    };
    match right {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tell(args: &Args) -> anyhow::Result<bool> {
    let files = story::documents(&args.files)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let picture = Picture { width: args.height * 16 / 9, height: args.height, ..Picture::VALLEY };
    runtime.block_on(story::run(&files, picture, &args.picture))
}
