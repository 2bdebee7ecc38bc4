//! Messages that nobody's library would send.

use ganger_common::message::{Durability, Lease, Welcome};
use ganger_common::version::{PROTOCOL, Version};
use ganger_common::{
    Attempt, AttemptEnd, ClientId, Epoch, ErrorCode, Revision, SessionToken, TaskId, WorkerId,
};

use crate::choices::Choices;
use crate::golden::{self, Direction};

/// Longest run of bytes that is taken from the input as a message.
const RAW_BYTES_MAX: u16 = 400;
/// Bytes that are changed in one message at most.
const CHANGES_MAX: u8 = 3;

/// A message of one direction: an example as it stands, an example with some bytes changed or its end cut
/// off, or anything.
pub fn message(choices: &mut Choices<'_>, direction: Direction) -> Vec<u8> {
    let how = choices.up_to(3);
    if how == 3 {
        return choices.bytes(RAW_BYTES_MAX).to_vec();
    }
    let examples: Vec<&[u8]> = golden::of(direction).collect();
    let mut bytes = choices.pick(&examples).to_vec();
    if how > 0 {
        for _ in 0..=choices.up_to(CHANGES_MAX - 1) {
            let place = choices.number() as usize % bytes.len();
            bytes[place] = choices.up_to(255);
        }
    }
    if how == 2 {
        bytes.truncate(choices.number() as usize % (bytes.len() + 1));
    }
    bytes
}

/// A welcome that opens the session, with any figures: usually these.
pub fn welcome(choices: &mut Choices<'_>, revision: u64, knowledge_port: Option<u16>) -> Welcome<'static> {
    let is_usual = !choices.rarely(3);
    let mut number = |usual: u64| if is_usual { usual } else { choices.number() };
    let welcome = Welcome {
        protocol: PROTOCOL,
        broker: "a broker".into(),
        epoch: Epoch(number(7)),
        heartbeat_ms: number(1_000) as u32,
        liveness: number(3) as u32,
        grace_ms: number(2_000) as u32,
        durability: Durability::Memory,
        message_bytes_max: number(64 << 20),
        payload_bytes_max: number(1_000),
        batch_items_max: number(4) as u32,
        revision: Revision(number(revision)),
        knowledge_port: knowledge_port.map_or(0, |port| number(port.into()) as u16),
    };
    let protocol = if choices.rarely(64) { Version { major: 2, minor: 0 } } else { PROTOCOL };
    Welcome { protocol, ..welcome }
}

/// The ids of the examples, so that an example said in a session means something there: a UUID that ends
/// in `last`.
pub fn uuid(last: u8) -> [u8; 16] {
    [0x01, 0x92, 0xf0, 0xc1, 0x20, 0x00, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, last]
}

/// One of few tasks.
pub fn task(choices: &mut Choices<'_>) -> TaskId {
    TaskId::from_bytes(uuid(choices.up_to(31)))
}

/// One of few clients; the first is that of the examples.
pub fn client(number: u8) -> ClientId {
    ClientId::from_bytes(uuid(0xc1 + number))
}

/// One of few workers; the first is that of the examples.
pub fn worker(number: u8) -> WorkerId {
    WorkerId::from_bytes(uuid(0xb1 + number))
}

/// The secret of the examples, rarely another.
pub fn token(choices: &mut Choices<'_>) -> SessionToken {
    SessionToken::from_bytes([if choices.rarely(16) { 0x66 } else { 0x5e }; 16])
}

/// A lease that may never have been given.
pub fn lease(choices: &mut Choices<'_>) -> Lease {
    let epoch = if choices.rarely(4) { choices.number() } else { 7 };
    let attempt = if choices.rarely(4) { choices.number_32() } else { 1 };
    Lease { task: task(choices), epoch: Epoch(epoch), attempt: Attempt(attempt) }
}

/// Any code, one that nobody knows included.
pub fn code(choices: &mut Choices<'_>) -> ErrorCode {
    let place = usize::from(choices.up_to(ErrorCode::ALL.len() as u8));
    ErrorCode::ALL.get(place).copied().unwrap_or(ErrorCode::Unknown)
}

/// The number of an end, rarely of one that is none.
pub fn end(choices: &mut Choices<'_>) -> u8 {
    choices.up_to(AttemptEnd::ALL.len() as u8)
}

/// One of three kinds, rarely none of them.
pub fn kind(choices: &mut Choices<'_>) -> &'static str {
    if choices.rarely(8) { text(choices) } else { choices.pick(&["resize", "a", "thumb"]) }
}

/// One of few short texts, rarely one that is too long for most places.
pub fn text(choices: &mut Choices<'_>) -> &'static str {
    const LONG: &str = match std::str::from_utf8(&[b'x'; 600]) {
        Ok(text) => text,
        Err(_) => unreachable!(),
    };
    choices.pick(&["resize", "thumb", "a", "b", "c", "", "\u{1}\u{fffd}", LONG])
}
