//! `journal`: hands over to `ganger-broker journal`. Only the broker opens its database.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;

use super::beside;
use super::context::Context;
use super::exit::Exit;

/// Everything after the word, as it is: what it means is the other program's business.
#[derive(Args, Debug)]
pub(crate) struct JournalArgs {
    /// inspect, verify or export, and a data directory; see `ganger journal --help`.
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) rest: Vec<OsString>,
}

/// Becomes the other program; returns only when that fails.
pub(crate) fn run(context: &Context, args: JournalArgs) -> Result<(), Exit> {
    let program = beside::program(PROGRAM);
    let mut command = Command::new(&program);
    command.arg("journal").args(args.rest);
    if context.global.json {
        command.arg("--json");
    }
    let error = command.exec();
    Err(Exit::Failed(match error.kind() {
        io::ErrorKind::NotFound => {
            format!("cannot find the program {PROGRAM}, which reads journals, beside this one or in PATH")
        }
        _ => format!("cannot run {}: {error}", program.display()),
    }))
}

const PROGRAM: &str = "ganger-broker";
