//! A checker that never failed is no evidence: each thing that can be wrong is seen.

use std::time::Duration;

use ganger_common::{Attempt, Epoch, Outcome, TaskId};

use super::*;
use crate::blackbox::workload::{Spec, What};

const TASK: TaskId = TaskId::from_bytes([1; 16]);
const LIFE: u64 = 7;

fn entry(what: What, told: Vec<Told>) -> Entry {
    let spec = Spec {
        id: TASK,
        what,
        size: 10,
        salt: 1,
        priority: 0,
        delay: Duration::ZERO,
        ttl: None,
        cancel_after: None,
    };
    Entry {
        spec,
        checksum: 5,
        submitted_ns: 0,
        acknowledged_ns: Some(1),
        cancelled_ns: None,
        cancel_unknown: false,
        told,
        troubles: vec![],
    }
}

fn sleep(told: Vec<Told>) -> Entry {
    entry(What::Sleep(Duration::ZERO), told)
}

fn told(outcome: Outcome, attempt: u32, maker: Option<&str>) -> Told {
    let attempt = Attempt(attempt);
    Told { at_ns: 9, outcome, attempt, maker: maker.map(str::to_owned), checksum: 3 }
}

fn success(attempt: u32, maker: &str) -> Told {
    told(Outcome::Succeeded, attempt, Some(maker))
}

fn line(mark: Mark, epoch: u64, attempt: u32, worker: &str, at_ns: u64) -> Line {
    let (attempt, epoch) = (Attempt(attempt), Epoch(epoch));
    Line { mark, task: TASK, attempt, epoch, checksum: 5, at_ns, worker: worker.to_owned() }
}

fn run(attempt: u32, worker: &str) -> [Line; 2] {
    let at = u64::from(attempt) * 100;
    [line(Mark::Start, LIFE, attempt, worker, at), line(Mark::Finish, LIFE, attempt, worker, at + 1)]
}

fn judged(entry: Entry, lines: &[Line], forgets: bool) -> Verdict {
    let tasks = [(TASK, entry)].into();
    let (incidents, own) = (Incidents::default(), HashSet::new());
    judge(&Evidence { tasks: &tasks, lines, incidents: &incidents, own: &own, forgets })
}

/// What is wrong, as a list of words.
fn wrongs(entry: Entry, lines: &[Line]) -> Vec<&'static str> {
    judged(entry, lines, false).wrong.into_keys().collect()
}

#[test]
fn a_task_that_ran_once_and_was_told_twice_alike_is_clean() {
    let verdict = judged(sleep(vec![success(1, "w"), success(1, "w")]), &run(1, "w"), false);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!((verdict.runs, verdict.told_again, verdict.outcomes[&Outcome::Succeeded]), (1, 1, 1));
}

#[test]
fn an_acknowledged_task_without_an_outcome_is_lost_and_one_without_an_acknowledgement_is_not() {
    assert_eq!(wrongs(sleep(vec![]), &run(1, "w")), [wrong::LOST]);
    assert!(wrongs(Entry { acknowledged_ns: None, ..sleep(vec![]) }, &run(1, "w")).is_empty());
}

#[test]
fn two_outcomes_are_one_too_many() {
    let lines = [run(1, "one"), run(2, "two")].concat();
    let both = vec![success(1, "one"), success(2, "two")];
    assert!(wrongs(sleep(both.clone()), &lines).contains(&wrong::TWICE));
    // A broker that forgets may make both, each in a life of its own.
    assert!(judged(sleep(both.clone()), &lines, true).wrong.contains_key(wrong::TWICE));
    let mut lives = lines;
    lives[2].epoch = Epoch(LIFE + 1);
    lives[3].epoch = Epoch(LIFE + 1);
    assert!(!judged(sleep(both), &lives, true).wrong.contains_key(wrong::TWICE));
}

#[test]
fn an_outcome_that_the_task_does_not_allow_is_wrong() {
    assert_eq!(wrongs(sleep(vec![told(Outcome::Failed, 1, None)]), &run(1, "w")), [wrong::OUTCOME]);
    assert_eq!(wrongs(sleep(vec![told(Outcome::Dead, 1, None)]), &run(1, "w")), [wrong::OUTCOME]);
    let overlong = entry(What::Overlong, vec![told(Outcome::Failed, 1, None)]);
    assert!(wrongs(overlong, &run(1, "w")).is_empty());
}

#[test]
fn a_result_that_nobody_made_or_that_is_not_right_is_wrong() {
    assert_eq!(wrongs(sleep(vec![told(Outcome::Succeeded, 1, None)]), &run(1, "w")), [wrong::RESULT]);
    assert_eq!(wrongs(sleep(vec![success(1, "w")]), &run(1, "w")[..1]), [wrong::NEVER_RAN]);
    assert_eq!(wrongs(sleep(vec![success(1, "other")]), &run(1, "w")), [wrong::NEVER_RAN]);
}

#[test]
fn a_cancellation_that_was_acknowledged_is_final() {
    let cancelled = |outcome| {
        let mut entry = Entry { cancelled_ns: Some(2), ..sleep(vec![outcome]) };
        entry.spec.cancel_after = Some(Duration::ZERO);
        entry
    };
    assert_eq!(wrongs(cancelled(success(1, "w")), &run(1, "w")), [wrong::CANCEL]);
    assert!(wrongs(cancelled(told(Outcome::Cancelled, 1, None)), &run(1, "w")).is_empty());
}

#[test]
fn what_runs_was_handed_in_and_is_what_was_handed_in() {
    let mut altered = run(1, "w");
    altered[0].checksum = 6;
    assert_eq!(wrongs(sleep(vec![success(1, "w")]), &altered), [wrong::ALTERED]);
    let mut phantom = run(1, "w");
    phantom.iter_mut().for_each(|line| line.task = TaskId::from_bytes([2; 16]));
    let lines = [run(1, "w"), phantom].concat();
    assert_eq!(wrongs(sleep(vec![success(1, "w")]), &lines), [wrong::PHANTOM]);
}

#[test]
fn a_run_beyond_the_first_needs_a_cause() {
    let lines = [run(1, "one"), run(2, "two")].concat();
    assert_eq!(wrongs(sleep(vec![success(1, "one")]), &lines), [wrong::UNEXPLAINED]);
    let lines = [run(1, "one"), run(1, "two")].concat();
    let found = wrongs(sleep(vec![success(1, "one")]), &lines);
    assert!(found.contains(&wrong::ATTEMPT), "{found:?}");
    // One that failed as it was told to may run again.
    let mut lines = [run(1, "one"), run(2, "two")].concat();
    lines[1].mark = Mark::GiveUp;
    let flaky = judged(entry(What::Flaky(1), vec![success(2, "two")]), &lines, false);
    assert!(flaky.is_clean() && flaky.extra[&Cause::AskedFor] == 1, "{flaky:?}");
}

#[test]
fn a_client_in_trouble_is_heard() {
    let troubled = |text: &str| Entry { troubles: vec![text.to_owned()], ..sleep(vec![success(1, "w")]) };
    assert_eq!(wrongs(troubled(UNKNOWN), &run(1, "w")), [wrong::TROUBLE]);
    assert!(judged(troubled(UNKNOWN), &run(1, "w"), true).is_clean());
    assert!(!judged(troubled("something else"), &run(1, "w"), true).is_clean());
}
