//! `drain`: let workers, or the broker, finish what they have.

use super::args::DrainArgs;
use super::cancel::print_verdicts;
use super::context::Context;
use super::exit::Exit;

pub(crate) async fn run(context: &mut Context, args: DrainArgs) -> Result<(), Exit> {
    let client = context.client().await?;
    if args.itself {
        context.answer(client.drain_broker(args.deadline)).await?;
        return print_verdicts(context, &["the broker".to_owned()], &[], "drains");
    }
    let names = if args.all { vec!["every worker".to_owned()] } else { args.workers.clone() };
    let refused = context.answer(client.drain(args.workers, args.deadline)).await?;
    print_verdicts(context, &names, &refused, "drains")
}
