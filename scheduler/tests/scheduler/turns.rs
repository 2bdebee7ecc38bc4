//! Whose turn it is when several clients have tasks queued.

use std::collections::{BTreeMap, VecDeque};

use ganger_common::{Account, AttemptEnd};
use ganger_scheduler::Record;
use ganger_scheduler::input::{ClientRequest, NewTask};
use proptest::prelude::*;

use crate::support::*;

/// What a worker with so many slots is given.
fn given_to(desk: &mut Desk, n: u8, slots: u32) -> Vec<u32> {
    let worker = desk.worker(n, slots);
    desk.given(&worker).into_iter().map(|(n, _)| n).collect()
}

/// Client 1 has tasks 1 to 4, client 2 has 11 and 12.
fn two_clients() -> (Desk, Client, Client) {
    let mut desk = Desk::with(|config| config.credit_max = 0);
    let (one, two) = (desk.client(1), desk.client(2));
    desk.submit(one, tasks(1..=4));
    desk.submit(two, tasks(11..=12));
    (desk, one, two)
}

#[test]
fn clients_take_turns_task_by_task() {
    let (mut desk, ..) = two_clients();
    assert_eq!(given_to(&mut desk, 1, 10), [1, 11, 2, 12, 3, 4]);
}

#[test]
fn the_turn_goes_on_where_the_last_batch_ended() {
    let (mut desk, ..) = two_clients();
    assert_eq!(given_to(&mut desk, 1, 3), [1, 11, 2]);
    assert_eq!(given_to(&mut desk, 2, 3), [12, 3, 4]);
}

#[test]
fn whoever_comes_waits_for_one_task_of_everybody_else() {
    let (mut desk, one, _) = two_clients();
    desk.submit(one, tasks(1_000..2_000));
    assert_eq!(given_to(&mut desk, 1, 1), [1]);
    let late = desk.client(3);
    desk.submit(late, tasks([31]));
    assert_eq!(given_to(&mut desk, 2, 3), [11, 2, 31]);
}

#[test]
fn a_flood_of_one_kind_does_not_hold_up_another_kind() {
    let mut desk = Desk::with(|config| config.credit_max = 0);
    let (flooder, other) = (desk.client(1), desk.client(2));
    desk.submit(flooder, (1..=500).map(|n| task_of("many", n)).collect());
    let worker = desk.worker_of(1, &["few", "many"], 1);
    desk.submit(other, vec![task_of("few", 501)]);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    let next = desk.given(&worker);
    desk.end(&worker, vec![success(next[0].0, 1)]);
    assert!([next, desk.given(&worker)].concat().contains(&(501, 1)), "one turn of the other kind at most");
    assert_eq!(desk.outcomes(flooder).len() + desk.outcomes(other).len(), 2);
}

#[test]
fn a_higher_priority_goes_before_everybodys_turn() {
    let (mut desk, one, _) = two_clients();
    desk.submit(one, [5, 6].map(|n| task_with(n, |options| options.priority = 1)).to_vec());
    assert_eq!(given_to(&mut desk, 1, 4), [5, 6, 1, 11]);
}

#[test]
fn what_comes_back_goes_to_the_front_of_its_own_line() {
    let (mut desk, ..) = two_clients();
    let worker = desk.worker(1, 4);
    assert_eq!(desk.given(&worker), [(1, 1), (11, 1), (2, 1), (12, 1)]);
    let back = [2, 1].map(|n| ended(n, 1, AttemptEnd::Returned)).to_vec();
    desk.drain_worker(&worker);
    desk.end(&worker, back);
    assert_eq!(given_to(&mut desk, 2, 4), [1, 2, 3, 4]);
}

#[test]
fn what_comes_back_to_an_empty_line_is_next() {
    let (mut desk, ..) = two_clients();
    let worker = desk.worker(1, 4);
    assert_eq!(desk.given(&worker).len(), 4);
    desk.drain_worker(&worker);
    desk.end(&worker, vec![ended(12, 1, AttemptEnd::Returned)]);
    assert_eq!(given_to(&mut desk, 2, 3), [12, 3, 4]);
}

#[test]
fn cancelled_tasks_leave_the_turns_of_the_others_as_they_are() {
    let (mut desk, one, two) = two_clients();
    let three = desk.client(3);
    desk.submit(three, tasks([21, 22]));
    assert_eq!(desk.cancel(two, &[11, 12]), []);
    assert_eq!(desk.cancel(one, &[1]), []);
    assert_eq!(given_to(&mut desk, 1, 10), [2, 21, 3, 22, 4]);
    assert_eq!(desk.outcomes(one).len() + desk.outcomes(two).len(), 3);
}

#[test]
fn tasks_of_one_account_share_a_line_whoever_hands_them_in() {
    let mut desk = Desk::new();
    let on =
        |account: u8| move |n| task_with(n, |options: &mut _| options.account = Some(Account([account; 32])));
    let clients = [1, 2, 3].map(|n| desk.client(n));
    desk.submit(clients[0], [1, 2].map(on(7)).to_vec());
    desk.submit(clients[1], [11, 12].map(on(7)).to_vec());
    desk.submit(clients[2], [21, 22].map(on(8)).to_vec());
    assert_eq!(given_to(&mut desk, 1, 10), [1, 21, 2, 22, 11, 12]);
}

#[test]
fn tasks_keep_their_line_when_their_client_goes() {
    let (mut desk, one, _) = two_clients();
    desk.client_says(one.conn, ClientRequest::Goodbye);
    assert_eq!(desk.closed(), [one.conn]);
    let late = desk.client(3);
    desk.submit(late, tasks([21]));
    assert_eq!(given_to(&mut desk, 1, 10), [1, 11, 21, 2, 12, 3, 4]);
}

