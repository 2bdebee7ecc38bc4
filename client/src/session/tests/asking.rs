//! Questions and answers.

use ganger_common::ErrorCode;
use ganger_common::codec::List;
use ganger_common::message::{Discarded, ErrorReply, ToClient, Verdict, Verdicts};
use ganger_common::view::{Among, StatusView};

use super::rig::{Rig, Seen, id};
use crate::error::Error;
use crate::session::REQUESTS_MAX;
use crate::session::request::{Answer, DiscardQuery, Refused, Request, TaskQuery};

fn status(rig: &mut Rig, req: u64) -> Vec<Seen> {
    rig.hear(&ToClient::Status(ganger_common::message::Body { req, body: StatusView::default() }))
}

fn is_status(seen: &[Seen], asker: u64) -> bool {
    matches!(seen, [Seen::Answer(token, Ok(Answer::Status(_)))] if *token == asker)
}

#[test]
fn answers_find_their_questions() {
    let mut rig = Rig::open();
    assert_eq!(rig.ask(10, Request::Status), [Seen::Asked(1)]);
    assert_eq!(rig.ask(20, Request::Status), [Seen::Asked(2)]);
    assert!(is_status(&status(&mut rig, 2), 20));
    assert!(is_status(&status(&mut rig, 1), 10));
    assert_eq!(status(&mut rig, 1), [], "an answer counts once");
}

#[test]
fn a_question_waits_for_a_connection() {
    let mut rig = Rig::new();
    assert_eq!(rig.ask(10, Request::Cancel(vec![id(1)])), []);
    assert_eq!(rig.connect(), [Seen::Asked(1)]);
}

#[test]
fn what_may_be_asked_twice_is_asked_again_and_the_rest_is_interrupted() {
    let mut rig = Rig::open();
    rig.ask(10, Request::Cancel(vec![id(1)]));
    rig.ask(20, Request::Status);
    assert!(matches!(rig.lose()[..], [Seen::Down(_), Seen::Answer(10, Err(Error::Interrupted))]));
    assert_eq!(rig.connect(), [Seen::Asked(2)]);
    assert!(is_status(&status(&mut rig, 2), 20));
}

#[test]
fn a_refusal_is_an_answer() {
    let mut rig = Rig::open();
    rig.ask(10, Request::Cancel(vec![id(1)]));
    let (code, text) = (ErrorCode::Denied, "not you".into());
    let denied = ErrorReply { req: Some(1), code, text, retry_after_ms: None };
    let error = Error::refused(ErrorCode::Denied, "not you");
    assert_eq!(rig.hear(&ToClient::Error(denied)), [Seen::Answer(10, Err(error))]);
    rig.ask(20, Request::Cancel(vec![id(1)]));
    let answer = Answer::Verdicts(Vec::new());
    let verdicts = ToClient::Verdicts(Verdicts { req: 2, refused: List(Vec::new()) });
    assert_eq!(rig.hear(&verdicts), [Seen::Answer(20, Ok(answer))]);
}

#[test]
fn what_was_let_go_is_told_with_what_was_not() {
    let mut rig = Rig::open();
    assert_eq!(rig.ask(10, Request::Discard(vec![id(1), id(2)])), [Seen::Asked(1)]);
    let (code, text) = (ErrorCode::UnknownTask, "gone");
    let refused = List(vec![Verdict { index: 1, code, text: text.into() }]);
    let told = ToClient::Discarded(Discarded { req: 1, count: 1, refused, next: Some("4.2".to_owned()) });
    let refused = vec![Refused { index: 1, code, text: text.to_owned() }];
    let answer = Answer::Discarded { count: 1, refused, next: Some("4.2".to_owned()) };
    assert_eq!(rig.hear(&told), [Seen::Answer(10, Ok(answer))]);
}

#[test]
fn questions_are_bounded() {
    let mut rig = Rig::new();
    for token in 0..REQUESTS_MAX as u64 {
        assert_eq!(rig.ask(token, Request::Status), []);
    }
    let full = Error::Full { what: "requests", most: REQUESTS_MAX };
    assert_eq!(rig.ask(9_999, Request::Status), [Seen::Answer(9_999, Err(full))]);
}

/// The broker could not tell which request it refuses, so the answer would never come.
#[test]
fn a_page_mark_or_a_kind_that_no_broker_reads_is_refused() {
    let mut rig = Rig::open();
    for request in [
        Request::DiscardAll(DiscardQuery { among: Among::Any, kind: None, after: Some("d".repeat(129)) }),
        Request::Pause { kind: "k".repeat(129) },
        Request::Workers { after: Some("w".repeat(129)) },
        Request::List(TaskQuery { after: Some("t".repeat(129)), ..TaskQuery::default() }),
    ] {
        let seen = rig.ask(1, request);
        let is_refused =
            matches!(&seen[..], [Seen::Answer(1, Err(error))] if error.code() == Some(ErrorCode::TooLarge));
        assert!(is_refused, "{seen:?}");
    }
}

#[test]
fn a_topic_that_would_be_cut_is_refused() {
    let mut rig = Rig::open();
    let seen = rig.ask(1, Request::Publish { topic: "t".repeat(129), body: "".into() });
    assert!(matches!(&seen[..], [Seen::Answer(1, Err(error))] if error.code() == Some(ErrorCode::TooLarge)));
}
