use super::super::link::QUIET_BEATS_MAX;
use super::*;
use ganger_common::message::{ErrorReply, Goodbye};

fn error(rig: &mut Rig, code: ErrorCode) {
    rig.tell(&ToWorker::Error(ErrorReply { req: None, code, text: "t".into(), retry_after_ms: None }));
}

fn goodbye(rig: &mut Rig, code: Option<ErrorCode>) {
    rig.tell(&ToWorker::Goodbye(Goodbye { code, text: "t".into() }));
}

#[test]
fn it_beats_once_a_heartbeat_and_echoes_the_newest_mark() {
    let mut rig = Rig::open(1);
    rig.beat(5, 0);
    rig.beat(4, 0);
    rig.pass(Duration::from_millis(999));
    assert_eq!(rig.effects(), [""; 0]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.effects(), ["quiet heartbeat mark=5 revision=0"]);
    rig.pass(Duration::from_millis(2_500));
    assert_eq!(rig.effects(), ["quiet heartbeat mark=5 revision=0"]);
    rig.tasks(&[1]);
    assert!(rig.effects().is_empty(), "it beat less than a second ago");
    rig.pass(Duration::from_millis(500));
    assert!(rig.effects().contains(&"heartbeat mark=5 revision=0".to_owned()));
}

#[test]
fn a_worker_that_has_nothing_asks_for_an_answer_every_fifth_time() {
    let mut rig = Rig::open(1);
    rig.beat(1, 0);
    for _ in 0..3 {
        rig.pass(Duration::from_secs(1));
        for _ in 0..QUIET_BEATS_MAX {
            assert_eq!(rig.effects(), ["quiet heartbeat mark=1 revision=0"]);
            rig.pass(Duration::from_secs(2));
        }
        assert_eq!(rig.effects(), ["heartbeat mark=1 revision=0"]);
        // Nor does it give up asking before it is answered.
        rig.pass(Duration::from_secs(1));
        assert_eq!(rig.effects(), ["heartbeat mark=1 revision=0"]);
        rig.beat(1, 0);
    }
}

#[test]
fn a_worker_that_has_anything_asks_for_an_answer_every_time() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1]);
    let ticket = rig.take_some();
    rig.effects();
    let asks = |rig: &mut Rig| {
        rig.beat(1, 0);
        rig.pass(Duration::from_secs(1));
        rig.effects().iter().any(|effect| effect.starts_with("heartbeat"))
    };
    assert!(asks(&mut rig) && asks(&mut rig), "while a task runs");
    rig.finish(ticket, ok());
    assert!(asks(&mut rig) && asks(&mut rig), "while its end is not acknowledged");
    rig.ack(1);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.effects(), ["heartbeat mark=1 revision=0"], "once after something was heard");
    assert!(!asks(&mut rig));
}

#[test]
fn an_idle_worker_leaves_a_silent_broker_some_beats_later() {
    let mut rig = Rig::open(1);
    rig.beat(1, 0);
    rig.pass(Duration::from_millis(11_999));
    let beats = rig.effects();
    assert!(beats.iter().all(|effect| effect.contains("heartbeat")), "{beats:?}");
    // It asked after nine seconds.
    rig.pass(Duration::from_millis(1));
    assert_eq!(
        rig.effects().last().map(String::as_str),
        Some("disconnect: nothing was heard from the broker for too long")
    );
}

#[test]
fn a_silent_broker_is_left_after_heartbeat_times_liveness() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1]);
    rig.pass(Duration::from_millis(1_500));
    rig.beat(1, 0);
    rig.effects();
    rig.pass(Duration::from_millis(2_999));
    assert_eq!(rig.effects().len(), 3, "heartbeats alone");
    rig.now = rig.now.plus(Duration::from_millis(1));
    rig.session.handle_timeout(rig.now);
    assert_eq!(rig.effects(), ["disconnect: nothing was heard from the broker for too long"]);
    rig.connect();
    assert_eq!(rig.effects(), ["hello holding=1"]);
}

#[test]
fn a_hello_without_an_answer_is_given_up() {
    let mut rig = Rig::new(1);
    rig.connect();
    assert_eq!(rig.effects(), ["hello"]);
    rig.pass(WELCOME_WITHIN - Duration::from_micros(1));
    assert_eq!(rig.effects(), [""; 0]);
    rig.now = rig.now.plus(Duration::from_micros(1));
    rig.session.handle_timeout(rig.now);
    assert_eq!(rig.effects(), ["disconnect: the broker did not answer the hello"]);
}