#[test]
fn what_was_put_back_has_a_line_of_its_own() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, tasks([1, 2]));
    let worker = desk.worker(1, 2);
    assert_eq!(desk.given(&worker).len(), 2);
    desk.end(&worker, [1, 2].map(|n| failure_with(n, 1, |detail| detail.is_final = true)).to_vec());
    assert_eq!(desk.outcomes(client).len(), 2);
    desk.drain_worker(&worker);
    desk.submit(client, tasks(3..=5));
    assert_eq!(desk.retry(client, &[1, 2]), []);
    assert_eq!(given_to(&mut desk, 2, 10), [3, 1, 4, 2, 5]);
}

#[test]
fn the_journal_says_whose_tasks_they_are() {
    let (desk, one, two) = two_clients();
    let by = desk.journal.iter().filter_map(|(_, record)| match record {
        Record::Accepted { client, .. } => *client,
        _ => None,
    });
    let ids = [one, two].map(|client| ganger_common::ClientId::from_bytes([client.id; 16]));
    assert_eq!(by.collect::<Vec<_>>(), ids);
}

#[test]
fn i10_turns_go_on_after_a_restart() {
    let (mut desk, ..) = two_clients();
    desk.restart();
    let late = desk.client(3);
    desk.submit(late, tasks([31]));
    desk.pass(secs(6));
    assert_eq!(given_to(&mut desk, 1, 10), [1, 11, 31, 2, 12, 3, 4]);
}

#[test]
fn i10_clients_that_come_back_after_a_restart_go_on_in_their_lines() {
    let (mut desk, ..) = two_clients();
    desk.restart();
    let (one, two) = (desk.client(1), desk.client(2));
    desk.submit(two, tasks([13]));
    desk.submit(one, tasks([5]));
    desk.pass(secs(6));
    assert_eq!(given_to(&mut desk, 1, 10), [1, 11, 2, 12, 3, 13, 4, 5]);
}

#[test]
fn a_client_that_has_its_share_of_the_queue_has_it_after_a_restart() {
    let mut desk = Desk::with(|config| config.queue_tasks_max = 18);
    let client = desk.client(1);
    desk.submit(client, tasks(1..=16));
    desk.restart();
    let (client, other) = (desk.client(1), desk.client(2));
    let refused = desk.submit_some(client, false, tasks([101, 102]));
    assert_eq!(refused.len(), 1, "sixteen are eight times what is free");
    assert_eq!(desk.submit_some(other, false, tasks([201])), []);
}

/// The same with nothing but queues.
#[derive(Default)]
struct Model(BTreeMap<std::cmp::Reverse<i16>, VecDeque<(u8, VecDeque<u32>)>>);

impl Model {
    fn push(&mut self, client: u8, priority: i16, n: u32) {
        let lines = self.0.entry(std::cmp::Reverse(priority)).or_default();
        match lines.iter_mut().find(|(whose, _)| *whose == client) {
            Some((_, line)) => line.push_back(n),
            None => lines.push_back((client, VecDeque::from([n]))),
        }
    }

    fn pop(&mut self) -> Option<u32> {
        let lines = self.0.values_mut().find(|lines| !lines.is_empty())?;
        let (client, mut line) = lines.pop_front()?;
        let first = line.pop_front();
        if !line.is_empty() {
            lines.push_back((client, line));
        }
        first
    }

    fn cancel(&mut self, n: u32) {
        for lines in self.0.values_mut() {
            lines.iter_mut().for_each(|(_, line)| line.retain(|other| *other != n));
            lines.retain(|(_, line)| !line.is_empty());
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Submit { client: u8, priority: i16, count: u32 },
    Give { slots: u32 },
    Cancel { n: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..=4u8, 0..=1i16, 1..=6u32)
            .prop_map(|(client, priority, count)| Step::Submit { client, priority, count }),
        3 => (1..=5u32).prop_map(|slots| Step::Give { slots }),
        1 => (0..60u32).prop_map(|n| Step::Cancel { n }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn clients_take_turns_whatever_they_hand_in(steps in prop::collection::vec(step(), 1..40)) {
        let mut desk = Desk::with(|config| config.credit_max = 0);
        let clients: Vec<Client> = (1..=4).map(|n| desk.client(n)).collect();
        let (mut model, mut next, mut worker) = (Model::default(), 0, 0);
        for step in steps {
            match step {
                Step::Submit { client, priority, count } => {
                    let numbers = next..next + count;
                    next += count;
                    numbers.clone().for_each(|n| model.push(client, priority, n));
                    let new = |n| task_with(n, |options| options.priority = priority);
                    let new: Vec<NewTask> = numbers.map(new).collect();
                    desk.submit(clients[client as usize - 1], new);
                }
                Step::Give { slots } => {
                    worker += 1;
                    let expected: Vec<u32> = (0..slots).filter_map(|_| model.pop()).collect();
                    prop_assert_eq!(given_to(&mut desk, worker, slots), expected);
                    // What it has not used must not take what comes next.
                    desk.client_says(clients[0].conn, ClientRequest::Drain {
                        req: 0, workers: vec![format!("worker-{worker}")], broker: false, deadline: None,
                    });
                }
                Step::Cancel { n } => {
                    model.cancel(n);
                    desk.cancel(clients[0], &[n]);
                }
            }
            desk.take();
            desk.scheduler.check_invariants();
        }
    }
}
