//! Tasks that are too small to be spread stand together.

use ganger_scheduler::effect::WorkerCommand;

use crate::credit::small_ends;
use crate::support::*;

/// A desk with workers of one slot each, whose kind has been seen to run for so long.
fn seasoned(workers: u8, run_us: u64) -> (Desk, Client, Vec<Worker>) {
    let mut desk = Desk::new();
    let client = desk.client(1);
    let workers: Vec<Worker> = (1..=workers).map(|n| desk.worker(n, 1)).collect();
    desk.submit(client, tasks((1..=workers.len()).map(|n| 100_000 + n as u32)));
    for worker in &workers {
        let given = desk.given(worker);
        assert_eq!(given.len(), 1, "what nobody has seen is spread");
        desk.end(worker, small_ends(&given, run_us));
    }
    desk.outcomes(client);
    (desk, client, workers)
}

fn given(desk: &mut Desk, workers: &[Worker]) -> Vec<usize> {
    workers.iter().map(|worker| desk.given(worker).len()).collect()
}

#[test]
fn the_smallest_tasks_go_to_one_worker_until_it_has_a_quarter_of_a_millisecond_of_work() {
    let (mut desk, client, workers) = seasoned(3, 25);
    desk.submit(client, tasks(1..=4));
    assert_eq!(given(&mut desk, &workers), [0, 0, 4], "the one that was served last: the others sleep");
    desk.submit(client, tasks(5..=13));
    assert_eq!(given(&mut desk, &workers), [0, 3, 6], "ten are as much as a hop");
    desk.submit(client, tasks(14..=40));
    assert_eq!(given(&mut desk, &workers), [10, 7, 0], "and then to the fullest that has less");
    desk.take();
}

#[test]
fn what_is_worth_a_hop_is_spread() {
    let (mut desk, client, workers) = seasoned(3, 126);
    desk.submit(client, tasks(1..=3));
    assert_eq!(given(&mut desk, &workers), [1, 1, 1]);
    desk.take();
}

#[test]
fn a_worker_that_has_something_of_another_kind_is_left_alone() {
    let (mut desk, client, mut workers) = seasoned(2, 25);
    workers.push(desk.worker_of(3, &[KIND, "long"], 2));
    desk.submit(client, vec![task_of("long", 1)]);
    assert_eq!(given(&mut desk, &workers), [0, 0, 1]);
    desk.submit(client, tasks(2..=4));
    assert_eq!(given(&mut desk, &workers), [0, 3, 0]);
    desk.take();
}

#[test]
fn nothing_is_packed_onto_a_worker_that_has_not_moved_and_what_stands_there_is_recalled() {
    let (mut desk, client, workers) = seasoned(2, 25);
    desk.submit(client, tasks(1..=3));
    assert_eq!(given(&mut desk, &workers), [0, 3]);
    desk.start(&workers[1], &[lease(1, 1)]);
    desk.pass_ms(20);
    assert_eq!(desk.commands(&workers[1]), [WorkerCommand::Recall { recall: 1, count: 1 }]);
    desk.submit(client, tasks(4..=5));
    assert_eq!(given(&mut desk, &workers), [2, 0]);
    desk.take();
}

#[test]
fn beyond_that_the_smallest_tasks_fill_the_reserves_of_all() {
    let (mut desk, client, workers) = seasoned(2, 50);
    desk.submit(client, tasks(1..=100));
    assert_eq!(
        given(&mut desk, &workers),
        [5, 5],
        "a quarter of a millisecond is all that their reserves hold yet"
    );
    desk.end(&workers[0], small_ends(&[(6, 1), (7, 1), (8, 1), (9, 1), (10, 1)], 50));
    assert_eq!(desk.given(&workers[0]).len(), 9, "it ran dry, and its reserve doubles");
    desk.take();
}
