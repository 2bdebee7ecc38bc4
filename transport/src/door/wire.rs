//! ZMTP 3.0 as far as the door reads and writes it: the greeting, READY, and the headers of frames.
//!
//! What is read here comes from strangers. Nothing is allocated for what they announce, and whatever is not
//! exactly right is a [`Breach`].

use super::counters::Breach;

/// Bytes of a greeting.
pub(super) const GREETING_BYTES: usize = 64;
/// Where the name of the mechanism stands in it.
const MECHANISM: std::ops::Range<usize> = 12..32;

/// More frames of this message follow.
const MORE: u8 = 1;
/// The length takes eight bytes.
const LONG: u8 = 2;
/// The frame is a command.
const COMMAND: u8 = 4;
/// Bytes of the longest header.
pub(super) const HEADER_BYTES_MAX: usize = 9;

/// How a connection is secured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mechanism {
    Null,
    Curve,
}

impl Mechanism {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Curve => "CURVE",
        }
    }

    fn name(self) -> &'static [u8] {
        self.text().as_bytes()
    }
}

/// What a socket calls itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SocketName {
    Router,
    Dealer,
    Pub,
    Sub,
}

impl SocketName {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Router => "ROUTER",
            Self::Dealer => "DEALER",
            Self::Pub => "PUB",
            Self::Sub => "SUB",
        }
    }

    /// Whether a peer of this name may talk to it. A REQ puts an empty part before every message, which no
    /// message of the protocol has, so it is not let in either.
    fn takes(self, peer: &[u8]) -> bool {
        match self {
            Self::Router => peer == b"DEALER",
            Self::Dealer => peer == b"ROUTER",
            Self::Pub => peer == b"SUB" || peer == b"XSUB",
            Self::Sub => peer == b"PUB" || peer == b"XPUB",
        }
    }
}

/// The greeting of a NULL peer. Version 3.0, so that subscriptions come as messages.
pub(super) fn greeting() -> [u8; GREETING_BYTES] {
    let mut bytes = [0; GREETING_BYTES];
    bytes[0] = 0xff;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[MECHANISM][..4].copy_from_slice(b"NULL");
    bytes
}

/// Checks as much of a greeting as is there, so that what cannot become one is known at its first byte.
pub(super) fn check_greeting(part: &[u8], mechanism: Mechanism) -> Result<(), Breach> {
    let at = |place: usize| part.get(place).copied();
    if at(0).is_some_and(|byte| byte != 0xff) || at(9).is_some_and(|byte| byte & 1 == 0) {
        return Err(Breach::NotZmtp);
    }
    if at(10).is_some_and(|version| version < 3) {
        return Err(Breach::OldZmtp);
    }
    let Some(name) = part.get(MECHANISM) else { return Ok(()) };
    let mut expected = [0; 20];
    expected[..mechanism.name().len()].copy_from_slice(mechanism.name());
    if name != expected {
        return Err(Breach::Mechanism);
    }
    // Only one side of CURVE may be the server of it, and that is never who connects.
    match mechanism == Mechanism::Null && at(32).is_some_and(|server| server != 0) {
        true => Err(Breach::Mechanism),
        false => Ok(()),
    }
}

/// The beginning of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) more: bool,
    pub(super) command: bool,
    /// Bytes of the header itself.
    pub(super) size: usize,
    /// Bytes of the body.
    pub(super) body: u64,
}

impl Header {
    /// Reads a header, if all of it is there.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, Breach> {
        let Some(&flags) = bytes.first() else { return Ok(None) };
        let (more, command) = (flags & MORE != 0, flags & COMMAND != 0);
        if flags & !(MORE | LONG | COMMAND) != 0 || (more && command) {
            return Err(Breach::Frame);
        }
        if flags & LONG == 0 {
            return Ok(bytes.get(1).map(|&body| Self { more, command, size: 2, body: body.into() }));
        }
        let Some(length) = bytes.get(1..HEADER_BYTES_MAX) else { return Ok(None) };
        let length: [u8; 8] = length.try_into().map_err(|_| Breach::Frame)?;
        let body = u64::from_be_bytes(length);
        // The highest bit must be zero.
        match i64::try_from(body) {
            Ok(_) => Ok(Some(Self { more, command, size: HEADER_BYTES_MAX, body })),
            Err(_) => Err(Breach::Frame),
        }
    }
}

/// Appends a frame.
pub(super) fn put_frame(into: &mut Vec<u8>, more: bool, command: bool, body: &[u8]) {
    let flags = if more { MORE } else { 0 } | if command { COMMAND } else { 0 };
    match u8::try_from(body.len()) {
        Ok(length) => into.extend([flags, length]),
        Err(_) => {
            into.push(flags | LONG);
            into.extend((body.len() as u64).to_be_bytes());
        }
    }
    into.extend_from_slice(body);
}

/// Reads the name of a command and what follows it.
pub(super) fn command(body: &[u8]) -> Result<(&[u8], &[u8]), Breach> {
    let (&length, rest) = body.split_first().ok_or(Breach::Frame)?;
    match usize::from(length) {
        0 => Err(Breach::Frame),
        length => rest.split_at_checked(length).ok_or(Breach::Frame),
    }
}

