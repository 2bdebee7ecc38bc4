use super::*;

fn failed(text: &str) -> End {
    End::Failed(Failure { text: text.to_owned(), ..Failure::default() })
}

#[test]
fn tasks_start_in_the_order_of_dispatch() {
    let mut rig = Rig::open(3);
    rig.tasks(&[1, 2]);
    rig.tasks(&[3, 4]);
    assert_eq!(rig.session.ready(), 3);
    let taken: Vec<u8> = std::iter::from_fn(|| rig.take()).map(|(task, _)| task).collect();
    assert_eq!(taken, [1, 2, 3]);
    assert_eq!(rig.effects(), ["report 0 started:1 started:2 started:3 waiting=1"]);
}

#[test]
fn an_end_and_the_next_start_travel_together() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1, 2]);
    let ticket = rig.take_some();
    rig.effects();
    rig.finish(ticket, failed("no"));
    rig.take_some();
    assert_eq!(rig.effects(), ["report 1 started:2 1:failed(no)"]);
}

#[test]
fn ends_are_gathered_into_one_report() {
    let mut rig = Rig::open(1);
    rig.tasks(&(1..=100).collect::<Vec<u8>>());
    for _ in 0..100 {
        let ticket = rig.take_some();
        rig.finish(ticket, ok());
    }
    let effects = rig.effects();
    assert_eq!(effects.len(), 1);
    assert!(effects[0].starts_with("report 1 1:succeeded 2:succeeded"));
}

#[test]
fn a_report_holds_no_more_than_a_message_may() {
    let mut rig = Rig::open(1);
    let big = Bytes::from(vec![0; 1 << 20]);
    for task in 1..=9 {
        rig.tasks(&[task]);
        let ticket = rig.take_some();
        rig.finish(ticket, End::Succeeded(big.clone()));
    }
    let counts: Vec<usize> = rig.effects().iter().map(|text| text.matches("succeeded").count()).collect();
    assert_eq!(counts, [4, 4, 1]);
}

#[test]
fn a_task_of_another_kind_fails_for_good() {
    let mut rig = Rig::open(1);
    rig.tasks_with(&[1], "z", &DispatchDetail::default());
    assert_eq!(rig.effects(), ["report 1 1:failed!(this worker does not serve the kind \"z\")"]);
}

#[test]
fn a_result_that_is_too_large_fails_for_good() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1]);
    let ticket = rig.take_some();
    rig.finish(ticket, End::Succeeded(vec![0; (1 << 20) + 1].into()));
    let text = "report 1 1:failed!(the result has 1048577 bytes, at most 1048576 are allowed)";
    assert_eq!(rig.effects(), [text]);
}

#[test]
fn recalled_tasks_are_the_newest_that_have_not_started() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1, 2, 3, 4]);
    rig.take_some();
    rig.effects();
    rig.recall(9, 2);
    assert_eq!(rig.effects(), ["report 1 4:returned 3:returned waiting=1 recall=9"]);
    rig.recall(10, 2);
    assert_eq!(rig.effects(), ["report 2 2:returned recall=10"]);
    rig.recall(11, 2);
    assert_eq!(rig.effects(), ["report 0 recall=11"]);
}

#[test]
fn a_task_to_be_confirmed_runs_only_after_its_start_is_on_record() {
    let mut rig = Rig::open(1);
    rig.tasks_with(&[1], "a", &DispatchDetail { confirm: true, ..DispatchDetail::default() });
    rig.tasks(&[2]);
    assert_eq!(rig.take(), None);
    assert_eq!(rig.effects(), ["report 0 started:1 waiting=1"]);
    assert_eq!(rig.take(), None, "it keeps its slot");
    rig.start(&[1]);
    assert_eq!(rig.session.ready(), 1);
    let (task, ticket) = rig.take().unwrap();
    assert_eq!(task, 1);
    rig.start(&[1]);
    assert_eq!(rig.take(), None, "a start that is said twice starts nothing twice");
    rig.finish(ticket, ok());
    assert_eq!(rig.take().unwrap().0, 2);
}

#[test]
fn an_unconfirmed_task_is_handed_back_to_a_broker_that_began_anew() {
    let mut rig = Rig::open(1);
    rig.tasks_with(&[1], "a", &DispatchDetail { confirm: true, ..DispatchDetail::default() });
    rig.take();
    rig.effects();
    rig.lose_connection();
    rig.connect();
    assert_eq!(rig.effects(), ["hello holding=1*"]);
    rig.welcome(2);
    let effects = rig.effects();
    assert_eq!(effects[0], "report 1 1:returned");
}

#[test]
fn a_cancelled_task_that_has_not_started_never_does() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1, 2, 3]);
    rig.cancel(&[1, 3, 9], None);
    assert_eq!(rig.effects(), ["report 1 1:cancelled 3:cancelled waiting=1"]);
    assert_eq!(rig.take().unwrap().0, 2);
}

