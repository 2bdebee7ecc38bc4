//! `ganger`: the command line of a Ganger broker.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
