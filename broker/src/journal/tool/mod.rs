//! `ganger-broker journal`: looks into the directory of a broker that has stopped, and changes nothing.
//!
//! - `inspect`: what is in it. `verify`: whether a broker would take it. `export`: its tasks.

mod export;
mod inspect;
mod state;

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use ganger_scheduler::RecoveryError;

use super::{JournalError, survey};

/// Look into the data directory of a broker that has stopped. Nothing in it is changed.
///
/// Exit codes: 0 all is well; 1 it cannot be read, or a broker has it; 2 the command line is wrong; 3 it is
/// damaged.
#[derive(Parser, Debug)]
#[command(
    name = "ganger journal",
    bin_name = "ganger journal",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print JSON, one value a line.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show what is in a journal: ranges, sizes, counts, the high-water mark.
    Inspect(Dir),
    /// Make every check that a broker makes before it starts.
    Verify(Dir),
    /// Print the tasks in a journal as JSON lines, settled ones that are still kept included.
    Export(ExportArgs),
}

#[derive(Args, Debug)]
struct Dir {
    /// The data directory: what the broker has as --data.
    #[arg(value_name = "DIR", default_value = "ganger-data")]
    dir: PathBuf,
}

#[derive(Args, Debug)]
struct ExportArgs {
    #[command(flatten)]
    dir: Dir,
    /// Print payloads and results, too, in hexadecimal digits.
    #[arg(long)]
    payloads: bool,
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
enum ToolError {
    /// The journal cannot be opened or read, or is damaged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// All that is there is what was written, and something of the state is missing in it.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

const FAILED: u8 = 1;
const BAD_USAGE: u8 = 2;
const DAMAGED: u8 = 3;

/// Runs the command that the arguments name, the first of which is the name of the program.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let is_asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let _ = error.print();
            return if is_asked_for { ExitCode::SUCCESS } else { ExitCode::from(BAD_USAGE) };
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let done = run(&cli, &mut out).and_then(|()| Ok(out.flush()?));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(ToolError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ganger journal: {}", crate::error::in_one_line(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn run(cli: &Cli, out: &mut impl Write) -> Result<(), ToolError> {
    match &cli.command {
        Command::Inspect(at) => inspect::inspect(&at.dir, cli.json, out),
        Command::Verify(at) => verify(&at.dir, cli.json, out),
        Command::Export(args) => export::export(&args.dir.dir, args.payloads, out),
    }
}

fn verify(dir: &std::path::Path, json: bool, out: &mut impl Write) -> Result<(), ToolError> {
    let (survey, ..) = state::recover(dir, &mut |_, _| {})?;
    let (first, last) = (survey.first.0, survey.last.0);
    match json {
        true => writeln!(out, "{}", serde_json::json!({ "sound": true, "first": first, "last": last }))?,
        false if last < first => writeln!(out, "sound: no records")?,
        false => writeln!(out, "sound: records {first} to {last} in {} batches", survey.batches)?,
    }
    Ok(())
}

fn exit_code(error: &ToolError) -> u8 {
    match error {
        ToolError::Journal(JournalError::Damaged { .. }) | ToolError::Recovery(_) => DAMAGED,
        ToolError::Journal(_) | ToolError::Output(_) => FAILED,
    }
}
