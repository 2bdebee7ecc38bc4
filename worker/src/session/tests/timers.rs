//! Every timer of the session and of its replica, exactly: due at T means handled at T, and not a
//! microsecond earlier, by the loop that hands `poll_timeout` back.

use ganger_common::Revision;
use ganger_common::limits::{PULSE_BEATS, RECONNECT_PAUSE_MAX};
use ganger_common::message::ErrorReply;

use super::*;
use crate::replica::{Change, Publication};

const TICK: Duration = Duration::from_micros(1);

impl Rig {
    /// Lets time pass until just before, then to the moment. What was to be done earlier is passed over;
    /// `wanted` must come of that moment alone.
    #[track_caller]
    fn exactly_after(&mut self, span: Duration, wanted: &str) {
        let is_wanted = |effect: &String| effect.starts_with(wanted);
        self.pass(span - TICK);
        let before = self.effects();
        assert!(!before.iter().any(is_wanted), "{wanted} came early: {before:?}");
        // One call at the moment itself: what it leads to later is not this timer's.
        self.now = self.now.plus(TICK);
        let due = self.session.poll_timeout();
        assert_eq!(due, Some(self.now), "{wanted} is due now");
        self.session.handle_timeout(self.now);
        let effects = self.effects();
        assert!(effects.iter().any(is_wanted), "no {wanted} in {effects:?}");
        let next = self.session.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "{next:?} is due for ever");
    }
}

#[test]
fn a_heartbeat_is_said_after_a_heartbeat() {
    let mut rig = Rig::open(1);
    rig.exactly_after(Duration::from_secs(1), "heartbeat");
    rig.exactly_after(Duration::from_secs(1), "heartbeat");
    rig.beat(1, 0);
    rig.exactly_after(Duration::from_secs(1), "quiet heartbeat");
    rig.exactly_after(Duration::from_secs(2), "quiet heartbeat");
}

#[test]
fn a_silent_broker_is_left_after_three_heartbeats() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1]);
    rig.pass(Duration::from_millis(700));
    rig.beat(1, 0);
    rig.exactly_after(Duration::from_secs(3), "disconnect");
}

#[test]
fn a_hello_is_given_up() {
    let mut rig = Rig::new(1);
    rig.connect();
    rig.exactly_after(WELCOME_WITHIN, "disconnect");
}

#[test]
fn a_new_connection_is_tried_when_its_pause_is_over() {
    let mut rig = Rig::open(1);
    for _ in 0..20 {
        rig.input(Input::Disconnected);
        let due = rig.session.poll_timeout().expect("a pause");
        let pause = due.since(rig.now);
        assert!(pause <= RECONNECT_PAUSE_MAX);
        if pause >= TICK {
            rig.exactly_after(pause, "connect");
        } else {
            rig.pass(Duration::ZERO);
        }
        rig.input(Input::Connected);
        rig.effects();
    }
}

#[test]
fn a_run_limit_ends_an_attempt() {
    let mut rig = Rig::open(1);
    rig.tasks_with(&[1], "a", &DispatchDetail { run_limit_ms: Some(1_500), ..DispatchDetail::default() });
    rig.pass(Duration::from_millis(123));
    rig.take_some();
    rig.exactly_after(Duration::from_millis(1_500), "cancel handler 1 TimedOut");
}

#[test]
fn a_drain_interrupts_what_runs_at_its_deadline_and_leaves_a_while_later() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1]);
    rig.take_some();
    rig.input(Input::Drain { deadline: Some(Duration::from_millis(800)) });
    rig.effects();
    rig.exactly_after(Duration::from_millis(800), "cancel handler 1 Leaving");
    // The broker lives, but acknowledges nothing.
    rig.pass(Duration::from_secs(2));
    rig.beat(1, 0);
    rig.pass(Duration::from_secs(2));
    rig.beat(2, 0);
    rig.effects();
    rig.exactly_after(LAST_ACKS_WITHIN - Duration::from_secs(4), "stopped DrainDeadline");
}

