use super::*;

fn drain(rig: &mut Rig, ms: u64) {
    rig.input(Input::Drain { deadline: Some(Duration::from_millis(ms)) });
}

#[test]
fn a_drain_hands_back_what_has_not_started_and_lets_the_rest_finish() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1, 2, 3]);
    let ticket = rig.take_some();
    rig.effects();
    drain(&mut rig, 500);
    assert_eq!(rig.effects(), ["drain 500ms", "report 1 2:returned 3:returned"]);
    rig.ack(1);
    rig.tasks(&[4]);
    assert_eq!(rig.effects(), ["report 2 4:returned"]);
    rig.finish(ticket, ok());
    assert_eq!(rig.effects(), ["report 3 1:succeeded"]);
    rig.ack(2);
    assert_eq!(rig.effects(), [""; 0], "the last acknowledgement is missing");
    rig.ack(3);
    assert_eq!(rig.effects(), ["goodbye", "stopped Drained unfinished=0 unreported=0"]);
}

#[test]
fn the_broker_can_ask_for_a_drain() {
    let mut rig = Rig::open(1);
    rig.tell(&ToWorker::Drain(ganger_common::message::WorkerDrain { deadline_ms: Some(7) }));
    assert_eq!(rig.effects(), ["drain 7ms", "goodbye", "stopped Drained unfinished=0 unreported=0"]);
}

#[test]
fn what_runs_at_the_deadline_is_interrupted() {
    let mut rig = Rig::open(2);
    rig.tasks(&[1, 2]);
    let (one, _) = (rig.take_some(), rig.take_some());
    rig.cancel(&[2], None);
    rig.effects();
    drain(&mut rig, 500);
    rig.effects();
    rig.pass(Duration::from_millis(500));
    assert_eq!(rig.effects(), ["cancel handler 1 Leaving", "report 1 1:interrupted 2:cancelled"]);
    rig.finish(one, ok());
    rig.ack(1);
    assert_eq!(rig.effects(), ["goodbye", "stopped DrainDeadline unfinished=1 unreported=0"]);
}

#[test]
fn a_task_that_waits_for_its_confirmation_is_handed_back() {
    let mut rig = Rig::open(1);
    rig.tasks_with(&[1], "a", &DispatchDetail { confirm: true, ..DispatchDetail::default() });
    assert_eq!(rig.take(), None);
    rig.effects();
    drain(&mut rig, 500);
    assert_eq!(rig.effects(), ["drain 500ms", "report 1 1:returned"]);
}

#[test]
fn the_last_acknowledgements_are_not_waited_for_without_end() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1]);
    let ticket = rig.take_some();
    drain(&mut rig, 100);
    rig.finish(ticket, ok());
    rig.effects();
    for mark in 0..6 {
        rig.pass(Duration::from_millis(1_000));
        rig.beat(mark, 0);
    }
    let effects = rig.effects();
    assert_eq!(effects[effects.len() - 2..], ["goodbye", "stopped Drained unfinished=0 unreported=1"]);
}

#[test]
fn without_a_broker_a_drain_waits_for_one_until_the_deadline() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1]);
    let ticket = rig.take_some();
    rig.effects();
    rig.lose_connection();
    drain(&mut rig, 60_000);
    rig.finish(ticket, ok());
    assert_eq!(rig.effects(), [""; 0]);
    rig.connect();
    assert_eq!(rig.effects(), ["hello draining"]);
    rig.welcome(1);
    assert_eq!(rig.effects(), ["report 1 1:succeeded", "heartbeat mark=0 revision=0"]);
    rig.ack(1);
    assert_eq!(rig.effects(), ["goodbye", "stopped Drained unfinished=0 unreported=0"]);
}

#[test]
fn a_worker_that_holds_nothing_leaves_without_a_broker() {
    let mut rig = Rig::new(1);
    drain(&mut rig, 60_000);
    assert_eq!(rig.effects(), ["stopped Drained unfinished=0 unreported=0"]);
    assert_eq!(rig.session.poll_timeout(), None);
}

#[test]
fn stopping_at_once_reports_what_it_can_and_tells_the_handlers() {
    let mut rig = Rig::open(2);
    rig.tasks(&[1, 2, 3]);
    let one = rig.take_some();
    rig.take_some();
    rig.effects();
    rig.finish(one, ok());
    rig.input(Input::Stop);
    assert_eq!(
        rig.effects(),
        [
            "cancel handler 2 Leaving",
            "report 1 1:succeeded waiting=1",
            "goodbye",
            "stopped Stopped unfinished=1 unreported=1",
        ]
    );
    assert_eq!(rig.take(), None);
    rig.input(Input::Stop);
    rig.session.handle_timeout(Time::NEVER);
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn a_second_drain_can_only_bring_the_deadline_nearer() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1]);
    rig.take_some();
    drain(&mut rig, 500);
    drain(&mut rig, 9_000);
    rig.effects();
    rig.pass(Duration::from_millis(500));
    assert_eq!(rig.effects(), ["cancel handler 1 Leaving", "report 1 1:interrupted"]);
}

/// A change was missed, so the replica wants to ask for it; but nobody will be there for the answer.
#[test]
fn nothing_is_asked_after_the_end() {
    let mut rig = Rig::open(1);
    rig.beat(1, 4);
    rig.now = rig.now.plus(Duration::from_millis(50));
    rig.session.handle_timeout(rig.now);
    rig.input(Input::Stop);
    assert_eq!(rig.effects(), ["goodbye", "stopped Stopped unfinished=0 unreported=0"]);
}
