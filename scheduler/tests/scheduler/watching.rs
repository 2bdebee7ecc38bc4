//! Whoever looks on is told how workers come and go.

use ganger_scheduler::effect::WorkerMove;
use ganger_scheduler::input::WorkerRequest;

use crate::support::*;

/// What became of workers since the last look.
fn moves(desk: &mut Desk) -> Vec<WorkerMove> {
    desk.changes.drain(..).map(|change| change.what).collect()
}

#[test]
fn a_worker_that_comes_drains_and_leaves_is_told_of_at_each_step_and_once() {
    let mut desk = Desk::new();
    let worker = desk.worker(1, 3);
    let (name, host) = (worker.hello.name.clone(), worker.hello.host.clone());
    let change = &desk.changes[0];
    assert_eq!((change.worker, &change.name), (worker.hello.worker, &name));
    assert_eq!(moves(&mut desk), [WorkerMove::Joined { host, slots: 3 }]);
    for _ in 0..2 {
        desk.drain_worker(&worker);
    }
    desk.worker_says(worker.conn, WorkerRequest::Goodbye);
    assert_eq!(moves(&mut desk), [WorkerMove::Draining, WorkerMove::Left]);
    assert_eq!(desk.closed(), [worker.conn]);
}

#[test]
fn a_worker_whose_connection_breaks_is_away_and_then_back_or_lost() {
    let mut desk = Desk::new();
    let worker = desk.worker(1, 1);
    moves(&mut desk);
    desk.cut(worker.conn);
    let worker = desk.come_back(&worker, &[]);
    assert_eq!(moves(&mut desk), [WorkerMove::Away, WorkerMove::Resumed]);
    desk.cut(worker.conn);
    desk.pass_ms(2_000);
    assert_eq!(moves(&mut desk), [WorkerMove::Away, WorkerMove::Disconnected]);
}

#[test]
fn a_worker_that_falls_silent_is_told_of_as_silent() {
    let mut desk = Desk::new();
    let worker = desk.worker(1, 1);
    moves(&mut desk);
    desk.mute(&worker);
    desk.pass_ms(7_000);
    assert_eq!(moves(&mut desk), [WorkerMove::Silent]);
    assert_eq!((desk.commands(&worker).len(), desk.closed()), (1, vec![worker.conn]));
}
