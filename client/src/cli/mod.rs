//! The command line: one file a subcommand; what is printed is the business of [`output`] alone.

mod args;
mod bench;
mod beside;
mod cancel;
mod context;
mod discard;
mod drain;
mod exit;
mod explain;
mod fetch;
mod gang;
mod journal;
mod keygen;
mod knowledge;
mod lines;
mod output;
mod pause;
mod payload;
mod progress;
mod publish;
mod retry;
mod status;
mod submit;
mod tasks;
mod top;
mod wait;
mod workers;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use self::args::{Command, parse};
use self::context::Context;
use self::exit::Exit;

/// Runs the command that the arguments name.
pub(crate) fn main() -> ExitCode {
    let cli = match parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.report(),
    };
    if let Err(exit) = context::start_log(cli.global.log.as_deref()) {
        return exit.report();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Exit::Failed(format!("cannot start a runtime: {error}")).report(),
    };
    let result = runtime.block_on(run(Context::new(cli.global), cli.command));
    // A thread that reads standard input cannot be interrupted, and must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report(),
    }
}

async fn run(mut context: Context, command: Command) -> Result<(), Exit> {
    let context = &mut context;
    let result = match command {
        Command::Submit(args) => submit::run(context, args).await,
        Command::Wait(args) => wait::run(context, args).await,
        Command::Result(args) => fetch::run(context, args).await,
        Command::Cancel(args) => cancel::run(context, args).await,
        Command::Retry(args) => retry::run(context, args).await,
        Command::Discard(args) => discard::run(context, args).await,
        Command::Pause(args) => pause::pause(context, args).await,
        Command::Resume(args) => pause::resume(context, args).await,
        Command::Tasks(args) => tasks::run(context, args).await,
        Command::Explain(args) => explain::run(context, args).await,
        Command::Workers => workers::run(context).await,
        Command::Drain(args) => drain::run(context, args).await,
        Command::Status => status::run(context).await,
        Command::Top(args) => top::run(context, args).await,
        Command::Knowledge(args) => knowledge::run(context, args).await,
        Command::Publish(args) => publish::publish(context, args).await,
        Command::Subscribe(args) => publish::subscribe(context, args).await,
        Command::Journal(args) => journal::run(context, args),
        Command::Bench(args) => bench::run(context, args).await,
        Command::Keygen(args) => keygen::run(context, &args),
        Command::BenchBare(args) => bench::bare_part(args).await,
    };
    context.close().await;
    result.and(context.output.flush())
}
