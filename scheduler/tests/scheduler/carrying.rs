//! The state is written down once more, and the journal's beginning can go (I10, I17).

use ganger_common::message::Durability;
use ganger_common::{Account, AttemptEnd, ErrorCode, Outcome, Revision};
use ganger_scheduler::effect::{ClientReply, Effect, KnowledgeAnswer};
use ganger_scheduler::input::{ClientRequest, KnowledgeOp};
use ganger_scheduler::{Input, Lsn, Record, RecoveryError, Scheduler};

use crate::support::*;

fn durable() -> Desk {
    Desk::with(|config| (config.durability, config.carry_tasks_max) = (Durability::Journal, 2))
}

fn put(topic: &str, key: &str) -> KnowledgeOp {
    KnowledgeOp::Put { topic: topic.into(), key: key.into(), value: "v".into(), expect: None }
}

impl Desk {
    pub(crate) fn carry(&mut self) -> Vec<Lsn> {
        self.feed(Input::Carry);
        self.carried()
    }

    fn carried(&mut self) -> Vec<Lsn> {
        self.pick(|effect| match effect {
            Effect::Carried { from } => Some(*from),
            _ => None,
        })
    }

    fn count(&self, is_it: impl Fn(&Record) -> bool) -> usize {
        self.journal.iter().filter(|(_, record)| is_it(record)).count()
    }
}

#[test]
fn one_part_waits_for_the_one_before_and_the_end_is_told_only_when_it_is_safe() {
    let mut desk = durable();
    let client = desk.client(1);
    desk.submit(client, tasks(1..=5));
    desk.hold_journal();
    assert_eq!(desk.carry(), []);
    let parts = |desk: &Desk| desk.count(|record| matches!(record, Record::CarriedTasks(_)));
    let begun = Lsn(desk.journal.len() as u64);
    assert!(matches!(desk.journal.last(), Some((_, Record::CarryBegun(_)))));
    for expected in [1, 2, 3] {
        desk.journal_all();
        assert_eq!(parts(&desk), expected);
    }
    while !matches!(desk.journal.last(), Some((_, Record::CarryEnded { .. }))) {
        assert_eq!(desk.carried(), []);
        desk.journal_all();
    }
    assert_eq!(desk.carried(), [], "the last record is not safe yet");
    desk.journal_all();
    assert_eq!(desk.carried(), [begun]);
}

#[test]
fn a_second_order_while_the_state_is_carried_changes_nothing() {
    let mut desk = durable();
    desk.hold_journal();
    desk.carry();
    desk.carry();
    desk.journal_all();
    desk.journal_all();
    desk.journal_all();
    assert_eq!(desk.count(|record| matches!(record, Record::CarryBegun(_))), 1);
    assert_eq!(desk.carried().len(), 1);
}

