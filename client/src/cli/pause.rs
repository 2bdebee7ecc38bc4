//! `pause` and `resume`: whether tasks of a kind are given out.

use super::args::KindArgs;
use super::cancel::print_verdicts;
use super::context::Context;
use super::exit::Exit;

pub(crate) async fn pause(context: &mut Context, args: KindArgs) -> Result<(), Exit> {
    let client = context.client().await?;
    context.answer(client.pause(&args.kind)).await?;
    context.output.hint("what workers have of it goes on; `ganger status` shows which kinds are paused");
    print_verdicts(context, &[args.kind], &[], "is paused")
}

pub(crate) async fn resume(context: &mut Context, args: KindArgs) -> Result<(), Exit> {
    let client = context.client().await?;
    context.answer(client.resume(&args.kind)).await?;
    print_verdicts(context, &[args.kind], &[], "is given out")
}