#[test]
fn pauses_between_tries_grow_to_a_bound_with_full_jitter() {
    let mut rig = Rig::new(1);
    let mut longest = Duration::ZERO;
    for attempt in 0..200_u32 {
        let due = rig.session.poll_timeout().unwrap();
        let pause = due.since(rig.now);
        let most = RECONNECT_PAUSE_MIN * 2_u32.pow(attempt.saturating_sub(1).min(6));
        assert!(attempt == 0 || pause <= most.min(Duration::from_secs(2)), "{attempt}: {pause:?}");
        longest = longest.max(pause);
        rig.now = due;
        rig.session.handle_timeout(due);
        assert_eq!(rig.effects(), ["connect"]);
        rig.lose_connection();
    }
    assert!(longest > Duration::from_millis(1_900), "{longest:?}");
}

#[test]
fn it_comes_back_with_what_it_holds() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1, 2, 3]);
    rig.take_some();
    assert_eq!(rig.effects(), ["report 0 started:1 waiting=2"]);
    rig.lose_connection();
    rig.connect();
    assert_eq!(rig.effects(), ["hello holding=1*,2,3"]);
    rig.welcome(1);
    assert_eq!(rig.effects(), ["heartbeat mark=0 revision=0"]);
}

#[test]
fn ends_are_reported_again_before_the_first_heartbeat_and_until_acknowledged() {
    let mut rig = Rig::open(1);
    rig.tasks(&[1, 2, 3]);
    let ticket = rig.take_some();
    rig.finish(ticket, ok());
    assert_eq!(rig.effects(), ["report 1 1:succeeded waiting=2"]);
    rig.lose_connection();
    let ticket = rig.take_some();
    rig.finish(ticket, ok());
    assert_eq!(rig.effects(), [""; 0]);
    rig.connect();
    assert_eq!(rig.effects(), ["hello holding=3"]);
    rig.welcome(1);
    assert_eq!(rig.effects(), ["report 2 1:succeeded 2:succeeded waiting=1", "heartbeat mark=0 revision=0"]);
    rig.ack(2);
    rig.lose_connection();
    rig.connect();
    rig.effects();
    rig.welcome(1);
    assert_eq!(rig.effects(), ["heartbeat mark=0 revision=0"]);
}

#[test]
fn an_acknowledgement_covers_everything_up_to_its_number() {
    let mut rig = Rig::open(1);
    for task in 1..=3 {
        rig.tasks(&[task]);
        let ticket = rig.take_some();
        rig.finish(ticket, ok());
        assert_eq!(rig.effects(), [format!("report {task} {task}:succeeded")]);
    }
    rig.ack(2);
    rig.lose_connection();
    rig.connect();
    rig.effects();
    rig.welcome(1);
    assert_eq!(rig.effects(), ["report 4 3:succeeded", "heartbeat mark=0 revision=0"]);
}

#[test]
fn it_stops_when_the_broker_does_not_want_it() {
    for code in [ErrorCode::UnsupportedVersion, ErrorCode::SessionTaken, ErrorCode::Denied] {
        let mut rig = Rig::new(1);
        rig.connect();
        rig.effects();
        error(&mut rig, code);
        let stopped = format!("stopped Refused {{ code: {code:?}, text: \"t\" }} unfinished=0 unreported=0");
        assert_eq!(rig.effects(), [stopped]);
        assert_eq!(rig.session.poll_timeout(), None);
    }
}

#[test]
fn it_tries_again_when_the_refusal_can_pass() {
    let mut rig = Rig::new(1);
    rig.connect();
    rig.effects();
    error(&mut rig, ErrorCode::TooManySessions);
    assert_eq!(rig.effects(), ["disconnect: the broker says too_many_sessions: t"]);
    rig.connect();
    rig.effects();
    rig.welcome(1);
    rig.effects();
    for code in [Some(ErrorCode::Silent), Some(ErrorCode::SlowReader), Some(ErrorCode::HelloFirst), None] {
        goodbye(&mut rig, code);
        assert_eq!(rig.effects().len(), 1, "a disconnect");
        rig.connect();
        assert_eq!(rig.effects(), ["hello"]);
        rig.welcome(1);
        rig.effects();
    }
}