#[test]
fn i10_everything_that_can_be_remembered_survives_without_the_journals_beginning() {
    let mut desk = durable();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    desk.given(&worker);
    desk.end(&worker, vec![success(1, 1)]);
    desk.submit(client, vec![task_with(2, |options| options.max_attempts = Some(1))]);
    desk.given(&worker);
    desk.end(&worker, vec![failure(2, 1)]);
    desk.submit(client, vec![task_with(3, |options| options.delay_ms = 60_000)]);
    desk.submit(client, vec![task_with(4, |options| options.priority = 7)]);
    desk.given(&worker);
    desk.end(&worker, vec![failure_with(4, 1, |detail| detail.retry_after = Some(secs(40)))]);
    desk.submit(client, vec![task_of("other", 5), task_with(6, |options| options.ttl_ms = Some(90_000))]);
    desk.given(&worker);
    for key in ["a", "b", "c"] {
        desk.know(client, put("t", key)).expect("put");
    }
    desk.know(client, KnowledgeOp::Delete { topic: "t".into(), key: "b".into(), expect: None })
        .expect("gone");
    desk.know(client, put("u", "a")).expect("put");
    desk.take();

    let from = desk.carry();
    desk.let_go_before(from[0]);
    desk.restart();
    let client = desk.client(1);
    let mut seen = Vec::new();
    for n in 1..=6 {
        let task = desk.fetch(client, n).unwrap_or_else(|| panic!("task {n}"));
        seen.push((task.outcome, task.attempt.0, task.attempts.len(), task.priority));
    }
    let none = (None, 0, 0, 0);
    assert_eq!(
        seen,
        [
            (Some(Outcome::Succeeded), 1, 0, 0),
            (Some(Outcome::Failed), 1, 1, 0),
            none,
            (None, 1, 1, 7),
            none,
            none
        ]
    );
    assert_eq!(desk.retry(client, &[2]), [], "the dead set has its payload");
    let list = KnowledgeOp::List { prefix: String::new(), after: None, keys_only: true, limit: None };
    let Ok(KnowledgeAnswer::Entries { revision, items, .. }) = desk.know(client, list) else {
        panic!("a list")
    };
    let names: Vec<_> = items.iter().map(|item| format!("{}/{}", item.topic, item.key)).collect();
    assert_eq!((revision, names), (Revision(5), vec!["t/a".into(), "t/c".into(), "u/a".into()]));
    let since = desk.know(client, KnowledgeOp::Since { revision: Revision(1) });
    assert!(
        matches!(since, Ok(KnowledgeAnswer::Changes { items, .. }) if items.len() == 4),
        "the history, too"
    );
}

#[test]
fn on_whose_account_a_task_counts_outlives_the_broker_until_it_has_an_outcome() {
    let mut desk = durable();
    let client = desk.client(1);
    let account = Account([7; 32]);
    desk.submit(client, vec![task_with(1, |options| options.account = Some(account)), task(2)]);
    desk.submit(client, vec![task_with(3, |options| options.account = Some(account))]);
    let bytes = task(1).payload.len();
    let counted = |desk: &Desk| {
        let mut accounts: Vec<_> = desk.scheduler.accounts().collect();
        accounts.sort();
        accounts
    };
    let both = [(id(1), account, bytes), (id(3), account, bytes)];
    assert_eq!(counted(&desk), both);
    let from = desk.carry();
    desk.let_go_before(from[0]);
    desk.restart();
    assert_eq!(counted(&desk), both);
    let client = desk.client(1);
    desk.cancel(client, &[1]);
    assert_eq!(counted(&desk), both[1..]);
    assert_eq!(desk.scheduler.account_of(id(1)), None);
}

#[test]
fn a_lease_that_outlived_the_carrying_and_the_broker_is_adopted() {
    let mut desk = durable();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    let from = desk.carry();
    desk.let_go_before(from[0]);
    desk.restart();
    desk.come_back(&worker, &[held_started(1, 1)]);
    assert_eq!(desk.counted("leases_adopted"), 1);
    let client = desk.client(1);
    assert_eq!(desk.fetch(client, 1).map(|task| task.attempt.0), Some(1));
}

#[test]
fn an_outcome_that_was_forgotten_while_the_state_was_carried_does_not_come_back() {
    let mut desk = Desk::with(|config| {
        (config.durability, config.carry_tasks_max) = (Durability::Journal, 1);
        config.retain_for = secs(20);
    });
    let (client, worker) = (desk.client(1), desk.worker(1, 9));
    for n in 1..=3 {
        desk.submit(client, tasks([n]));
        desk.given(&worker);
        desk.end(&worker, vec![success(n, 1)]);
        desk.outcomes(client);
        desk.pass(secs(8));
    }
    desk.hold_journal();
    desk.carry();
    desk.journal_all();
    desk.journal_all();
    // The first has been carried, the others have not; now the first is forgotten and comes anew.
    desk.pass(secs(1));
    desk.client_says(client.conn, ClientRequest::Submit { seq: 77, again: false, tasks: tasks([1]) });
    while desk.carried().is_empty() {
        desk.journal_all();
    }
    desk.take();
    let begun = desk.journal.iter().position(|(_, record)| matches!(record, Record::CarryBegun(_)));
    let mut short = desk.recovered_from(begun.expect("carried"));
    let client = short.client(2);
    assert_eq!(short.fetch(client, 1).map(|task| task.outcome), Some(None), "it is a new task");
    assert_eq!(short.fetch(client, 2).and_then(|task| task.outcome), Some(Outcome::Succeeded));
    assert_eq!(short.scheduler.remembered()[1..], desk.scheduler.remembered()[1..]);
    short.take();
    desk.take();
}

