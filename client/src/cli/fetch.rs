//! `result`: what a task has brought.

use bytes::Bytes;
use ganger_client::json;
use ganger_common::Outcome;
use ganger_common::view::TaskView;
use serde_json::json;

use super::args::ResultArgs;
use super::context::Context;
use super::exit::Exit;
use super::wait::result_text;

pub(crate) async fn run(context: &mut Context, args: ResultArgs) -> Result<(), Exit> {
    let client = context.client().await?;
    let (task, result) = context.answer(client.fetch(args.id)).await?;
    if context.output.is_json() {
        context.output.json(&json!({
            "id": task.id,
            "state": task.state.as_str(),
            "outcome": task.outcome.map(Outcome::as_str),
            "attempt": task.attempt,
            "result": result.as_deref().map(json::show),
            "error": task.error,
        }))?;
        return judge(&task);
    }
    match (task.outcome, &result) {
        (Some(Outcome::Succeeded), Some(result)) => print(context, result, args.raw),
        (Some(Outcome::Succeeded), None) => {
            context.output.hint("the task succeeded, and the broker no longer keeps its result");
            Ok(())
        }
        (Some(outcome), _) => {
            let error = task.error.as_deref().map_or(String::new(), |error| format!(": {error}"));
            context.output.hint(&format!("the task has {outcome}{error}"));
            judge(&task)
        }
        (None, _) => {
            let state = task.state.as_str();
            context.output.hint(&format!("the task is {state}; `ganger wait {}` waits for it", task.id));
            judge(&task)
        }
    }
}

fn print(context: &mut Context, result: &Bytes, raw: bool) -> Result<(), Exit> {
    match raw {
        true => context.output.bytes(result),
        false => context.output.line(&result_text(result)),
    }
}

fn judge(task: &TaskView) -> Result<(), Exit> {
    match task.outcome {
        Some(Outcome::Succeeded) => Ok(()),
        _ => Err(Exit::Unsuccessful),
    }
}
