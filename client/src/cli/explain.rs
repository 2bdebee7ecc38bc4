//! `explain`: why a task is where it is.

use ganger_common::view::{AttemptView, TaskView};
use ganger_common::{AttemptEnd, Outcome};

use super::args::IdArgs;
use super::context::Context;
use super::exit::Exit;
use super::output::{Field, Tone, ago, cut, must, nice, number, size, text, time, toned};

pub(crate) async fn run(context: &mut Context, args: IdArgs) -> Result<(), Exit> {
    let client = context.client().await?;
    let explanation = context.answer(client.explain(args.id)).await?;
    if context.output.is_json() {
        return context.output.json(&explanation);
    }
    let task = &explanation.task;
    let state = task.outcome.map_or(task.state.as_str(), Outcome::as_str);
    context.output.line(&format!("Task {} of kind {} is {state}.", task.id, task.kind))?;
    for reason in &explanation.reasons {
        context.output.toned_line(&format!("  {}", reason.text), Tone::Careful)?;
    }
    context.output.line(&figures(task))?;
    if !task.attempts.is_empty() {
        context.output.line("")?;
        let header =
            [must("ATTEMPT"), must("END"), nice(2, "WHEN"), nice(1, "RAN"), must("WORKER"), cut("ERROR")];
        context.output.table(&header, task.attempts.iter().map(row).collect())?;
    }
    Ok(())
}

fn figures(task: &TaskView) -> String {
    let mut parts = vec![
        format!("submitted {}", ago(task.submitted_unix_ms)),
        format!("priority {}", task.priority),
        format!("payload {}", size(task.payload_bytes)),
    ];
    let counts = [("attempt", task.attempt.0), ("failures", task.failures), ("timeouts", task.timeouts)];
    let counts = counts.into_iter().chain([("crashes", task.crashes)]);
    parts.extend(counts.filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}")));
    parts.extend(task.trace_id.map(|trace| format!("trace {trace}")));
    format!("  {}", parts.join(", "))
}

fn row(attempt: &AttemptView) -> Vec<Field> {
    let end = match attempt.end {
        AttemptEnd::Succeeded => toned(attempt.end.as_str(), Tone::Good),
        AttemptEnd::Failed | AttemptEnd::TimedOut | AttemptEnd::Crashed => {
            toned(attempt.end.as_str(), Tone::Bad)
        }
        _ => text(attempt.end.as_str()),
    };
    let ran = match attempt.run_us {
        0 => "-".to_owned(),
        micros => time(std::time::Duration::from_micros(micros)),
    };
    vec![
        number(attempt.attempt),
        end,
        text(ago(attempt.at_unix_ms)),
        text(ran),
        text(&attempt.worker_name),
        text(attempt.error.as_deref().unwrap_or("-")),
    ]
}