#[test]
fn a_journal_without_its_beginning_is_refused_unless_the_state_was_carried() {
    let mut desk = durable();
    let client = desk.client(1);
    desk.submit(client, tasks(1..=3));
    desk.carry();
    let config = desk.scheduler.config().clone();
    let recover = |records: &[(Lsn, Record)]| {
        let records = records.iter().map(|(lsn, record)| (*lsn, record));
        Scheduler::recover(config.clone(), desk.now, records).map(|_| ())
    };
    let position = |is_it: fn(&Record) -> bool| desk.journal.iter().position(|(_, record)| is_it(record));
    let begun = position(|record| matches!(record, Record::CarryBegun(_))).expect("begun");
    let ended = position(|record| matches!(record, Record::CarryEnded { .. })).expect("ended");
    let from = desk.journal[begun].0;
    assert_eq!(recover(&desk.journal), Ok(()));
    assert_eq!(recover(&desk.journal[begun..]), Ok(()));
    assert_eq!(recover(&desk.journal[1..]), Ok(()), "records before it were only not let go yet");
    assert_eq!(recover(&desk.journal[begun..ended]), Err(RecoveryError::NotWhole { from }));
    let first = desk.journal[begun + 1].0;
    assert_eq!(recover(&desk.journal[begun + 1..]), Err(RecoveryError::NoBeginning { first }));
    let mut gap = desk.journal.clone();
    gap.remove(2);
    assert_eq!(recover(&gap), Err(RecoveryError::Gap { last: Lsn(2), found: Lsn(4) }));
}

#[test]
fn a_task_is_not_given_out_before_the_journal_has_it() {
    let mut desk = durable();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.hold_journal();
    desk.client_says(client.conn, ClientRequest::Submit { seq: 5, again: false, tasks: tasks([1, 2]) });
    assert_eq!(desk.given(&worker), []);
    assert_eq!(desk.scheduler.status().queued, 2);
    desk.client_says(client.conn, ClientRequest::Cancel { req: 1, tasks: vec![id(1)] });
    desk.journal_all();
    assert_eq!(desk.given(&worker), [(2, 1)]);
    desk.take();
}

#[test]
fn a_worker_gets_nothing_before_the_journal_knows_it() {
    let mut desk = durable();
    let client = desk.client(1);
    desk.submit(client, tasks([1]));
    desk.hold_journal();
    let worker = desk.worker(1, 1);
    assert_eq!(desk.given(&worker), []);
    desk.journal_all();
    assert_eq!(desk.given(&worker), [(1, 1)]);
}

#[test]
fn the_window_ends_as_soon_as_everybody_who_may_have_leases_is_back() {
    let mut desk = durable();
    let (client, one, two) = (desk.client(1), desk.worker(1, 1), desk.worker(2, 1));
    desk.submit(client, tasks([1, 2, 3]));
    desk.given(&one);
    desk.given(&two);
    desk.restart();
    let one = desk.come_back(&one, &[held_started(1, 1)]);
    desk.beat_once(&one);
    let three = desk.worker(3, 1);
    desk.pass_ms(600);
    assert_eq!(desk.given(&three), [], "another may still come");
    let two = desk.come_back(&two, &[]);
    desk.end(&two, vec![success(2, 1)]);
    assert_eq!(desk.given(&two), [], "it may have more to report");
    desk.beat_once(&two);
    let given = [desk.given(&two), desk.given(&three)].concat();
    assert_eq!(given, [(3, 1)]);
}

#[test]
fn without_workers_in_the_last_life_nobody_is_waited_for() {
    let mut desk = durable();
    let client = desk.client(1);
    desk.submit(client, tasks([1]));
    desk.restart();
    let worker = desk.worker(1, 1);
    assert_eq!(desk.given(&worker), [(1, 1)]);
}

