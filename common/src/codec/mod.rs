//! Bytes to messages and back, with every bound checked before anything is allocated.
//!
//! A message is one MessagePack array `[type, body]`: the type is a string, the body a map with string
//! keys. Unknown keys of the map and unknown trailing elements of an array are ignored, so that a newer
//! peer may add to either. The decoded message borrows its texts and payloads from the received frame:
//! [`Bytes::slice_ref`](bytes::Bytes::slice_ref) turns a borrowed payload into one that lives as long as
//! the frame, without a copy.

mod array;
mod bounded;
pub(crate) mod direct;
mod texts;

pub(crate) use array::array;
pub use bounded::{Blob, List, Text};

use bytes::Bytes;
use rmp::Marker;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::code::ErrorCode;
use crate::limits::{ANY_TEXT_BYTES_MAX, DEPTH_MAX, MESSAGE_BYTES_MAX};

/// Why bytes are not a message. None of these gets better by sending the same bytes again.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The whole message is over the limit; nothing of it was read.
    #[error("a message of {bytes} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    TooLarge {
        /// What came.
        bytes: usize,
    },
    /// A text somewhere in the message is over the limit of any; nothing else of it was read.
    #[error("a text in the message is over the limit of {ANY_TEXT_BYTES_MAX} bytes")]
    LongText,
    /// The outer array with the message type is damaged or missing.
    #[error("not an array of a message type and a body: {0}")]
    Envelope(&'static str),
    /// The type is not one of this side's messages.
    #[error("unknown message type {0:?}")]
    UnknownType(String),
    /// The body does not have the shape of its type, or breaks one of its limits.
    #[error("{kind}: {reason}")]
    Body {
        /// The message type.
        kind: &'static str,
        /// What did not fit.
        reason: String,
    },
    /// Bytes are left after the message.
    #[error("more bytes follow the message")]
    Trailing,
}

impl DecodeError {
    /// The code to answer with.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } | Self::LongText => ErrorCode::TooLarge,
            Self::UnknownType(_) => ErrorCode::UnknownMessage,
            Self::Body { reason, .. } => bounded::code_of(reason).unwrap_or(ErrorCode::BadMessage),
            Self::Envelope(_) | Self::Trailing => ErrorCode::BadMessage,
        }
    }
}

