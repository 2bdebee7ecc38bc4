//! What a request brings.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use ganger_common::limits::DEPTH_MAX;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::{App, KIB};
use crate::limits::{BODY_BYTES_MAX, BODY_PATIENCE};
use crate::refusal::Refusal;
use crate::reply::Format;

/// Deepest nesting of MessagePack; JSON is read as deep.
const NESTING_MAX: usize = DEPTH_MAX * 8;

/// A body that has come as a whole. It counts against the room for bodies until it is dropped.
pub(crate) struct Taken {
    pub(crate) bytes: Bytes,
    pub(crate) format: Format,
    _room: Option<OwnedSemaphorePermit>,
}

impl FromRequest<Arc<App>> for Taken {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Refusal> {
        let format = format_of(request.headers())?;
        let announced = request.headers().get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
            return Err(too_large());
        }
        let reading = read(request.into_body(), &app.bodies);
        match tokio::time::timeout(BODY_PATIENCE, reading).await {
            Ok(read) => read.map(|(bytes, room)| Self { bytes, format, _room: room }),
            Err(_) => {
                let within = humantime::format_duration(BODY_PATIENCE);
                Err(Refusal::slow_body(format!("the body did not come within {within}")))
            }
        }
    }
}

impl Taken {
    /// Reads the body as something.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        match self.format {
            Format::Json => serde_json::from_slice(&self.bytes).map_err(|error| wrong("JSON", &error)),
            Format::MessagePack => {
                let mut reader = rmp_serde::Deserializer::from_read_ref(&self.bytes[..]);
                reader.set_max_depth(NESTING_MAX);
                let read = T::deserialize(&mut reader).map_err(|error| wrong("MessagePack", &error))?;
                match serde::de::IgnoredAny::deserialize(&mut reader) {
                    Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(read),
                    _ => Err(Refusal::bad_message("there is something after the end of the body")),
                }
            }
            Format::Bytes => Err(Refusal::wrong_type(TYPES)),
        }
    }

    /// Whether the body is an array.
    pub(crate) fn is_array(&self) -> bool {
        match self.format {
            Format::Json => self.bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['),
            Format::MessagePack => {
                self.bytes.first().is_some_and(|byte| matches!(byte, 0x90..=0x9f | 0xdc | 0xdd))
            }
            Format::Bytes => false,
        }
    }
}

const TYPES: &str = "send application/json or application/msgpack, and say so in Content-Type";

fn format_of(headers: &HeaderMap) -> Result<Format, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.and_then(Format::named).ok_or_else(|| Refusal::wrong_type(TYPES))
}

fn wrong(what: &str, error: &dyn std::error::Error) -> Refusal {
    Refusal::bad_message(format!("the body is no {what} of this shape: {error}"))
}

fn too_large() -> Refusal {
    Refusal::too_large(format!("a body of more than {BODY_BYTES_MAX} bytes"))
}

async fn read(body: Body, room: &Arc<Semaphore>) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
    let (mut stream, mut whole, mut taken) = (body.into_data_stream(), BytesMut::new(), None);
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|error| Refusal::bad_message(format!("the body broke off: {error}")))?;
        if whole.len() + piece.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece);
        take_room(room, &mut taken, whole.len())?;
    }
    Ok((whole.freeze(), taken))
}

/// Takes room for so many bytes in all.
fn take_room(
    room: &Arc<Semaphore>,
    taken: &mut Option<OwnedSemaphorePermit>,
    bytes: usize,
) -> Result<(), Refusal> {
    let has = taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let more = bytes.div_ceil(KIB).saturating_sub(has);
    if more == 0 {
        return Ok(());
    }
    let busy = |_| Refusal::busy("too much is being received already");
    let more = room.clone().try_acquire_many_owned(more as u32).map_err(busy)?;
    match taken {
        Some(taken) => taken.merge(more),
        None => *taken = Some(more),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn what_is_being_received_is_bounded_over_all_bodies() {
        let room = Arc::new(Semaphore::new(10));
        let body = |bytes: usize| Body::from(vec![0_u8; bytes]);
        let first = read(body(8 * KIB), &room).await.unwrap();
        assert_eq!(read(body(3 * KIB), &room).await.unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(room.available_permits(), 2, "what was refused gives back what it had");
        drop(first);
        assert_eq!(read(body(10 * KIB - 1), &room).await.unwrap().0.len(), 10 * KIB - 1);
    }

    #[tokio::test]
    async fn a_body_that_does_not_say_how_long_it_is_is_cut_off_at_the_limit() {
        let room = Arc::new(Semaphore::new(1 << 20));
        let piece = Bytes::from(vec![0_u8; 1 << 20]);
        let endless = futures_util::stream::repeat(piece).map(Ok::<_, std::io::Error>);
        let refusal = read(Body::from_stream(endless), &room).await.unwrap_err();
        assert_eq!((refusal.status, refusal.code), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"));
    }
}
