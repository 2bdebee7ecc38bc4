//! Messages made by hand, right ones and wrong ones, and what the codec says to them.

use ganger_common::message::{FromClient, FromWorker, ToClient, ToWorker};
use ganger_common::{DecodeError, decode};
use rmp::encode as put;

use super::memory::peak_of;
use super::{Example, Said};

/// What decoding a message may take beyond ten times its length: lists with room for what they declare.
const SLACK: usize = 1 << 20;

/// Decodes as every direction; none may panic or take too much memory. Returns the verdict on each.
pub fn decode_all(bytes: &[u8]) -> [Result<(), DecodeError>; 4] {
    let (verdicts, peak) = peak_of(|| {
        [
            decode::<FromClient<'_>>(bytes).map(drop),
            decode::<ToClient<'_>>(bytes).map(drop),
            decode::<FromWorker<'_>>(bytes).map(drop),
            decode::<ToWorker<'_>>(bytes).map(drop),
        ]
    });
    let most = bytes.len() * 10 + SLACK;
    assert!(peak <= most, "decoding {} bytes took {peak}, at most {most} are allowed", bytes.len());
    verdicts
}

/// Every direction refuses the bytes; returns the reasons.
pub fn refused(bytes: &[u8]) -> Vec<DecodeError> {
    let verdicts = decode_all(bytes);
    verdicts.into_iter().map(|verdict| verdict.expect_err("it must be refused")).collect()
}

pub fn from_client(bytes: &[u8]) -> Result<FromClient<'_>, DecodeError> {
    drop(decode_all(bytes));
    decode(bytes)
}

pub fn from_worker(bytes: &[u8]) -> Result<FromWorker<'_>, DecodeError> {
    drop(decode_all(bytes));
    decode(bytes)
}

/// A message of a type, with a body of `fields` fields that `write` writes.
pub fn message(kind: &str, fields: u32, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    put::write_array_len(&mut bytes, 2).unwrap();
    put::write_str(&mut bytes, kind).unwrap();
    put::write_map_len(&mut bytes, fields).unwrap();
    write(&mut bytes);
    bytes
}

pub fn key(bytes: &mut Vec<u8>, name: &str) {
    put::write_str(bytes, name).unwrap();
}

/// A `status` request with something else in it: the simplest message with a field that nobody knows.
pub fn status_with(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    message("status", 2, |bytes| {
        key(bytes, "req");
        put::write_uint(bytes, 1).unwrap();
        key(bytes, "unheard_of");
        write(bytes);
    })
}

pub fn a_task(bytes: &mut Vec<u8>, kind: &str, payload: usize) {
    put::write_array_len(bytes, 3).unwrap();
    put::write_bin(bytes, &[7; 16]).unwrap();
    put::write_str(bytes, kind).unwrap();
    put::write_bin(bytes, &vec![0; payload]).unwrap();
}

pub fn submit(tasks: u32, write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    message("submit", 2, |bytes| {
        key(bytes, "seq");
        put::write_uint(bytes, 1).unwrap();
        key(bytes, "tasks");
        put::write_array_len(bytes, tasks).unwrap();
        (0..tasks).for_each(|_| write(bytes));
    })
}

/// What the example's own direction says to these bytes.
pub fn own_verdict(said: &Said, bytes: &[u8]) -> Result<(), DecodeError> {
    match said {
        Said::FromClient(_) => decode::<FromClient<'_>>(bytes).map(drop),
        Said::ToClient(_) => decode::<ToClient<'_>>(bytes).map(drop),
        Said::FromWorker(_) => decode::<FromWorker<'_>>(bytes).map(drop),
        Said::ToWorker(_) => decode::<ToWorker<'_>>(bytes).map(drop),
        Said::Change(_) | Said::Beat(_) => unreachable!("headers are not messages"),
    }
}

pub fn is_message(example: &Example) -> bool {
    !matches!(example.said, Said::Change(_) | Said::Beat(_))
}
