//! Many tasks, submitted as fast as they are taken, with results as they come.

use anyhow::{Context, bail};
use bytes::Bytes;
use ganger_client::{Client, NewTask, TaskOutcome};
use tokio::task::JoinSet;

/// Submits tasks and hands each result on, with the place of its task in the order of submission.
///
/// # Errors
/// When a task does not succeed, the broker is lost for good, or `take` says so. What was submitted
/// before still runs.
pub async fn gather(
    client: &Client,
    tasks: impl IntoIterator<Item = NewTask>,
    mut take: impl FnMut(usize, Bytes) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut waiting = JoinSet::new();
    for (place, task) in tasks.into_iter().enumerate() {
        let kind = task.kind().to_owned();
        // Waits when too much is under way, so the list of tasks may be as long as it likes.
        let mut handle = client.send(task).await.with_context(|| format!("submitting {kind}"))?;
        waiting.spawn(async move { (place, kind, handle.outcome().await) });
        while let Some(done) = waiting.try_join_next() {
            let (place, kind, outcome) = done?;
            take(place, result_of(&kind, outcome?)?)?;
        }
    }
    while let Some(done) = waiting.join_next().await {
        let (place, kind, outcome) = done?;
        take(place, result_of(&kind, outcome?)?)?;
    }
    Ok(())
}

fn result_of(kind: &str, task: TaskOutcome) -> anyhow::Result<Bytes> {
    match task.is_success() {
        true => Ok(task.result),
        false => bail!(
            "{kind} {}: {}: {}",
            task.id,
            task.outcome,
            task.error.as_deref().unwrap_or("no reason given")
        ),
    }
}
