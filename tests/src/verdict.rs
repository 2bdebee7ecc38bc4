//! The checker: what was submitted, what the clients saw and what the workers wrote, held together.
//!
//! It has no opinion about how the broker works. It knows only what a user was promised: every task has one
//! outcome, what ran was submitted, and every run beyond the first has a cause on record.

use std::collections::{HashMap, HashSet};
use std::fmt;

use bytes::Bytes;
use ganger_common::view::TaskView;
use ganger_common::{Attempt, AttemptEnd, Outcome, TaskId};

use crate::diary::{Line, Mark};

/// What the submitting side knows.
#[derive(Debug, Default)]
pub struct Account {
    /// Every task that was acknowledged, with the checksum of its payload.
    pub submitted: HashMap<TaskId, u32>,
    /// Every outcome that a client received, in any order; one entry each time it was received.
    pub outcomes: Vec<Settled>,
    /// What the broker has on record of tasks that ran more than once; the others are not asked for.
    pub histories: HashMap<TaskId, TaskView>,
}

/// One outcome as a client received it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settled {
    /// The task.
    pub task: TaskId,
    /// Its outcome.
    pub outcome: Outcome,
    /// The attempt that settled it.
    pub attempt: Attempt,
    /// What the handler returned.
    pub result: Bytes,
}

/// What is wrong. Clean when every list is empty.
#[derive(Debug, Default)]
pub struct Findings {
    /// Acknowledged and never settled.
    pub lost: Vec<TaskId>,
    /// Settled in two different ways.
    pub settled_twice: Vec<TaskId>,
    /// Run or settled, and never submitted.
    pub phantom: Vec<TaskId>,
    /// Run with another payload than the one that was submitted.
    pub altered: Vec<TaskId>,
    /// Succeeded, and no worker ever finished that attempt.
    pub never_ran: Vec<TaskId>,
    /// One attempt that was started twice.
    pub attempt_ran_twice: Vec<(TaskId, Attempt)>,
    /// Ran more often than the causes on record allow.
    pub unexplained: Vec<String>,
    /// Entries into a handler.
    pub runs: usize,
    /// Entries beyond the first of each task.
    pub extra_runs: usize,
    /// Outcomes that a client received once more, the same as before.
    pub repeated: usize,
}

/// The tasks that ran more than once, whose histories the checker needs.
pub fn ran_again(lines: &[Line]) -> HashSet<TaskId> {
    let mut seen = HashSet::new();
    starts(lines).filter(|line| !seen.insert(line.task)).map(|line| line.task).collect()
}

/// Holds everything together.
pub fn check(account: &Account, lines: &[Line]) -> Findings {
    let mut findings = Findings::default();
    check_outcomes(account, lines, &mut findings);
    check_runs(account, lines, &mut findings);
    findings
}

fn check_outcomes(account: &Account, lines: &[Line], findings: &mut Findings) {
    let finished: HashSet<(TaskId, Attempt)> =
        lines.iter().filter(|line| line.mark == Mark::Finish).map(|line| (line.task, line.attempt)).collect();
    let mut first: HashMap<TaskId, &Settled> = HashMap::new();
    for settled in &account.outcomes {
        if !account.submitted.contains_key(&settled.task) {
            findings.phantom.push(settled.task);
        }
        if settled.outcome == Outcome::Succeeded && !finished.contains(&(settled.task, settled.attempt)) {
            findings.never_ran.push(settled.task);
        }
        match first.insert(settled.task, settled) {
            None => {}
            Some(before) if before == settled => findings.repeated += 1,
            Some(_) => findings.settled_twice.push(settled.task),
        }
    }
    findings.lost = account.submitted.keys().filter(|task| !first.contains_key(task)).copied().collect();
}

