//! `tasks`: a listing.

use ganger_client::TaskQuery;
use ganger_common::limits::PAGE_ROWS_MAX;
use ganger_common::view::{TaskState, TaskView};

use super::args::TasksArgs;
use super::context::Context;
use super::exit::Exit;
use super::output::{Field, Tone, ago, cut, must, nice, number, text, toned};
use super::wait::tone;

pub(crate) async fn run(context: &mut Context, args: TasksArgs) -> Result<(), Exit> {
    let client = context.client().await?;
    let mut query = TaskQuery { state: args.state, kind: args.kind, ..TaskQuery::default() };
    let mut rows: Vec<TaskView> = Vec::new();
    let has_more = loop {
        let left = args.limit - rows.len() as u64;
        query.limit = Some(left.min(PAGE_ROWS_MAX as u64) as u32);
        let page = context.answer(client.list(query.clone())).await?;
        rows.extend(page.rows);
        query.after = page.next;
        if query.after.is_none() || rows.len() as u64 >= args.limit {
            break query.after.is_some();
        }
    };
    print(context, &rows)?;
    if rows.is_empty() {
        context.output.hint("no tasks");
    } else if has_more {
        context.output.hint(&format!("there may be more than {}; list them with --limit", rows.len()));
    }
    Ok(())
}

fn print(context: &mut Context, rows: &[TaskView]) -> Result<(), Exit> {
    if context.output.is_json() {
        return rows.iter().try_for_each(|task| context.output.json(task));
    }
    let header = [
        must("ID"),
        must("KIND"),
        must("STATE"),
        nice(1, "PRIORITY"),
        nice(2, "ATTEMPT"),
        nice(4, "SUBMITTED"),
        nice(3, "WORKER"),
        cut("ERROR"),
    ];
    context.output.table(&header, rows.iter().map(row).collect())
}

fn row(task: &TaskView) -> Vec<Field> {
    vec![
        text(task.id.to_string()),
        text(&task.kind),
        state(task),
        number(task.priority),
        number(task.attempt),
        text(ago(task.submitted_unix_ms)),
        text(worker(task)),
        text(task.error.as_deref().unwrap_or("-")),
    ]
}

/// The label of a task's worker. The broker does not know it any more once the worker is gone whose result it
/// keeps; its logs name the worker by the id.
fn worker(task: &TaskView) -> String {
    let id = || task.worker.map_or("-".to_owned(), |worker| worker.to_string());
    task.worker_name.clone().unwrap_or_else(id)
}

/// A task's state, or its outcome once it has one.
pub(crate) fn state(task: &TaskView) -> Field {
    match (task.outcome, task.state) {
        (Some(outcome), _) => toned(outcome.as_str(), tone(outcome)),
        (None, TaskState::Parked) => toned("parked", Tone::Careful),
        (None, state) => text(state.as_str()),
    }
}