#[test]
fn a_cancelled_handler_is_told_and_its_result_is_not_wanted() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1]);
    let ticket = rig.take_some();
    rig.effects();
    rig.cancel(&[1], None);
    rig.cancel(&[1], None);
    assert_eq!(rig.effects(), ["cancel handler 1 Cancelled"]);
    rig.finish(ticket, ok());
    assert_eq!(rig.effects(), ["report 1 1:cancelled"]);
}

#[test]
fn a_success_under_a_lost_lease_is_still_reported() {
    let mut rig = Rig::open(2);
    rig.tasks(&[1, 2]);
    let (one, two) = (rig.take_some(), rig.take_some());
    rig.effects();
    rig.cancel(&[1, 2], Some(ErrorCode::Stale));
    assert_eq!(rig.effects(), ["cancel handler 1 Stale", "cancel handler 2 Stale"]);
    rig.finish(one, ok());
    rig.finish(two, failed("x"));
    assert_eq!(rig.effects(), ["report 1 1:succeeded 2:cancelled"]);
}

#[test]
fn a_run_limit_is_reported_at_once_and_the_slot_is_free_when_the_handler_ends() {
    let mut rig = Rig::open(1);
    rig.tasks_with(&[1], "a", &DispatchDetail { run_limit_ms: Some(500), ..DispatchDetail::default() });
    rig.tasks(&[2]);
    let ticket = rig.take_some();
    rig.effects();
    rig.pass(Duration::from_millis(499));
    assert_eq!(rig.effects(), [""; 0]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(
        rig.effects(),
        [
            "cancel handler 1 TimedOut",
            "report 1 1:timed_out(it ran for longer than its limit of 500ms) waiting=1",
        ]
    );
    assert_eq!(rig.take(), None);
    rig.finish(ticket, ok());
    assert_eq!(rig.take().unwrap().0, 2);
    assert_eq!(rig.effects(), ["report 0 started:2"]);
}

#[test]
fn what_timed_out_is_not_held_any_more() {
    let mut rig = Rig::open(1);
    rig.tasks_with(&[1], "a", &DispatchDetail { run_limit_ms: Some(1), ..DispatchDetail::default() });
    rig.take_some();
    rig.pass(Duration::from_millis(1));
    rig.effects();
    rig.lose_connection();
    rig.connect();
    assert_eq!(rig.effects(), ["hello"]);
}

#[test]
fn a_run_limit_that_was_kept_is_forgotten() {
    let mut rig = Rig::open(1);
    rig.tasks_with(&[1], "a", &DispatchDetail { run_limit_ms: Some(5), ..DispatchDetail::default() });
    let ticket = rig.take_some();
    rig.finish(ticket, ok());
    rig.effects();
    rig.pass(Duration::from_millis(100));
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn a_worker_that_nobody_acknowledges_stops_taking() {
    let mut rig = Rig::open(1);
    rig.lose_connection();
    rig.connect();
    rig.effects();
    rig.welcome(1);
    rig.effects();
    let most = u32::try_from(UNACKED_ENDS_MAX).unwrap();
    for _ in 0..most {
        rig.tasks(&[1]);
        let ticket = rig.take_some();
        rig.finish(ticket, ok());
    }
    rig.tasks(&[2]);
    assert_eq!((rig.take(), rig.session.ready()), (None, 0));
    let reports = rig.effects().len() as u64;
    assert_eq!(reports, u64::from(most) / 4_096);
    rig.ack(1);
    assert_eq!(rig.session.ready(), 1);
    assert_eq!(rig.take().unwrap().0, 2);
}

#[test]
fn an_end_that_nobody_waits_for_changes_nothing() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1]);
    let ticket = rig.take_some();
    rig.finish(ticket, ok());
    rig.effects();
    rig.finish(ticket, ok());
    assert_eq!(rig.effects(), [""; 0]);
}

/// What is handed back is kept until it is acknowledged: a broker that never does must not fill the memory.
#[test]
fn a_broker_that_gives_out_tasks_and_acknowledges_nothing_is_left() {
    let mut rig = Rig::open(1);
    let batch: Vec<u8> = (0..4_096).map(|task| task as u8).collect();
    let batches = (ganger_common::limits::HELD_LEASES_MAX + UNACKED_ENDS_MAX) / batch.len();
    for _ in 0..batches {
        rig.tasks(&batch);
    }
    assert!(rig.effects().iter().all(|effect| effect.starts_with("report")));
    rig.tasks(&batch);
    let effects = rig.effects();
    assert!(matches!(&effects[..], [only] if only.starts_with("disconnect")), "{effects:?}");
    rig.connect();
    assert!(rig.effects().concat().starts_with("hello"));
    rig.welcome(1);
    rig.effects();
    rig.tasks(&[1]);
    assert_eq!(rig.effects().len(), 1, "it is left again, before anything is added to what is kept");
}
