//! Strangers at the door: greeting, READY, CURVE handshake, and every frame after them.
//!
//! - No bytes make the door panic, or take more memory than a connection may.
//! - What the library gets is whole frames of messages, within the limits, in the order in which they came;
//!   a subscriber's are subscriptions and nothing else.
//! - What the peer gets are the library's frames, whole and in order, and answers to PING only between them.
//! - How the bytes are cut changes nothing of this.
//! - Nobody gets in without a listed key where keys are asked for.

use std::sync::LazyLock;

use ganger_transport::door::DoorLimits;
use ganger_transport::door::rehearsal::{Host, Keys, Said, Visited, encrypted, insider, plain};

use crate::choices::Choices;
use crate::memory::peak_of;

/// The memory that a connection may take, beside what it has sent: what is asked of the door as a whole.
const CONNECTION: usize = 1 << 20;

static KEYS: LazyLock<Keys> = LazyLock::new(Keys::generate);

/// Limits that a short input can reach.
fn limits() -> DoorLimits {
    DoorLimits {
        parts: 4,
        message_bytes: 600,
        message_bytes_free: 200,
        message_bytes_budget: 1_200,
        subscriptions: 3,
        topic_bytes: 40,
        ..DoorLimits::default()
    }
}

/// Runs one input.
pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let host = choices.pick(&[Host::Router, Host::Publisher]);
    let kind = choices.up_to(3);
    let pieces = choices.bytes(8);
    let library = library(&mut choices);
    let library = Said { bytes: &library, pieces };
    let limits = limits();
    match kind {
        // From the first byte on, anything.
        0 => {
            let bytes = choices.rest();
            let visit = |pieces| plain(host, Said { bytes, pieces }, library, &limits);
            let visited = bounded(bytes.len(), || visit(pieces));
            check(host, &visited, library.bytes, &limits);
            assert!(same(&visited, &visit(&[])), "how bytes are cut changes what they come to");
        }
        // A good greeting and READY, so that what follows gets somewhere.
        1 => {
            let bytes = [good_beginning(host), choices.rest().to_vec()].concat();
            let visit = |pieces| plain(host, Said { bytes: &bytes, pieces }, library, &limits);
            let visited = bounded(bytes.len(), || visit(pieces));
            assert!(visited.admitted, "a good beginning gets in");
            check(host, &visited, library.bytes, &limits);
            assert!(same(&visited, &visit(&[])), "how bytes are cut changes what they come to");
        }
        // A stranger who speaks CURVE, as far as that goes without a key.
        2 => {
            let bytes = match choices.flag() {
                true => choices.rest().to_vec(),
                false => [greeting(b"CURVE"), choices.rest().to_vec()].concat(),
            };
            let said = Said { bytes: &bytes, pieces };
            let visited = bounded(bytes.len(), || encrypted(host, &KEYS, said, library, &limits));
            assert!(!visited.admitted && visited.to_library.is_empty(), "in without a key");
            assert!(visited.breach.is_some());
        }
        // Somebody with a key, who says what nobody should.
        _ => {
            let messages: Vec<Vec<&[u8]>> = (0..choices.up_to(6))
                .map(|_| (0..=choices.up_to(5)).map(|_| choices.bytes(300)).collect())
                .collect();
            let said = Said { bytes: choices.rest(), pieces };
            let size = input.len() + messages.iter().flatten().map(|part| part.len()).sum::<usize>();
            let visited = bounded(size, || insider(host, &KEYS, &messages, said, library, &limits));
            assert!(visited.admitted);
            let frames = frames(&visited.to_library);
            hold(host, &frames, &limits);
        }
    }
}

/// What a library says: a few frames, which are good.
fn library(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..choices.up_to(4) {
        let more = choices.flag();
        let body = vec![7; usize::from(choices.up_to(255)) * usize::from(1 + choices.up_to(3))];
        bytes.extend(frame(u8::from(more), &body));
    }
    bytes
}

fn bounded(bytes: usize, visit: impl FnOnce() -> Visited) -> Visited {
    let (visited, peak) = peak_of(visit);
    assert!(peak <= CONNECTION + 8 * bytes, "a connection that sent {bytes} bytes took {peak}");
    visited
}

