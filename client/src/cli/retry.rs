//! `retry`: tasks by id, or all the dead.

use ganger_client::{Client, TaskQuery};
use ganger_common::TaskId;
use ganger_common::view::StateFilter;

use super::args::RetryArgs;
use super::cancel::print_verdicts;
use super::context::Context;
use super::exit::Exit;

pub(crate) async fn run(context: &mut Context, args: RetryArgs) -> Result<(), Exit> {
    let client = context.client().await?;
    let ids = match args.dead {
        true => dead(context, &client, args.kind).await?,
        false => args.ids,
    };
    if ids.is_empty() {
        context.output.hint("no task is dead");
        return Ok(());
    }
    let refused = context.answer(client.retry(&ids)).await?;
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    print_verdicts(context, &names, &refused, "is queued again")
}

/// All dead tasks. They are read before the first is put back, which would change the listing.
async fn dead(context: &Context, client: &Client, kind: Option<String>) -> Result<Vec<TaskId>, Exit> {
    let mut ids = Vec::new();
    let mut query = TaskQuery { state: Some(StateFilter::Dead), kind, ..TaskQuery::default() };
    loop {
        let page = context.answer(client.list(query.clone())).await?;
        ids.extend(page.rows.iter().map(|task| task.id));
        query.after = page.next;
        if query.after.is_none() {
            return Ok(ids);
        }
    }
}
