//! `wait`: outcomes as they come. What one outcome looks like is told here, for `submit` as well.

use futures_util::StreamExt;
use ganger_client::{Error, TaskHandle, TaskOutcome, as_completed, json};
use ganger_common::{ErrorCode, Outcome, TaskId};
use serde_json::{Map, Value};

use super::args::WaitArgs;
use super::context::{Context, within};
use super::exit::Exit;
use super::output::{Output, Tone};

pub(crate) async fn run(context: &mut Context, args: WaitArgs) -> Result<(), Exit> {
    let client = context.client().await?;
    let handles = client.watch(args.ids)?;
    let waiting = print_as_they_come(&mut context.output, handles);
    match args.within {
        None => waiting.await,
        Some(after) => {
            let ended = within(after, async { Ok(waiting.await) }).await;
            ended.unwrap_or_else(|error| Err(Exit::Failed(format!("{error}; the tasks go on"))))
        }
    }
}

/// Prints outcomes as they come, and says how it went as a whole.
async fn print_as_they_come(output: &mut Output, handles: Vec<TaskHandle>) -> Result<(), Exit> {
    let mut ends = as_completed(handles);
    let mut whole = Ok(());
    while let Some((id, end)) = ends.next().await {
        print(output, id, &end, true)?;
        whole = worse(whole, judge(&end));
    }
    whole
}

/// How a command ends that waited for this.
pub(crate) fn judge(end: &Result<TaskOutcome, Error>) -> Result<(), Exit> {
    match end {
        Ok(outcome) if outcome.is_success() => Ok(()),
        Ok(_) => Err(Exit::Unsuccessful),
        Err(error) => Err(error.clone().into()),
    }
}

/// What is broken outweighs what was refused, and that outweighs what did not succeed.
pub(crate) fn worse(one: Result<(), Exit>, other: Result<(), Exit>) -> Result<(), Exit> {
    let weight = |result: &Result<(), Exit>| match result {
        Ok(()) => 0,
        Err(Exit::Unsuccessful) => 1,
        Err(Exit::Refused(_)) => 2,
        Err(_) => 3,
    };
    if weight(&other) > weight(&one) { other } else { one }
}

/// Prints the end of one task. With `named`, a person sees which.
pub(crate) fn print(
    output: &mut Output,
    id: TaskId,
    end: &Result<TaskOutcome, Error>,
    named: bool,
) -> Result<(), Exit> {
    if output.is_json() {
        return output.json(&object(id, end));
    }
    let name = if named { format!("{id} ") } else { String::new() };
    match end {
        Ok(outcome) if outcome.is_success() => {
            let result = match outcome.result_dropped {
                true => "(the broker no longer keeps the result)".to_owned(),
                false => result_text(&outcome.result),
            };
            let name = if named { format!("{name}{} ", outcome.outcome) } else { name };
            output.line(format!("{name}{result}").trim_end())
        }
        Ok(outcome) => {
            let error = outcome.error.as_deref().map_or(String::new(), |error| format!(": {error}"));
            output.toned_line(&format!("{name}{}{error}", outcome.outcome), tone(outcome.outcome))
        }
        Err(error) => output.toned_line(&format!("{name}{error}"), Tone::Bad),
    }
}

/// A result for people: a text as it is, anything else as JSON.
pub(crate) fn result_text(result: &[u8]) -> String {
    match json::show(result) {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

pub(crate) fn tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Succeeded => Tone::Good,
        Outcome::Cancelled | Outcome::Expired => Tone::Careful,
        Outcome::Failed | Outcome::Dead => Tone::Bad,
    }
}

/// The end of one task for programs.
pub(crate) fn object(id: TaskId, end: &Result<TaskOutcome, Error>) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("id".to_owned(), id.to_string().into());
    match end {
        Ok(outcome) => {
            object.insert("outcome".to_owned(), outcome.outcome.as_str().into());
            object.insert("attempt".to_owned(), outcome.attempt.0.into());
            object.insert("result".to_owned(), json::show(&outcome.result));
            object.insert("error".to_owned(), outcome.error.clone().into());
            if outcome.result_dropped {
                object.insert("result_dropped".to_owned(), true.into());
            }
        }
        Err(error) => {
            object.insert("outcome".to_owned(), Value::Null);
            object.insert("error".to_owned(), error.to_string().into());
            object.insert("code".to_owned(), error.code().map(ErrorCode::as_str).into());
        }
    }
    object
}