/// Whether two visits came to the same. A peer that is cut may have been told more or less before that.
fn same(one: &Visited, other: &Visited) -> bool {
    let is_cut = one.breach.is_some();
    let heard = |visited: &Visited| (visited.admitted, visited.breach, visited.to_library.clone());
    heard(one) == heard(other) || (is_cut && one.breach == other.breach && one.admitted == other.admitted)
}

fn check(host: Host, visited: &Visited, library: &[u8], limits: &DoorLimits) {
    if !visited.admitted {
        assert!(visited.to_library.is_empty(), "the library hears of nobody who was not let in");
        let most = 64 + 64;
        assert!(visited.to_peer.len() <= most, "more than a greeting and a reason is said to a stranger");
        return;
    }
    let heard = frames(&visited.to_library);
    hold(host, &heard, limits);
    // Our greeting and READY, and then the library's frames as they are, but for the answers between them.
    let after = &visited.to_peer[64.min(visited.to_peer.len())..];
    let told = frames(after);
    let mut messages = Vec::new();
    for (place, (flags, body)) in told.iter().enumerate() {
        match flags & 4 {
            0 => messages.extend(frame(flags & 1, body)),
            _ if place == 0 => assert!(body.starts_with(b"\x05READY")),
            _ => assert!(body.starts_with(b"\x04PONG"), "the door answers PING and nothing else"),
        }
    }
    assert!(library.starts_with(&messages), "what the library said reaches the peer as it was");
    if visited.breach.is_none() {
        assert!(messages.len() == library.len(), "all of what the library said reaches a peer that stays");
    }
}

/// Holds what the library hears to the limits.
fn hold(host: Host, heard: &[(u8, &[u8])], limits: &DoorLimits) {
    let (mut parts, mut bytes) = (0, 0);
    for (flags, body) in heard {
        assert!(flags & !1 == 0, "a frame that no library of ours reads: {flags}");
        (parts, bytes) = (parts + 1, bytes + body.len() as u64);
        assert!(parts <= limits.parts + 1 && bytes <= limits.message_bytes, "{parts} parts, {bytes} bytes");
        if host == Host::Publisher {
            assert!(matches!(body.first(), Some(0 | 1)) && flags & 1 == 0, "no subscription");
            assert!(body.len() <= limits.topic_bytes + 1, "a topic that is too long");
        }
        if flags & 1 == 0 {
            (parts, bytes) = (0, 0);
        }
    }
}

/// The whole frames in some bytes, by a reader of its own; the last one may be cut short.
fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [flags, rest @ ..] = bytes {
        let (length, rest) = match flags & 2 {
            0 => match rest {
                [length, rest @ ..] => (u64::from(*length), rest),
                [] => break,
            },
            _ => match rest.split_first_chunk::<8>() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => break,
            },
        };
        let Some((body, rest)) = rest.split_at_checked(usize::try_from(length).unwrap_or(usize::MAX)) else {
            break;
        };
        frames.push((flags & !2, body));
        bytes = rest;
    }
    frames
}

/// The 64 bytes with which a peer of version 3.0 begins.
pub fn greeting(mechanism: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    (bytes[0], bytes[9], bytes[10]) = (0xff, 0x7f, 3);
    bytes[12..12 + mechanism.len()].copy_from_slice(mechanism);
    bytes
}

/// A frame.
pub fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let head = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_) => [&[flags | 2][..], &(body.len() as u64).to_be_bytes()].concat(),
    };
    [head, body.to_vec()].concat()
}

/// The READY of a socket of this type.
pub fn ready(socket: &[u8]) -> Vec<u8> {
    let length = (socket.len() as u32).to_be_bytes();
    frame(4, &[b"\x05READY\x0bSocket-Type", &length[..], socket].concat())
}

fn good_beginning(host: Host) -> Vec<u8> {
    let socket: &[u8] = match host {
        Host::Router => b"DEALER",
        Host::Publisher => b"SUB",
    };
    [greeting(b"NULL"), ready(socket)].concat()
}
