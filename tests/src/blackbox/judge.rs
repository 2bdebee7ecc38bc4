//! The verdict: what the clients were told and what the workers wrote, held together.
//!
//! It knows what a user was promised, and nothing of how the broker keeps the promise.

use std::collections::{BTreeMap, HashMap, HashSet};

use ganger_common::{Attempt, Epoch, Outcome, TaskId};

use super::incidents::{Cause, Incidents, Run, seconds};
use super::ledger::{Entry, Told, UNKNOWN};
use crate::diary::{Line, Mark};

/// All that there is to judge by.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The books of the clients.
    pub tasks: &'a HashMap<TaskId, Entry>,
    /// The diaries of the workers.
    pub lines: &'a [Line],
    /// What happened.
    pub incidents: &'a Incidents,
    /// Tasks of the run itself, which are in no book.
    pub own: &'a HashSet<TaskId>,
    /// Whether the broker loses with its life what it has acknowledged.
    pub forgets: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is wrong, by what it is.
    pub wrong: BTreeMap<&'static str, Vec<String>>,
    /// Entries into a handler.
    pub runs: u64,
    /// Runs that ended with their worker.
    pub interrupted: u64,
    /// Runs beyond the first of each task, by what explains them.
    pub extra: BTreeMap<Cause, u64>,
    /// Some of them, for whoever doubts the explanation.
    pub explained: BTreeMap<Cause, Vec<String>>,
    /// Outcomes, each task counted once.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Outcomes that a second client was told.
    pub told_again: u64,
}

/// Everything that can be wrong with tasks, in the words of the report.
pub mod wrong {
    /// Acknowledged, and nobody was told an outcome.
    pub const LOST: &str = "lost";
    /// Two clients were told different outcomes.
    pub const TWICE: &str = "settled twice";
    /// A result is not what its task asks for.
    pub const RESULT: &str = "wrong result";
    /// Ended in a way that its task does not allow.
    pub const OUTCOME: &str = "wrong outcome";
    /// Has another outcome after a cancellation that was acknowledged.
    pub const CANCEL: &str = "cancelled in vain";
    /// Ran, and was never handed in.
    pub const PHANTOM: &str = "phantom";
    /// Ran with another payload.
    pub const ALTERED: &str = "altered";
    /// Succeeded, and nobody finished that attempt.
    pub const NEVER_RAN: &str = "succeeded without a run";
    /// One attempt was started twice.
    pub const ATTEMPT: &str = "one attempt run twice";
    /// Ran once more for no reason on record.
    pub const UNEXPLAINED: &str = "unexplained run";
    /// The broker did not know it although it had taken it, or a client had another trouble.
    pub const TROUBLE: &str = "client in trouble";
}

/// Judges.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let runs = collect_runs(evidence, &mut verdict);
    for (task, entry) in evidence.tasks {
        judge_outcomes(entry, runs.get(task).map_or(&[], Vec::as_slice), evidence, &mut verdict);
    }
    for (task, runs) in &runs {
        if let Some(entry) = evidence.tasks.get(task) {
            judge_runs(entry, runs, evidence, &mut verdict);
        }
    }
    verdict
}

/// Puts starts and ends together.
fn collect_runs(evidence: &Evidence<'_>, verdict: &mut Verdict) -> HashMap<TaskId, Vec<Run>> {
    let mut runs: HashMap<TaskId, Vec<Run>> = HashMap::new();
    for line in evidence.lines.iter().filter(|line| !evidence.own.contains(&line.task)) {
        let of_task = runs.entry(line.task).or_default();
        if line.mark == Mark::Start {
            match evidence.tasks.get(&line.task) {
                None => verdict.add(wrong::PHANTOM, || line.task.to_string()),
                Some(entry) if entry.checksum != line.checksum => {
                    verdict.add(wrong::ALTERED, || line.task.to_string());
                }
                Some(_) => {}
            }
            of_task.push(Run { start: line.clone(), end_ns: None, has_result: false });
            continue;
        }
        let is_its_start = |run: &&mut Run| name(run) == (line.epoch, line.attempt, &*line.worker);
        if let Some(run) = of_task.iter_mut().rfind(is_its_start) {
            run.end_ns = Some(line.at_ns);
            run.has_result = line.mark == Mark::Finish;
        }
    }
    verdict.runs = runs.values().map(|runs| runs.len() as u64).sum();
    verdict.interrupted = runs.values().flatten().filter(|run| run.end_ns.is_none()).count() as u64;
    runs
}

fn judge_outcomes(entry: &Entry, runs: &[Run], evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let id = entry.spec.id;
    for trouble in &entry.troubles {
        if !(trouble == UNKNOWN && evidence.forgets) {
            verdict.add(wrong::TROUBLE, || format!("{id}: {trouble}"));
        }
    }
    let Some(first) = entry.told.first() else {
        if entry.acknowledged_ns.is_some() {
            verdict.add(wrong::LOST, || format!("{id}, {:?}: its runs are {}", entry.spec.what, shown(runs)));
        }
        return;
    };
    *verdict.outcomes.entry(first.outcome).or_default() += 1;
    verdict.told_again += entry.told.len() as u64 - 1;
    for told in &entry.told {
        judge_outcome(entry, told, runs, evidence, verdict);
    }
    for other in entry.told.iter().filter(|told| !told.is_same_as(first)) {
        // A life that has forgotten a task runs it once more for whoever hands it in again.
        let is_of_another_life = evidence.forgets
            && (epoch_of(first, runs).is_none() || epoch_of(first, runs) != epoch_of(other, runs));
        if !is_of_another_life {
            verdict
                .add(wrong::TWICE, || format!("{id}: {first:?} and {other:?}; its runs are {}", shown(runs)));
        }
    }
}