#[test]
fn progress_is_told_again_after_its_interval() {
    let mut rig = Rig::open(1);
    rig.tasks_with(&[1], "a", &DispatchDetail { events: true, ..DispatchDetail::default() });
    let ticket = rig.take_some();
    rig.session.progress(rig.now, ticket, Some(0.1), String::new());
    rig.session.progress(rig.now, ticket, Some(0.2), String::new());
    rig.effects();
    rig.exactly_after(PROGRESS_INTERVAL, "progress 1 Some(0.2)");
}

#[test]
fn a_new_revision_is_told_after_its_interval() {
    let mut rig = Rig::open(1);
    let change = Change { revision: Revision(1), topic: "t".into(), key: "k".into(), value: None };
    rig.input(Input::Publication(Publication::Change { epoch: Epoch(1), change }));
    rig.exactly_after(REVISION_INTERVAL, "heartbeat mark=0 revision=1");
}

#[test]
fn a_revision_that_was_heard_of_is_asked_for_when_its_change_has_not_come() {
    let mut rig = Rig::open(1);
    rig.beat(1, 3);
    rig.exactly_after(Duration::from_millis(50), "knowledge 1 Since");
    // No answer comes, and the broker lives.
    rig.pass(Duration::from_secs(2));
    rig.beat(2, 3);
    rig.pass(Duration::from_secs(2));
    rig.beat(3, 3);
    rig.effects();
    rig.exactly_after(Duration::from_secs(1), "knowledge 2 Since");
}

#[test]
fn what_was_refused_is_asked_again_when_the_broker_says() {
    let mut rig = Rig::open(1);
    rig.beat(1, 3);
    rig.exactly_after(Duration::from_millis(50), "knowledge 1 Since");
    let (code, text, retry_after_ms) = (ErrorCode::Busy, "t".into(), Some(333));
    rig.tell(&ToWorker::Error(ErrorReply { req: Some(1), code, text, retry_after_ms }));
    rig.exactly_after(Duration::from_millis(333), "knowledge 2 Since");
}

#[test]
fn a_subscription_is_made_again_when_it_was_silent_for_three_pulses() {
    let mut rig = Rig::new(1);
    rig.connect();
    rig.effects();
    rig.tell(&ToWorker::Welcome(Welcome {
        protocol: PROTOCOL,
        broker: "b".into(),
        epoch: Epoch(1),
        heartbeat_ms: 1_000,
        liveness: 3,
        grace_ms: 2_000,
        durability: Durability::Memory,
        message_bytes_max: 64 << 20,
        payload_bytes_max: 1 << 20,
        batch_items_max: 4_096,
        revision: Revision(0),
        knowledge_port: 7,
    }));
    rig.pass(Duration::ZERO);
    assert!(rig.effects().contains(&"subscribe 7".to_owned()));
    rig.input(Input::Subscribed);
    let subscribed = rig.now;
    // The broker lives on its connection; only the subscription is silent.
    for _ in 0..7 {
        rig.pass(Duration::from_secs(2));
        rig.beat(1, 0);
    }
    rig.pass(Duration::from_secs(1) - TICK);
    assert!(!rig.effects().iter().any(|effect| effect.starts_with("subscribe")));
    rig.now = rig.now.plus(TICK);
    assert_eq!(rig.now, subscribed.plus(Duration::from_secs(3 * u64::from(PULSE_BEATS))));
    rig.session.handle_timeout(rig.now);
    // It was given up at that moment: the next try follows after a pause with jitter.
    let due = rig.session.poll_timeout().expect("the next try").since(rig.now);
    assert!(due <= RECONNECT_PAUSE_MIN, "{due:?}");
    rig.pass(RECONNECT_PAUSE_MIN);
    assert!(rig.effects().contains(&"subscribe 7".to_owned()));
}
