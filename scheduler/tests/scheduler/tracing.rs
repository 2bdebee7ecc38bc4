//! The trace of a task, which the scheduler carries and does not look at.

use ganger_common::{Trace, TraceContext};

use crate::support::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn traced(options: &mut ganger_common::TaskOptions) {
    options.trace = PARENT.parse().ok();
    options.trace_state = "congo=1".parse().ok();
}

fn trace() -> Option<Trace> {
    let context: TraceContext = PARENT.parse().unwrap();
    Some(Trace { context, state: "congo=1".parse().ok() })
}

/// What went with the tasks that a worker was given.
fn given_traces(desk: &mut Desk, worker: &Worker) -> Vec<(u32, u32, Option<Trace>)> {
    let given = desk.dispatches(worker).into_iter();
    given
        .map(|item| (number(item.task), item.attempt.0, item.detail.and_then(|detail| detail.trace)))
        .collect()
}

#[test]
fn a_trace_goes_with_every_attempt_and_outlives_the_broker_and_the_journals_beginning() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    let retried = |options: &mut _| {
        traced(options);
        options.backoff_ms = Some(0);
    };
    desk.submit(client, vec![task_with(1, retried)]);
    assert_eq!(given_traces(&mut desk, &worker), [(1, 1, trace())]);
    desk.end(&worker, vec![failure(1, 1)]);
    desk.pass_ms(1);
    assert_eq!(given_traces(&mut desk, &worker), [(1, 2, trace())]);
    let from = desk.carry()[0];
    desk.let_go_before(from);
    desk.restart();
    let (client, worker) = (desk.client(2), desk.worker(2, 1));
    desk.pass(secs(6));
    assert_eq!(given_traces(&mut desk, &worker), [(1, 2, trace())]);
    let shown = desk.fetch(client, 1).unwrap().trace_id.unwrap();
    assert_eq!(shown.to_string(), "0af7651916cd43dd8448eb211c80319c");
}

#[test]
fn a_task_without_a_trace_has_nothing_more_to_tell_its_worker() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.priority = 3)]);
    assert_eq!(desk.dispatches(&worker)[0].detail, None);
    assert_eq!(desk.fetch(client, 1).unwrap().trace_id, None);
}
