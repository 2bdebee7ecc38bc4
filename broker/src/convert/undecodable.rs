//! What to say about bytes that are no message of this side.

use ganger_common::codec::DecodeError;
use ganger_common::limits::DEPTH_MAX;
use ganger_common::message::{FromClient, FromWorker};
use ganger_common::version::{PROTOCOL, Version};
use ganger_common::{ErrorCode, decode};
use serde::Deserialize;

use super::refused::Refused;
use crate::shell::Side;

/// The refusal of a message that cannot be decoded.
///
/// The two mistakes of people who set a system up are told apart from damage: a peer of another version,
/// whose hello may have any shape, and a peer that connected to the other side's endpoint.
pub(crate) fn undecodable(side: Side, frame: &[u8], error: &DecodeError) -> Refused {
    let kind = match error {
        DecodeError::Body { kind, .. } => *kind,
        DecodeError::UnknownType(kind) => kind.as_str(),
        DecodeError::TooLarge { .. }
        | DecodeError::LongText
        | DecodeError::Envelope(_)
        | DecodeError::Trailing => "",
    };
    if kind == "hello"
        && let Some(version) = version_of(frame)
        && let Err(refused) = check_version(version)
    {
        return refused;
    }
    let text = match is_of_other_side(side, kind, frame) {
        true => format!("{error}; {}", right_side(side)),
        false => error.to_string(),
    };
    Refused::new(None, error.code(), text)
}

/// Refuses a peer that speaks another major version; the connection ends with it.
pub(super) fn check_version(theirs: Version) -> Result<(), Refused> {
    if PROTOCOL.accepts(theirs) {
        return Ok(());
    }
    let text = format!("this broker speaks protocol {PROTOCOL}, the peer speaks {theirs}");
    Err(Refused { is_final: true, ..Refused::new(None, ErrorCode::UnsupportedVersion, text) })
}

/// The version in a hello whose other fields are not understood.
fn version_of(frame: &[u8]) -> Option<Version> {
    #[derive(Deserialize)]
    struct Hello {
        protocol: Version,
    }
    let mut reader = rmp_serde::Deserializer::from_read_ref(frame);
    reader.set_max_depth(DEPTH_MAX);
    let (_, hello) = <(&str, Hello)>::deserialize(&mut reader).ok()?;
    Some(hello.protocol)
}

fn is_of_other_side(side: Side, kind: &str, frame: &[u8]) -> bool {
    let (ours, theirs) = match side {
        Side::Client => (FromClient::KINDS, FromWorker::KINDS),
        Side::Worker => (FromWorker::KINDS, FromClient::KINDS),
    };
    match ours.contains(&kind) {
        false => theirs.contains(&kind),
        // Both sides have this type, each in its own shape.
        true => match side {
            Side::Client => decode::<FromWorker<'_>>(frame).is_ok(),
            Side::Worker => decode::<FromClient<'_>>(frame).is_ok(),
        },
    }
}

fn right_side(side: Side) -> &'static str {
    match side {
        Side::Client => "this is the endpoint for clients, workers connect to another one",
        Side::Worker => "this is the endpoint for workers, clients connect to another one",
    }
}