fn check_runs(account: &Account, lines: &[Line], findings: &mut Findings) {
    let mut runs: HashMap<TaskId, usize> = HashMap::new();
    let mut attempts = HashSet::new();
    for line in starts(lines) {
        match account.submitted.get(&line.task) {
            None => findings.phantom.push(line.task),
            Some(checksum) if *checksum != line.checksum => findings.altered.push(line.task),
            Some(_) => {}
        }
        if !attempts.insert((line.task, line.attempt)) {
            findings.attempt_ran_twice.push((line.task, line.attempt));
        }
        *runs.entry(line.task).or_default() += 1;
    }
    findings.runs = runs.values().sum();
    findings.extra_runs = findings.runs - runs.len();
    for (task, count) in runs.into_iter().filter(|(_, count)| *count > 1) {
        if let Err(text) = explained(account.histories.get(&task), count - 1) {
            findings.unexplained.push(format!("{task}: {text}"));
        }
    }
}

/// Whether a task's record holds a cause for each run beyond the first.
fn explained(history: Option<&TaskView>, extra: usize) -> Result<(), String> {
    let Some(task) = history else { return Err(format!("{extra} extra runs and no history")) };
    let causes = task.attempts.iter().filter(|attempt| is_cause(attempt.end)).count();
    match causes >= extra {
        true => Ok(()),
        false => Err(format!("{extra} extra runs, {causes} causes on record: {:?}", task.attempts)),
    }
}

/// Whether an attempt that ended like this may be followed by another one. `Lost` is among them: a worker
/// may die after it has started a task and before the broker has heard of it.
fn is_cause(end: AttemptEnd) -> bool {
    match end {
        AttemptEnd::Failed
        | AttemptEnd::TimedOut
        | AttemptEnd::Interrupted
        | AttemptEnd::Crashed
        | AttemptEnd::Lost => true,
        AttemptEnd::Succeeded | AttemptEnd::Cancelled | AttemptEnd::Returned => false,
    }
}

fn starts(lines: &[Line]) -> impl Iterator<Item = &Line> {
    lines.iter().filter(|line| line.mark == Mark::Start)
}

impl Findings {
    /// Whether everything that was promised held.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty()
            && self.settled_twice.is_empty()
            && self.phantom.is_empty()
            && self.altered.is_empty()
            && self.never_ran.is_empty()
            && self.attempt_ran_twice.is_empty()
            && self.unexplained.is_empty()
    }
}

