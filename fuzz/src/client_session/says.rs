//! What a hostile broker says to a client: answers that nearly fit, and things that do not.

use bytes::Bytes;
use ganger_common::codec::{Blob, List};
use ganger_common::message::{
    Accepted, BrokerHeartbeat, Durability, ErrorReply, Goodbye, KnowledgeAnswer, KnowledgeReply,
    OutcomeDetail, OutcomeItem, Outcomes, Refusal, Request, ToClient, Verdict, Verdicts, Welcome,
};
use ganger_common::{Attempt, Revision, TaskId, encode};

use super::Heard;
use crate::choices::Choices;
use crate::golden::Direction;
use crate::hostile::{self, code};

/// Any message.
pub(super) fn anything(choices: &mut Choices<'_>, heard: &Heard) -> Bytes {
    match choices.up_to(9) {
        0 | 1 => accepted(choices, heard),
        2 | 3 => outcomes(choices, heard),
        4 => verdicts(choices, heard),
        5 => error(choices, heard),
        6 => answer(choices, heard),
        7 => match choices.up_to(3) {
            0 => welcome(choices),
            1 => {
                let code = choices.flag().then(|| code(choices));
                encode(&ToClient::Goodbye(Goodbye { code, text: "".into() }))
            }
            _ => {
                let (mark, revision) = (choices.number(), Revision(choices.number()));
                encode(&ToClient::Heartbeat(BrokerHeartbeat { mark, revision }))
            }
        },
        _ => hostile::message(choices, Direction::ToClient).into(),
    }
}

/// A welcome that opens the session, with any figures.
pub(super) fn welcome(choices: &mut Choices<'_>) -> Bytes {
    let welcome = hostile::welcome(choices, 0, None);
    let durability = if choices.flag() { Durability::Journal } else { Durability::Memory };
    encode(&ToClient::Welcome(Welcome { durability, ..welcome }))
}

fn accepted(choices: &mut Choices<'_>, heard: &Heard) -> Bytes {
    let (seq, items) = known(choices, &heard.submits);
    let durability = if choices.flag() { Durability::Journal } else { Durability::Memory };
    let mut refused = Vec::new();
    for _ in 0..choices.up_to(3) {
        let retry_after_ms = choices.flag().then(|| choices.number_32());
        let index = index(choices, items);
        refused.push(Refusal { index, code: code(choices), text: "no".into(), retry_after_ms });
    }
    encode(&ToClient::Accepted(Accepted { seq, durability, refused: List(refused) }))
}

fn outcomes(choices: &mut Choices<'_>, heard: &Heard) -> Bytes {
    let mut items = Vec::new();
    for _ in 0..=choices.up_to(3) {
        let detail = OutcomeDetail { error: None, result_dropped: true };
        items.push(OutcomeItem {
            task: task(choices, heard),
            outcome: choices.up_to(5),
            attempt: Attempt(choices.number_32()),
            result: Blob(choices.bytes(8)),
            detail: choices.flag().then_some(detail),
        });
    }
    encode(&ToClient::Outcomes(Outcomes { upto: choices.number(), items: List(items) }))
}

fn verdicts(choices: &mut Choices<'_>, heard: &Heard) -> Bytes {
    let (req, items) = match choices.flag() {
        true => known(choices, &heard.watches),
        false => (request(choices, heard), 1),
    };
    let mut refused = Vec::new();
    for _ in 0..choices.up_to(3) {
        let index = index(choices, items);
        refused.push(Verdict { index, code: code(choices), text: "no".into() });
    }
    encode(&ToClient::Verdicts(Verdicts { req, refused: List(refused) }))
}

fn error(choices: &mut Choices<'_>, heard: &Heard) -> Bytes {
    let req = match choices.up_to(3) {
        0 => None,
        1 => Some(known(choices, &heard.watches).0),
        _ => Some(request(choices, heard)),
    };
    let retry_after_ms = choices.flag().then(|| choices.number_32());
    encode(&ToClient::Error(ErrorReply { req, code: code(choices), text: "no".into(), retry_after_ms }))
}

fn answer(choices: &mut Choices<'_>, heard: &Heard) -> Bytes {
    let req = request(choices, heard);
    match choices.flag() {
        true => encode(&ToClient::Done(Request { req })),
        false => {
            let answer = KnowledgeAnswer::Written { revision: Revision(choices.number()) };
            encode(&ToClient::Knowledge(KnowledgeReply { req, answer }))
        }
    }
}

fn known(choices: &mut Choices<'_>, from: &[(u64, u32)]) -> (u64, u32) {
    match choices.rarely(8) {
        true => (choices.number(), 1),
        false => choices.pick_some(from).unwrap_or((1, 1)),
    }
}

fn request(choices: &mut Choices<'_>, heard: &Heard) -> u64 {
    match choices.rarely(8) {
        true => choices.number(),
        false => choices.pick_some(&heard.requests).unwrap_or(1),
    }
}

fn task(choices: &mut Choices<'_>, heard: &Heard) -> TaskId {
    match choices.rarely(8) {
        true => hostile::task(choices),
        false => choices.pick_some(&heard.tasks).unwrap_or_else(|| hostile::task(choices)),
    }
}

fn index(choices: &mut Choices<'_>, items: u32) -> u32 {
    match choices.rarely(8) {
        true => choices.number_32(),
        false => u32::from(choices.up_to(items.clamp(1, 255) as u8 - 1)),
    }
}