#[test]
fn a_refused_message_of_an_open_session_changes_nothing() {
    let mut rig = Rig::open(1);
    error(&mut rig, ErrorCode::BadMessage);
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn what_cannot_be_read_ends_the_connection_and_an_unknown_message_does_not() {
    let mut rig = Rig::open(1);
    let frame = Bytes::from_static(b"\x92\xa5later\x80");
    let input = Input::frame(rig.session.kinds(), &frame);
    rig.input(input);
    assert_eq!(rig.effects(), [""; 0]);
    let frame = Bytes::from_static(b"\x92\xa5tasks\x80");
    let input = Input::frame(rig.session.kinds(), &frame);
    rig.input(input);
    let effects = rig.effects();
    assert!(matches!(&effects[..], [only] if only.starts_with("disconnect")), "{effects:?}");
}

#[test]
fn what_comes_late_from_a_connection_that_was_left_is_ignored() {
    let mut rig = Rig::open(1);
    rig.lose_connection();
    rig.tasks(&[1]);
    assert_eq!(rig.take(), None);
}

#[test]
fn another_major_version_is_refused_with_both_versions_named() {
    let mut rig = Rig::new(1);
    rig.connect();
    rig.effects();
    rig.tell(&ToWorker::Welcome(Welcome {
        protocol: ganger_common::version::Version { major: 2, minor: 0 },
        broker: "b".into(),
        epoch: Epoch(1),
        heartbeat_ms: 1,
        liveness: 1,
        grace_ms: 1,
        durability: Durability::Memory,
        message_bytes_max: 1,
        payload_bytes_max: 1,
        batch_items_max: 1,
        revision: Revision(0),
        knowledge_port: 0,
    }));
    let effects = rig.effects();
    assert!(effects[0].contains("protocol 2.0") && effects[0].contains("1.0"), "{effects:?}");
}

#[test]
fn deadlines_that_are_handed_back_make_the_session_quiet() {
    let mut rig = Rig::open(2);
    let detail = DispatchDetail { run_limit_ms: Some(700), events: true, ..DispatchDetail::default() };
    rig.tasks_with(&[1, 2], "a", &detail);
    let ticket = rig.take_some();
    rig.take_some();
    let end = rig.now.plus(Duration::from_secs(60));
    let (mut turns, mut welcomes) = (0, 0);
    while let Some(due) = rig.session.poll_timeout().filter(|due| *due <= end) {
        rig.now = rig.now.max(due);
        rig.session.progress(rig.now, ticket, None, "x".to_owned());
        rig.session.handle_timeout(rig.now);
        // Answering one effect may bring about the next.
        let mut effects: std::collections::VecDeque<String> = rig.effects().into();
        while let Some(effect) = effects.pop_front() {
            match effect.as_str() {
                "connect" => rig.input(Input::Connected),
                text if text.starts_with("hello") => rig.welcome(1),
                _ => {}
            }
            welcomes += usize::from(effect.starts_with("hello"));
            effects.extend(rig.effects());
        }
        turns += 1;
        assert!(turns < 1_000, "it does not come to rest at {}", rig.now);
    }
    // The broker says nothing after each welcome, so every connection is two beats, a silence of 3 s and a
    // pause of at most 2 s: at least twelve of them fit in, and at most twenty.
    assert!((12..=20).contains(&welcomes), "{welcomes} connections");
    // Each takes four deadlines, and one attempt reaches its run limit besides.
    assert!(turns <= 4 * (welcomes + 1) + 1, "{turns} turns for {welcomes} connections");
}

#[test]
fn what_cannot_be_read_of_a_connection_that_was_given_up_is_no_news() {
    let mut rig = Rig::open(1);
    goodbye(&mut rig, Some(ErrorCode::Silent));
    assert_eq!(rig.effects().len(), 1, "a disconnect");
    let due = rig.session.poll_timeout();
    let garbled = Input::frame(rig.session.kinds(), &Bytes::from_static(b"\x92"));
    rig.input(garbled);
    assert_eq!((rig.effects(), rig.session.poll_timeout()), (Vec::new(), due));
}
