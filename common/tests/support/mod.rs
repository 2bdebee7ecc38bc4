//! What the tests of the wire share: one example of everything that may be said, and ways to look at bytes.
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part of it.

pub mod client;
pub mod crafted;
pub mod entropy;
pub mod memory;
pub mod readable;
pub mod worker;

use ganger_common::message::publish::{BeatHeader, DeltaHeader, decode_header, encode_header};
use ganger_common::message::{FromClient, FromWorker, Lease, ToClient, ToWorker};
use ganger_common::{Attempt, ClientId, DecodeError, Epoch, SessionToken, TaskId, WorkerId, decode, encode};

/// Anything that goes over a wire.
#[derive(Clone, PartialEq, Debug)]
pub enum Said {
    FromClient(FromClient<'static>),
    ToClient(ToClient<'static>),
    FromWorker(FromWorker<'static>),
    ToWorker(ToWorker<'static>),
    Change(DeltaHeader<'static>),
    Beat(BeatHeader),
}

/// One example under the name that the page gives it.
pub struct Example {
    /// `FromClient submit with every option`: the direction, the message type, and what is special.
    pub title: String,
    pub said: Said,
}

impl Said {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::FromClient(message) => encode(message).to_vec(),
            Self::ToClient(message) => encode(message).to_vec(),
            Self::FromWorker(message) => encode(message).to_vec(),
            Self::ToWorker(message) => encode(message).to_vec(),
            Self::Change(header) => encode_header(header),
            Self::Beat(header) => encode_header(header),
        }
    }

    /// Whether these bytes decode to this.
    pub fn is(&self, bytes: &[u8]) -> Result<bool, String> {
        let text = |error: DecodeError| error.to_string();
        Ok(match self {
            Self::FromClient(message) => decode::<FromClient<'_>>(bytes).map_err(text)? == *message,
            Self::ToClient(message) => decode::<ToClient<'_>>(bytes).map_err(text)? == *message,
            Self::FromWorker(message) => decode::<FromWorker<'_>>(bytes).map_err(text)? == *message,
            Self::ToWorker(message) => decode::<ToWorker<'_>>(bytes).map_err(text)? == *message,
            Self::Change(header) => {
                decode_header::<DeltaHeader<'_>>(bytes).map_err(|error| error.to_string())? == *header
            }
            Self::Beat(header) => {
                decode_header::<BeatHeader>(bytes).map_err(|error| error.to_string())? == *header
            }
        })
    }
}

/// One example of everything, in the order of the page.
pub fn examples() -> Vec<Example> {
    let example = |title: &str, said: Said| Example { title: title.to_owned(), said };
    let from_client = client::from_client()
        .into_iter()
        .map(|(title, message)| example(&format!("FromClient {title}"), Said::FromClient(message)));
    let to_client = client::to_client()
        .into_iter()
        .map(|(title, message)| example(&format!("ToClient {title}"), Said::ToClient(message)));
    let from_worker = worker::from_worker()
        .into_iter()
        .map(|(title, message)| example(&format!("FromWorker {title}"), Said::FromWorker(message)));
    let to_worker = worker::to_worker()
        .into_iter()
        .map(|(title, message)| example(&format!("ToWorker {title}"), Said::ToWorker(message)));
    let published = [
        example("Publish change", Said::Change(worker::change_header())),
        example("Publish beat", Said::Beat(worker::beat_header())),
    ];
    from_client.chain(to_client).chain(from_worker).chain(to_worker).chain(published).collect()
}

/// A UUID v7 that ends in `last`, so that the examples can be told apart.
const fn uuid(last: u8) -> [u8; 16] {
    [0x01, 0x92, 0xf0, 0xc1, 0x20, 0x00, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, last]
}

pub fn task(last: u8) -> TaskId {
    TaskId::from_bytes(uuid(last))
}

pub fn a_worker() -> WorkerId {
    WorkerId::from_bytes(uuid(0xb1))
}

pub fn a_client() -> ClientId {
    ClientId::from_bytes(uuid(0xc1))
}

pub fn a_token() -> SessionToken {
    SessionToken::from_bytes([0x5e; 16])
}

pub fn a_lease(last: u8, attempt: u32) -> Lease {
    Lease { task: task(last), epoch: Epoch(7), attempt: Attempt(attempt) }
}