/// Shown of each list.
const SHOWN_MAX: usize = 5;

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs, {} of them extra, {} outcomes repeated",
            self.runs, self.extra_runs, self.repeated
        )?;
        let ids = |ids: &[TaskId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let again: Vec<_> = self
            .attempt_ran_twice
            .iter()
            .map(|(task, attempt)| format!("{task} attempt {attempt}"))
            .collect();
        for (name, items) in [
            ("lost", ids(&self.lost)),
            ("settled twice", ids(&self.settled_twice)),
            ("phantom", ids(&self.phantom)),
            ("altered", ids(&self.altered)),
            ("succeeded without a run", ids(&self.never_ran)),
            ("one attempt run twice", again),
            ("unexplained", self.unexplained.clone()),
        ] {
            if !items.is_empty() {
                write!(f, "\n{}: {}, such as {:?}", name, items.len(), &items[..items.len().min(SHOWN_MAX)])?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::WorkerId;
    use ganger_common::view::{AttemptView, TaskState};

    use super::*;

    const ONE: TaskId = TaskId::from_bytes([1; 16]);
    const TWO: TaskId = TaskId::from_bytes([2; 16]);

    fn line(mark: Mark, task: TaskId, attempt: u32) -> Line {
        let (attempt, epoch) = (Attempt(attempt), ganger_common::Epoch(1));
        Line { mark, task, attempt, epoch, checksum: 9, at_ns: 0, worker: "w".to_owned() }
    }

    fn run(task: TaskId, attempt: u32) -> [Line; 2] {
        [line(Mark::Start, task, attempt), line(Mark::Finish, task, attempt)]
    }

    fn settled(task: TaskId, attempt: u32) -> Settled {
        Settled { task, outcome: Outcome::Succeeded, attempt: Attempt(attempt), result: Bytes::new() }
    }

    fn history(task: TaskId, ends: &[AttemptEnd]) -> TaskView {
        let attempts = ends.iter().zip(1..).map(|(end, number)| AttemptView {
            attempt: Attempt(number),
            worker: WorkerId::from_bytes([0; 16]),
            worker_name: String::new(),
            end: *end,
            at_unix_ms: 0,
            run_us: 0,
            error: None,
        });
        TaskView {
            id: task,
            kind: "k".to_owned(),
            state: TaskState::Settled,
            outcome: Some(Outcome::Succeeded),
            priority: 0,
            attempt: Attempt(1),
            failures: 0,
            timeouts: 0,
            crashes: 0,
            submitted_unix_ms: 0,
            settled_unix_ms: None,
            payload_bytes: 0,
            result_bytes: 0,
            worker: None,
            worker_name: None,
            error: None,
            trace_id: None,
            attempts: attempts.collect(),
        }
    }

    fn account() -> Account {
        Account {
            submitted: [(ONE, 9), (TWO, 9)].into(),
            outcomes: vec![settled(ONE, 1), settled(TWO, 1)],
            histories: HashMap::new(),
        }
    }

    #[test]
    fn a_plain_run_is_clean() {
        let lines = [run(ONE, 1), run(TWO, 1)].concat();
        let findings = check(&account(), &lines);
        assert!(findings.is_clean(), "{findings}");
        assert_eq!((findings.runs, findings.extra_runs), (2, 0));
    }

    #[test]
    fn an_extra_run_with_a_cause_is_clean_and_without_one_is_not() {
        let lines = [run(ONE, 1), run(ONE, 2), run(TWO, 1)].concat();
        assert_eq!(ran_again(&lines), HashSet::from([ONE]));
        let mut account = account();
        assert_eq!(check(&account, &lines).unexplained.len(), 1);
        account.histories.insert(ONE, history(ONE, &[AttemptEnd::Returned]));
        assert_eq!(check(&account, &lines).unexplained.len(), 1);
        account.histories.insert(ONE, history(ONE, &[AttemptEnd::Crashed]));
        let findings = check(&account, &lines);
        assert!(findings.is_clean() && findings.extra_runs == 1, "{findings}");
    }

    #[test]
    fn every_planted_fault_is_found() {
        let lines = [run(ONE, 1), run(TWO, 1)].concat();
        let mut lost = account();
        lost.outcomes.pop();
        assert_eq!(check(&lost, &lines).lost, [TWO]);

        let mut twice = account();
        twice.outcomes.push(Settled { outcome: Outcome::Failed, ..settled(ONE, 1) });
        assert_eq!(check(&twice, &lines).settled_twice, [ONE]);

        let mut phantom = account();
        phantom.submitted.remove(&TWO);
        assert_eq!(check(&phantom, &lines).phantom, [TWO, TWO]);

        let mut altered = account();
        altered.submitted.insert(ONE, 8);
        assert_eq!(check(&altered, &lines).altered, [ONE]);

        assert_eq!(check(&account(), &lines[..3]).never_ran, [TWO]);

        let again = [run(ONE, 1), run(ONE, 1), run(TWO, 1)].concat();
        assert_eq!(check(&account(), &again).attempt_ran_twice, [(ONE, Attempt(1))]);
    }

    #[test]
    fn an_outcome_that_is_repeated_unchanged_is_no_fault() {
        let mut repeated = account();
        repeated.outcomes.push(settled(ONE, 1));
        let findings = check(&repeated, &[run(ONE, 1), run(TWO, 1)].concat());
        assert!(findings.is_clean() && findings.repeated == 1, "{findings}");
    }
}