/// A set of messages that travel in one direction; made by the `messages!` macro.
pub trait Message<'a>: Sized {
    /// Decodes the body of a message of the named type.
    ///
    /// # Errors
    /// [`DecodeError::UnknownType`] or [`DecodeError::Body`].
    fn decode_body(kind: &str, body: &mut Body<'a>) -> Result<Self, DecodeError>;

    /// The type, as it stands on the wire.
    fn kind(&self) -> &'static str;

    /// Appends the body.
    fn encode_body(&self, into: &mut Encoder<'_>) -> Result<(), rmp_serde::encode::Error>;

    /// Decodes the body of a message that is nearly always the same shape, if it is in that shape. `None`
    /// says nothing about the bytes: [`decode_body`](Self::decode_body) does.
    fn read_direct(kind: &str, body: &'a [u8]) -> Option<Self>;

    /// Appends the body, if the message is one of those. The bytes are the same either way.
    fn write_direct(&self, into: &mut Vec<u8>) -> bool;
}

/// The unread rest of a frame while it is decoded.
pub type Body<'a> = rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'a, [u8]>>;
/// Writes maps with named fields.
pub type Encoder<'w> = rmp_serde::Serializer<
    &'w mut Vec<u8>,
    rmp_serde::config::StructMapConfig<rmp_serde::config::DefaultConfig>,
>;

/// Decodes one message from one frame.
///
/// # Errors
/// Says what is wrong with the bytes; see [`DecodeError::code`].
pub fn decode<'a, M: Message<'a>>(frame: &'a [u8]) -> Result<M, DecodeError> {
    if frame.len() > MESSAGE_BYTES_MAX {
        return Err(DecodeError::TooLarge { bytes: frame.len() });
    }
    let envelope = envelope(frame);
    // What is read directly has no text that is too long: each was held against a limit below that one.
    if let Ok((2, kind, rest)) = envelope
        && let Some(message) = M::read_direct(kind, rest)
    {
        return Ok(message);
    }
    if texts::has_too_long(frame) {
        return Err(DecodeError::LongText);
    }
    let (parts, kind, rest) = envelope?;
    let mut body = Body::from_read_ref(rest);
    body.set_max_depth(DEPTH_MAX);
    let message = M::decode_body(kind, &mut body)?;
    for _ in 2..parts {
        IgnoredAny::deserialize(&mut body)
            .map_err(|_| DecodeError::Envelope("an extra element cannot be read"))?;
    }
    match at_end(&mut body) {
        true => Ok(message),
        false => Err(DecodeError::Trailing),
    }
}

/// Encodes one message into one frame.
pub fn encode<'a, M: Message<'a>>(message: &M) -> Bytes {
    let mut buffer = Vec::with_capacity(64);
    encode_into(message, &mut buffer);
    buffer.into()
}

/// Appends one encoded message to `buffer`.
pub fn encode_into<'a, M: Message<'a>>(message: &M, buffer: &mut Vec<u8>) {
    buffer.push(Marker::FixArray(2).to_u8());
    let kind = message.kind();
    debug_assert!(kind.len() < 32, "message types are short");
    buffer.push(Marker::FixStr(kind.len() as u8).to_u8());
    buffer.extend_from_slice(kind.as_bytes());
    if message.write_direct(buffer) {
        return;
    }
    let mut encoder = rmp_serde::Serializer::new(buffer).with_struct_map();
    // Writing to a Vec cannot fail, and every sequence of ours knows its length beforehand: those are the
    // only errors that this serializer has.
    message.encode_body(&mut encoder).expect("messages of known length encode into memory");
}

/// Used by `messages!`: one body of one type.
pub(crate) fn body<'a, T: Deserialize<'a>>(
    kind: &'static str,
    body: &mut Body<'a>,
) -> Result<T, DecodeError> {
    T::deserialize(body).map_err(|error| DecodeError::Body { kind, reason: error.to_string() })
}

/// Used by `messages!`: one body of one type.
pub(crate) fn put<T: Serialize>(value: &T, into: &mut Encoder<'_>) -> Result<(), rmp_serde::encode::Error> {
    value.serialize(into)
}

/// Reads the outer array up to the body without allocating.
fn envelope(frame: &[u8]) -> Result<(u32, &str, &[u8]), DecodeError> {
    let mut rest = frame;
    let parts = rmp::decode::read_array_len(&mut rest)
        .map_err(|_| DecodeError::Envelope("the message does not begin with an array"))?;
    if parts < 2 {
        return Err(DecodeError::Envelope("the array has fewer than two elements"));
    }
    let (kind, rest) = rmp::decode::read_str_from_slice(rest)
        .map_err(|_| DecodeError::Envelope("the message type is not a string"))?;
    Ok((parts, kind, rest))
}

/// The reader does not tell how much is left, but it tells a clean end from anything else. The value asked
/// for is the one that is read with its marker alone: the end of bytes within a value must not pass for
/// the end of the message.
fn at_end(body: &mut Body<'_>) -> bool {
    use rmp_serde::decode::Error::InvalidMarkerRead;
    match <()>::deserialize(body) {
        Err(InvalidMarkerRead(error)) => error.kind() == std::io::ErrorKind::UnexpectedEof,
        _ => false,
    }
}

/// Declares the messages of one direction as an enum, with their types on the wire; the one after `direct`
/// is the one that carries tasks.
macro_rules! messages {
    (
        $(#[$doc:meta])* pub enum $name:ident<'a> { $($(#[$vdoc:meta])* $kind:literal => $variant:ident($body:ty),)+ }
        direct $dkind:literal => $direct:ident
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug)]
        pub enum $name<'a> {
            $($(#[$vdoc])* $variant($body),)+
        }

        impl $name<'_> {
            /// Every message type of this direction, as it stands on the wire.
            pub const KINDS: &'static [&'static str] = &[$($kind),+];
        }

        impl<'a> $crate::codec::Message<'a> for $name<'a> {
            fn decode_body(
                kind: &str,
                body: &mut $crate::codec::Body<'a>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                match kind {
                    $($kind => $crate::codec::body($kind, body).map(Self::$variant),)+
                    other => {
                        Err($crate::codec::DecodeError::UnknownType(other.chars().take(32).collect()))
                    }
                }
            }

            fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $kind,)+
                }
            }

            fn encode_body(
                &self,
                into: &mut $crate::codec::Encoder<'_>,
            ) -> Result<(), rmp_serde::encode::Error> {
                match self {
                    $(Self::$variant(body) => $crate::codec::put(body, into),)+
                }
            }

            fn read_direct(kind: &str, body: &'a [u8]) -> Option<Self> {
                match kind {
                    $dkind => $crate::codec::direct::read(body).map(Self::$direct),
                    _ => None,
                }
            }

            fn write_direct(&self, into: &mut Vec<u8>) -> bool {
                match self {
                    Self::$direct(body) => $crate::codec::direct::Direct::write(body, into),
                    _ => return false,
                }
                true
            }
        }
    };
}
pub(crate) use messages;