fn judge_outcome(entry: &Entry, told: &Told, runs: &[Run], evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let id = entry.spec.id;
    if !entry.spec.may_end_as(told.outcome) {
        verdict.add(wrong::OUTCOME, || {
            format!("{id}, {:?}: {told:?}; its runs are {}", entry.spec.what, shown(runs))
        });
    }
    let was_cancelled_before = entry.cancelled_ns.is_some() && !evidence.forgets;
    if was_cancelled_before && told.outcome != Outcome::Cancelled {
        verdict.add(wrong::CANCEL, || format!("{id}: {told:?}"));
    }
    if told.outcome != Outcome::Succeeded {
        return;
    }
    match &told.maker {
        None => verdict.add(wrong::RESULT, || format!("{id}, {:?}: {told:?}", entry.spec.what)),
        Some(_) if epoch_of(told, runs).is_none() => {
            verdict.add(wrong::NEVER_RAN, || format!("{id}: {told:?}; its runs are {}", shown(runs)));
        }
        Some(_) => {}
    }
}

/// The life of the broker in which the run was granted that made an outcome.
fn epoch_of(told: &Told, runs: &[Run]) -> Option<Epoch> {
    let maker = told.maker.as_deref()?;
    let made = |run: &&Run| run.has_result && run.start.attempt == told.attempt && run.start.worker == maker;
    runs.iter().find(made).map(|run| run.start.epoch)
}

fn judge_runs(entry: &Entry, runs: &[Run], evidence: &Evidence<'_>, verdict: &mut Verdict) {
    let id = entry.spec.id;
    let mut attempts = HashSet::new();
    for run in runs {
        if !attempts.insert((run.start.epoch, run.start.attempt)) {
            verdict.add(wrong::ATTEMPT, || format!("{id}: {}", shown(runs)));
        }
    }
    // In the order in which they were granted: attempts within a life, lives by their first start.
    let mut lives: Vec<Epoch> = Vec::new();
    for run in runs {
        if !lives.contains(&run.start.epoch) {
            lives.push(run.start.epoch);
        }
    }
    let mut granted: Vec<&Run> = runs.iter().collect();
    granted.sort_by_key(|run| {
        (lives.iter().position(|life| *life == run.start.epoch), run.start.attempt, run.start.at_ns)
    });
    for pair in granted.windows(2) {
        let cause = match entry.spec.asks_for(pair[0], pair[1]) {
            true => Some(Cause::AskedFor),
            false => evidence.incidents.explain(pair[0], pair[1], evidence.forgets),
        };
        let tell = || {
            let (worker, runs) = (&pair[0].start.worker, shown(runs));
            let happened = evidence.incidents.told_of(worker);
            format!("{id}, {:?}, told {:?}: {runs}; to {worker}: {happened}", entry.spec.what, entry.told)
        };
        match cause {
            Some(cause) => verdict.explain(cause, tell),
            None => verdict.add(wrong::UNEXPLAINED, tell),
        }
    }
}

fn name(run: &Run) -> (Epoch, Attempt, &str) {
    (run.start.epoch, run.start.attempt, &run.start.worker)
}

fn shown(runs: &[Run]) -> String {
    let one = |run: &Run| {
        let end = match (run.end_ns, run.has_result) {
            (None, _) => "and never ended".to_owned(),
            (Some(end), true) => format!("to {}", seconds(end)),
            (Some(end), false) => format!("to {} without a result", seconds(end)),
        };
        let start = &run.start;
        format!(
            "{} of epoch {} by {} from {} {end}",
            start.attempt,
            start.epoch.0,
            start.worker,
            seconds(start.at_ns)
        )
    };
    format!("[{}]", runs.iter().map(one).collect::<Vec<_>>().join("; "))
}

/// Examples of each cause that are kept.
const EXPLAINED_MAX: usize = 3;
/// Examples of each wrong that are kept.
const KEPT_MAX: usize = 1_000;

impl Verdict {
    /// Adds something that is wrong.
    pub fn add(&mut self, what: &'static str, text: impl FnOnce() -> String) {
        let list = self.wrong.entry(what).or_default();
        if list.len() < KEPT_MAX {
            list.push(text());
        }
    }

    fn explain(&mut self, cause: Cause, text: impl FnOnce() -> String) {
        *self.extra.entry(cause).or_default() += 1;
        let shown = self.explained.entry(cause).or_default();
        if shown.len() < EXPLAINED_MAX {
            shown.push(text());
        }
    }

    /// How often something is wrong.
    pub fn count(&self, what: &str) -> usize {
        self.wrong.get(what).map_or(0, Vec::len)
    }

    /// Whether everything that was promised held.
    pub fn is_clean(&self) -> bool {
        self.wrong.is_empty()
    }
}

#[cfg(test)]
mod tests;