#[test]
fn the_dead_of_the_last_life_are_waited_for_once() {
    let mut desk = durable();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.restart();
    desk.pass(secs(5));
    desk.restart();
    let other = desk.worker(2, 1);
    assert_eq!(desk.given(&other), [(1, 1)], "it did not come in the first window");
}

#[test]
fn a_full_store_refuses_what_needs_room_and_lets_the_rest_go_on() {
    let mut desk = durable();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.max_attempts = Some(1)), task(2)]);
    desk.given(&worker);
    desk.end(&worker, vec![failure(1, 1)]);
    desk.outcomes(client);
    assert_eq!(desk.given(&worker), [(2, 1)]);

    desk.feed(Input::Storage { full: true, behind: false });
    let refused = desk.submit_some(client, false, vec![task(3), task(2)]);
    let codes: Vec<_> = refused.iter().map(|no| (no.index, no.code, no.retry_after.is_some())).collect();
    assert_eq!(codes, [(0, ErrorCode::StorageFull, true)], "what is known is no new task");
    assert_eq!(desk.know(client, put("t", "a")), Err(ErrorCode::StorageFull));
    assert_eq!(desk.retry(client, &[1]), [(0, ErrorCode::StorageFull)]);
    desk.end(&worker, vec![success(2, 1)]);
    assert_eq!(desk.outcomes(client), [(2, Outcome::Succeeded)]);

    desk.feed(Input::Storage { full: false, behind: false });
    desk.submit(client, tasks([3]));
    assert_eq!(desk.given(&worker), [(3, 1)]);
    assert_eq!(desk.retry(client, &[1]), []);
}

#[test]
fn while_the_journal_is_behind_nothing_is_given_out_and_no_client_is_given_up() {
    let mut desk = durable();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.feed(Input::Storage { full: false, behind: true });
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), []);
    desk.mute_conn(client.conn);
    desk.pass(secs(20));
    desk.feed(Input::Storage { full: false, behind: false });
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.pass(secs(2));
    assert_eq!(desk.counted("clients_lost"), 0);
    desk.pass(secs(2));
    assert_eq!(desk.counted("clients_lost"), 1, "now its silence is its own");
    desk.take();
}

#[test]
fn numbers_of_attempts_go_on_where_the_journal_knows_them_to_be() {
    let mut desk = durable();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![ended(1, 1, AttemptEnd::Interrupted)]);
    assert_eq!(desk.given(&worker), [(1, 2)]);
    desk.drain_worker(&worker);
    desk.end(&worker, vec![ended(1, 2, AttemptEnd::Returned)]);
    let from = desk.carry();
    desk.let_go_before(from[0]);
    let Some((_, Record::CarriedTasks(tasks))) =
        desk.journal.iter().find(|(_, record)| matches!(record, Record::CarriedTasks(_)))
    else {
        panic!("carried");
    };
    assert_eq!(tasks[0].attempt.0, 1, "what was handed back was never written down");
    let replies: Vec<ClientReply> = desk.replies(client);
    assert!(replies.is_empty());
}

#[test]
fn a_task_that_is_handed_in_again_is_held_no_longer_than_the_window() {
    let mut desk = durable();
    let worker = desk.worker(1, 3);
    desk.restart();
    let client = desk.client(1);
    desk.resubmit(client, vec![task(1), task_with(2, |options| options.delay_ms = 20_000)]);
    let worker = desk.come_back(&worker, &[]);
    assert_eq!(desk.given(&worker), [], "a worker may bring it");
    desk.beat_once(&worker);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.pass(secs(19));
    assert_eq!(desk.given(&worker), [], "what was asked to wait waits");
    desk.pass(secs(1));
    assert_eq!(desk.given(&worker), [(2, 1)]);
}

