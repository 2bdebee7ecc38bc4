//! What became of every task, from the histories that the broker keeps.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};
use ganger_common::AttemptEnd;
use ganger_common::view::{AttemptView, TaskView};

/// Most reassigned tasks that are named one by one.
const NAMED_MAX: usize = 8;

/// Tasks of one stage, and how long it took.
#[derive(Debug)]
pub struct StageReport {
    /// What it is called.
    pub name: &'static str,
    /// From its first submission to its last outcome.
    pub took: Duration,
    /// Its tasks.
    pub tasks: Vec<TaskView>,
}

impl StageReport {
    fn attempts(&self) -> u64 {
        self.tasks.iter().map(|task| u64::from(task.attempt.0)).sum()
    }

    fn reassigned(&self) -> usize {
        self.tasks.iter().filter(|task| lost_attempt(task).is_some()).count()
    }
}

/// The attempt of a task that its worker took down with it, if there is one.
fn lost_attempt(task: &TaskView) -> Option<&AttemptView> {
    task.attempts.iter().find(|attempt| matches!(attempt.end, AttemptEnd::Crashed | AttemptEnd::Lost))
}

/// One line for each task that had to be given to somebody else.
pub fn reassignments(stages: &[StageReport], killed_at: SystemTime) -> Vec<String> {
    let moved: Vec<String> = stages
        .iter()
        .flat_map(|stage| &stage.tasks)
        .filter_map(|task| Some((task, lost_attempt(task)?)))
        .map(|(task, lost)| {
            let after = since(killed_at, lost.at_unix_ms).as_secs_f64();
            let heir = task.worker_name.as_deref().unwrap_or("nobody");
            format!(
                "  {} {}: attempt {} {} with {}, given up after {after:.1} s; attempt {} by {heir}",
                task.kind, task.id, lost.attempt, lost.end, lost.worker_name, task.attempt
            )
        })
        .collect();
    let more = moved.len().saturating_sub(NAMED_MAX);
    let mut lines: Vec<String> = moved.into_iter().take(NAMED_MAX).collect();
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines
}

/// The closing table: a row for each stage, and the sum.
pub fn stage_table(stages: &[StageReport], took: Duration) -> Table {
    let mut table = table(&["stage", "tasks", "attempts", "reassigned", "time", "tasks/s"]);
    let mut row = |name: &str, tasks: usize, attempts: u64, reassigned: usize, took: Duration| {
        let rate = tasks as f64 / took.as_secs_f64().max(f64::EPSILON);
        table.add_row([
            name.to_owned(),
            tasks.to_string(),
            attempts.to_string(),
            reassigned.to_string(),
            format!("{:.2} s", took.as_secs_f64()),
            format!("{rate:.0}"),
        ]);
    };
    let (mut tasks, mut attempts, mut reassigned) = (0, 0, 0);
    for stage in stages {
        row(stage.name, stage.tasks.len(), stage.attempts(), stage.reassigned(), stage.took);
        tasks += stage.tasks.len();
        attempts += stage.attempts();
        reassigned += stage.reassigned();
    }
    row("together", tasks, attempts, reassigned, took);
    table
}

/// Who did what: a row for each worker, the killed one included.
pub fn worker_table(workers: &[(String, u32)], killed: &str, stages: &[StageReport]) -> Table {
    let mut settled: BTreeMap<&str, usize> = BTreeMap::new();
    let mut lost: BTreeMap<&str, usize> = BTreeMap::new();
    for task in stages.iter().flat_map(|stage| &stage.tasks) {
        if let Some(name) = &task.worker_name {
            *settled.entry(name).or_default() += 1;
        }
        if let Some(attempt) = lost_attempt(task) {
            *lost.entry(&attempt.worker_name).or_default() += 1;
        }
    }
    let mut table = table(&["worker", "process", "settled", "taken from it", ""]);
    for (name, pid) in workers {
        let count = |map: &BTreeMap<&str, usize>| map.get(name.as_str()).copied().unwrap_or(0).to_string();
        let fate = if name == killed { "killed halfway" } else { "" };
        table.add_row([name.clone(), pid.to_string(), count(&settled), count(&lost), fate.to_owned()]);
    }
    table
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// How long after a moment a broker on the same machine noted something.
fn since(moment: SystemTime, at_unix_ms: u64) -> Duration {
    let noted = UNIX_EPOCH + Duration::from_millis(at_unix_ms);
    noted.duration_since(moment).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ganger_common::view::TaskState;
    use ganger_common::{Attempt, Outcome, TaskId, WorkerId};

    use super::*;

    fn task(number: u8, lost_with: Option<&str>, settled_by: &str) -> TaskView {
        let attempts: Vec<AttemptView> = lost_with
            .iter()
            .map(|name| AttemptView {
                attempt: Attempt(1),
                worker: WorkerId::from_bytes([9; 16]),
                worker_name: (*name).to_owned(),
                end: AttemptEnd::Crashed,
                at_unix_ms: 12_000,
                run_us: 0,
                error: None,
            })
            .collect();
        TaskView {
            id: TaskId::from_bytes([number; 16]),
            kind: "mandelbrot.tile".to_owned(),
            state: TaskState::Settled,
            outcome: Some(Outcome::Succeeded),
            priority: 0,
            attempt: Attempt(attempts.len() as u32 + 1),
            failures: 0,
            timeouts: 0,
            crashes: attempts.len() as u32,
            submitted_unix_ms: 0,
            settled_unix_ms: Some(13_000),
            payload_bytes: 0,
            result_bytes: 0,
            worker: None,
            worker_name: Some(settled_by.to_owned()),
            error: None,
            trace_id: None,
            attempts,
        }
    }

    fn stages() -> Vec<StageReport> {
        let tasks = vec![task(1, None, "ada"), task(2, Some("ada"), "bob"), task(3, None, "bob")];
        vec![StageReport { name: "tiles", took: Duration::from_secs(2), tasks }]
    }

    #[test]
    fn a_task_that_was_taken_from_a_worker_is_named_with_its_heir() {
        let lines = reassignments(&stages(), UNIX_EPOCH + Duration::from_secs(10));
        assert_eq!(lines.len(), 1);
        for part in ["attempt 1 crashed with ada", "given up after 2.0 s", "attempt 2 by bob"] {
            assert!(lines[0].contains(part), "{part} in {}", lines[0]);
        }
    }

    #[test]
    fn many_reassigned_tasks_are_counted_not_listed() {
        let tasks = (0..20).map(|number| task(number, Some("ada"), "bob")).collect();
        let stages = [StageReport { name: "tiles", took: Duration::from_secs(1), tasks }];
        let lines = reassignments(&stages, UNIX_EPOCH);
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (NAMED_MAX + 1, Some("  and 12 more")));
    }

    #[test]
    fn the_tables_add_up() {
        let text = stage_table(&stages(), Duration::from_secs(2)).to_string();
        let sum = text.lines().find(|line| line.contains("together")).unwrap();
        let cells: Vec<&str> = sum.split_whitespace().filter(|cell| *cell != "│").collect();
        assert_eq!(cells, ["together", "3", "4", "1", "2.00", "s", "2"]);
        let workers = [("ada".to_owned(), 11), ("bob".to_owned(), 12)];
        let text = worker_table(&workers, "ada", &stages()).to_string();
        assert!(text.lines().any(|line| line.contains("ada") && line.contains("killed halfway")), "{text}");
    }
}