/// The READY of a socket, with an identity for those that have one to say.
pub(super) fn ready(socket: SocketName, identity: &[u8]) -> Vec<u8> {
    let mut body = b"\x05READY".to_vec();
    let mut property = |name: &str, value: &[u8]| {
        body.push(name.len() as u8);
        body.extend_from_slice(name.as_bytes());
        body.extend((value.len() as u32).to_be_bytes());
        body.extend_from_slice(value);
    };
    property("Socket-Type", socket.text().as_bytes());
    property("Identity", identity);
    let mut frame = Vec::with_capacity(body.len() + HEADER_BYTES_MAX);
    put_frame(&mut frame, false, true, &body);
    frame
}

/// Checks the READY of a peer. What it says of its identity is not even looked at.
pub(super) fn check_ready(body: &[u8], ours: SocketName) -> Result<(), Breach> {
    let (name, mut rest) = command(body).map_err(|_| Breach::Ready)?;
    if name != b"READY" {
        return Err(Breach::Ready);
    }
    let mut socket = None;
    while !rest.is_empty() {
        let (name, value, after) = property(rest).ok_or(Breach::Ready)?;
        if name.eq_ignore_ascii_case(b"socket-type") && socket.replace(value).is_some() {
            return Err(Breach::Ready);
        }
        rest = after;
    }
    match socket {
        Some(peer) if ours.takes(peer) => Ok(()),
        Some(_) => Err(Breach::SocketType),
        None => Err(Breach::Ready),
    }
}

/// Name, value, and what follows.
fn property(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(length.into())?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    (!name.is_empty()).then_some((name, value, rest))
}

/// The command that tells a peer why it is not let in.
pub(super) fn error(reason: &str) -> Vec<u8> {
    let mut body = b"\x05ERROR".to_vec();
    body.push(reason.len() as u8);
    body.extend_from_slice(reason.as_bytes());
    let mut frame = Vec::new();
    put_frame(&mut frame, false, true, &body);
    frame
}

/// The answer to a PING. Of its context the standard allows sixteen bytes.
pub(super) fn pong(after_name: &[u8]) -> Result<Vec<u8>, Breach> {
    // Two bytes say how long the peer will wait; the rest comes back.
    let context = after_name.get(2..).filter(|context| context.len() <= 16).ok_or(Breach::Frame)?;
    let mut body = b"\x04PONG".to_vec();
    body.extend_from_slice(context);
    let mut frame = Vec::with_capacity(body.len() + 2);
    put_frame(&mut frame, false, true, &body);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_greeting_and_ready_are_good() {
        assert_eq!(check_greeting(&greeting(), Mechanism::Null), Ok(()));
        for (ours, theirs) in [(SocketName::Router, SocketName::Dealer), (SocketName::Sub, SocketName::Pub)] {
            let frame = ready(theirs, b"whoever");
            let header = Header::read(&frame).unwrap().unwrap();
            assert!(header.command && header.size + header.body as usize == frame.len());
            assert_eq!(check_ready(&frame[header.size..], ours), Ok(()));
            assert_eq!(check_ready(&frame[header.size..], theirs), Err(Breach::SocketType));
        }
    }

    #[test]
    fn a_greeting_is_refused_at_the_byte_that_is_wrong() {
        let check = |at: usize, byte: u8, mechanism| {
            let mut bytes = greeting();
            bytes[at] = byte;
            check_greeting(&bytes[..=at.max(31)], mechanism)
        };
        assert_eq!(check(0, b'G', Mechanism::Null), Err(Breach::NotZmtp));
        assert_eq!(check(9, 0, Mechanism::Null), Err(Breach::NotZmtp));
        for old in [0, 1, 2] {
            assert_eq!(check(10, old, Mechanism::Null), Err(Breach::OldZmtp));
        }
        assert_eq!(check(10, 4, Mechanism::Null), Ok(()), "newer peers speak our version");
        assert_eq!(check(12, b'P', Mechanism::Null), Err(Breach::Mechanism));
        assert_eq!(check(16, b'S', Mechanism::Null), Err(Breach::Mechanism));
        assert_eq!(check(32, 1, Mechanism::Null), Err(Breach::Mechanism));
        assert_eq!(check_greeting(&greeting(), Mechanism::Curve), Err(Breach::Mechanism), "no downgrade");
        assert_eq!(check_greeting(&[0xff], Mechanism::Null), Ok(()), "more has to come");
    }

    #[test]
    fn a_header_that_no_peer_of_ours_writes_is_refused() {
        for flags in [8, 16, 128, MORE | COMMAND] {
            assert_eq!(Header::read(&[flags, 0]), Err(Breach::Frame));
        }
        assert_eq!(Header::read(&[LONG, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(Breach::Frame));
        assert_eq!(Header::read(&[LONG, 0, 0, 0, 0, 0, 0, 0]), Ok(None));
        assert_eq!(Header::read(&[]), Ok(None));
        let header = Header { more: true, command: false, size: 2, body: 7 };
        assert_eq!(Header::read(&[MORE, 7]), Ok(Some(header)));
    }

    #[test]
    fn a_ready_that_lies_about_lengths_is_refused() {
        let good = ready(SocketName::Dealer, b"me");
        let body = &good[2..];
        for cut in 0..body.len() {
            // Cut between two properties it is whole again, and says what is needed.
            if check_ready(&body[..cut], SocketName::Router).is_ok() {
                assert_eq!(body[cut], 8, "at {cut}");
            }
        }
        assert_eq!(check_ready(b"\x05READY\x00\x00\x00\x00\x00", SocketName::Router), Err(Breach::Ready));
        let mut twice = body.to_vec();
        twice.extend_from_slice(&body[6..]);
        assert_eq!(check_ready(&twice, SocketName::Router), Err(Breach::Ready));
    }
}