#[test]
fn a_part_ends_where_its_histories_are_long_enough() {
    let mut desk = Desk::with(|config| config.durability = Durability::Journal);
    let (client, worker) = (desk.client(1), desk.worker(1, 8));
    desk.submit(client, tasks(1..=8));
    assert_eq!(desk.given(&worker).len(), 8);
    for n in 1..=8 {
        let long = failure_with(n, 1, |detail| {
            detail.error = Some("x".repeat(300_000));
            detail.retry_after = Some(secs(60));
        });
        desk.end(&worker, vec![long]);
    }
    assert_eq!(desk.carry().len(), 1);
    assert_eq!(desk.count(|record| matches!(record, Record::CarriedTasks(_))), 2, "four are over a mebibyte");
}

#[test]
fn a_task_that_was_to_wait_is_not_given_out_before_the_journal_has_it_either() {
    let mut desk = durable();
    let (client, worker) = (desk.client(1), desk.worker(1, 2));
    desk.hold_journal();
    let tasks = vec![task_with(1, |options| options.delay_ms = 10)];
    desk.client_says(client.conn, ClientRequest::Submit { seq: 5, again: false, tasks });
    desk.pass_ms(500);
    assert_eq!(desk.given(&worker), []);
    desk.journal_all();
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.take();
}

#[test]
fn a_failure_is_on_record_before_its_task_is_tried_again() {
    let mut desk = durable();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.backoff_ms = Some(0))]);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.hold_journal();
    desk.report(&worker, vec![], vec![failure(1, 1)], 0);
    desk.pass_ms(100);
    assert_eq!(desk.given(&worker), []);
    desk.journal_all();
    assert_eq!(desk.given(&worker), [(1, 2)]);
    desk.take();
}

/// How often the state is carried: a turn does the same work each time, and the shortest of them is the one
/// in which the machine did nothing else.
const CARRIES: usize = 5;

/// `cargo test --release -p ganger-scheduler -- --ignored --nocapture longest_turn`
#[test]
#[ignore = "a measurement: about a million tasks"]
fn the_longest_turn_while_a_million_tasks_are_carried_is_short() {
    let now = ganger_scheduler::Now::default();
    let config = ganger_scheduler::Config { durability: Durability::Journal, ..Default::default() };
    let mut scheduler = Scheduler::new(config, now);
    let client = |request| Input::Client { conn: ganger_common::ConnId(1), request };
    let mut last = Lsn(0);
    let mut play = |scheduler: &mut Scheduler, input: Input| {
        let mut carried = false;
        let mut batch = Vec::new();
        let begin = std::time::Instant::now();
        scheduler.handle(now, input);
        while let Some(effect) = scheduler.poll_effect() {
            match effect {
                Effect::Append { lsn, record } => {
                    last = lsn;
                    batch.push(record);
                }
                Effect::Carried { .. } => carried = true,
                _ => {}
            }
        }
        drop(batch);
        (begin.elapsed(), carried, last)
    };
    let hello = ClientRequest::Hello {
        client: ganger_common::ClientId::from_bytes([1; 16]),
        token: ganger_common::SessionToken::from_bytes([1; 16]),
        name: String::new(),
    };
    play(&mut scheduler, client(hello));
    for batch in 0..250 {
        let tasks = tasks(batch * 4_000..(batch + 1) * 4_000);
        let submit = ClientRequest::Submit { seq: 1, again: false, tasks };
        let (_, _, upto) = play(&mut scheduler, client(submit));
        play(&mut scheduler, Input::Journaled { upto });
    }
    assert_eq!(scheduler.status().queued, 1_000_000);
    let mut turns: Vec<std::time::Duration> = Vec::new();
    for carry in 0..CARRIES {
        let mut upto = play(&mut scheduler, Input::Carry).2;
        for turn in 0.. {
            let (took, carried, last) = play(&mut scheduler, Input::Journaled { upto });
            upto = last;
            match turns.get_mut(turn) {
                Some(shortest) => *shortest = took.min(*shortest),
                None => {
                    assert_eq!(carry, 0, "each time the same turns");
                    turns.push(took);
                }
            }
            if carried {
                break;
            }
        }
    }
    turns.sort_unstable();
    let (median, longest) = (turns[turns.len() / 2], turns[turns.len() - 1]);
    println!("{} turns, median {median:.2?}, longest {longest:.2?}", turns.len());
    assert!(longest < ms(10), "{longest:?}");
}
