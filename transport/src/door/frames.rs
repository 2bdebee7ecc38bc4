//! What a peer sends, looked at frame by frame without touching what is in them.
//!
//! Bytes that may pass stay where they are; only what the door keeps for itself (heartbeats, subscriptions
//! that change nothing) is taken out, and what follows moves up.

use super::counters::Breach;
use super::limits::DoorLimits;
use super::topics::{Change, Topics};
use super::wire::{self, Header};

/// Answers to PING that wait; a peer that asks more often than it reads gets fewer answers.
const PONGS_MAX: usize = 16;

/// Frames from a peer to the library.
#[derive(Debug)]
pub(super) struct Inspector {
    /// Of the frame that is passing.
    left: u64,
    /// Of the message that is passing.
    parts: usize,
    message: u64,
    /// What the message may come to without asking.
    allowed: u64,
    limits: Limits,
    /// What a subscriber has subscribed to; nothing else may come from one.
    pub(super) topics: Option<Topics>,
    pub(super) pongs: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    parts: usize,
    message: u64,
    free: u64,
    command: u64,
    topic: u64,
}

/// What became of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Inspected {
    /// So many from the beginning may pass.
    pub(super) pass: usize,
    /// What is from here to the end must be looked at again, with what follows.
    pub(super) rest: usize,
    /// Nothing more passes before this much is granted.
    pub(super) wants: Option<u64>,
}

impl Inspector {
    pub(super) fn new(limits: &DoorLimits, topics: Option<Topics>) -> Self {
        let limits = Limits {
            parts: limits.parts,
            message: limits.message_bytes,
            free: limits.message_bytes_free,
            command: limits.ready_bytes as u64,
            topic: limits.topic_bytes as u64 + 1,
        };
        let allowed = limits.free;
        Self { left: 0, parts: 0, message: 0, allowed, limits, topics, pongs: Vec::new() }
    }

    /// Lets the message that is passing come to this much.
    pub(super) fn grant(&mut self, bytes: u64) {
        self.allowed = bytes;
    }

    /// Whether a message is passing for which something was granted.
    pub(super) fn is_large(&self) -> bool {
        self.allowed > self.limits.free
    }

    /// Looks at bytes that follow those that passed.
    pub(super) fn inspect(&mut self, bytes: &mut [u8]) -> Result<Inspected, Breach> {
        let (mut read, mut written) = (0, 0);
        let mut keep = |bytes: &mut [u8], read: &mut usize, count: usize| {
            if *read != written {
                bytes.copy_within(*read..*read + count, written);
            }
            written += count;
            *read += count;
        };
        let mut wants = None;
        loop {
            if self.left > 0 {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - read);
                keep(bytes, &mut read, count);
                self.left -= count as u64;
                if self.left > 0 {
                    break;
                }
            }
            let Some(header) = Header::read(&bytes[read..])? else { break };
            let whole = header.command || self.topics.is_some();
            if whole {
                let Some(size) = self.whole(&header, bytes.len() - read)? else { break };
                let body = &bytes[read + header.size..read + size];
                let passes = match header.command {
                    true => self.command(body)?,
                    false => self.subscription(&header, body)?,
                };
                match passes {
                    true => keep(bytes, &mut read, size),
                    false => read += size,
                }
                continue;
            }
            if let Some(bytes) = self.begin(&header)? {
                wants = Some(bytes);
                break;
            }
            keep(bytes, &mut read, header.size);
        }
        Ok(Inspected { pass: written, rest: read, wants })
    }

    /// The size of a frame that is looked at as a whole, once all of it is there.
    fn whole(&self, header: &Header, there: usize) -> Result<Option<usize>, Breach> {
        let (limit, breach) = match header.command {
            true => (self.limits.command, Breach::Frame),
            false => (self.limits.topic, Breach::Subscriptions),
        };
        if header.body > limit.max(self.limits.command) {
            return Err(breach);
        }
        let size = header.size + header.body as usize;
        Ok((size <= there).then_some(size))
    }

    /// Begins a frame of a message. Returns what must be granted before.
    fn begin(&mut self, header: &Header) -> Result<Option<u64>, Breach> {
        let message = self.message.saturating_add(header.body);
        if message > self.limits.message {
            return Err(Breach::TooLarge);
        }
        if self.parts >= self.limits.parts {
            return Err(Breach::Parts);
        }
        if message > self.allowed {
            // How large a message of several parts will be is not known, so it takes all that it may be.
            return Ok(Some(if header.more || self.parts > 0 { self.limits.message } else { message }));
        }
        self.left = header.body;
        (self.message, self.parts) = match header.more {
            true => (message, self.parts + 1),
            false => (0, 0),
        };
        Ok(None)
    }

    /// Whether a message has begun and is not complete.
    pub(super) fn is_amid(&self) -> bool {
        self.left > 0 || self.parts > 0
    }

    /// Takes what was granted back, once the message has passed. Returns whether there was anything.
    pub(super) fn settle(&mut self) -> bool {
        let is_over = self.is_large() && !self.is_amid();
        if is_over {
            self.allowed = self.limits.free;
        }
        is_over
    }

    /// Commands are for the door: the library knows none. Returns whether it passes.
    fn command(&mut self, body: &[u8]) -> Result<bool, Breach> {
        let (name, rest) = wire::command(body)?;
        match name {
            b"PING" => {
                let pong = wire::pong(rest)?;
                if self.pongs.len() < PONGS_MAX {
                    self.pongs.push(pong);
                }
                Ok(false)
            }
            b"PONG" => Ok(false),
            // To what we call ourselves, 3.0, subscriptions come as messages; there are no other commands.
            _ => Err(Breach::Frame),
        }
    }

    /// Returns whether it passes.
    fn subscription(&mut self, header: &Header, body: &[u8]) -> Result<bool, Breach> {
        let Some(topics) = &mut self.topics else { return Ok(true) };
        if header.more {
            return Err(Breach::Parts);
        }
        match body.split_first() {
            Some((1, topic)) => topics.change(Change::Add, topic),
            Some((0, topic)) => topics.change(Change::Remove, topic),
            _ => Err(Breach::Frame),
        }
    }
}

/// Frames from the library to a peer. They are good; only their ends have to be known, because an answer to
/// PING can stand between two frames and nowhere else.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    left: u64,
    header: Vec<u8>,
}

impl Boundaries {
    /// Whether what was seen ends with a frame.
    pub(super) fn at_end(&self) -> bool {
        self.left == 0 && self.header.is_empty()
    }

    /// Follows some bytes. Returns the first end of a frame in them.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<Option<usize>, Breach> {
        let mut at = 0;
        let mut first = None;
        while at < bytes.len() {
            if self.left > 0 {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += count;
                self.left -= count as u64;
                if self.left == 0 {
                    first.get_or_insert(at);
                }
                continue;
            }
            let header = match self.header.is_empty() {
                true => Header::read(&bytes[at..])?.map(|header| (header.size, header)),
                false => {
                    let had = self.header.len();
                    let more = bytes.len().min(at + wire::HEADER_BYTES_MAX - had);
                    self.header.extend_from_slice(&bytes[at..more]);
                    let header = Header::read(&self.header)?;
                    self.header.truncate(had);
                    header.map(|header| (header.size - had, header))
                }
            };
            match header {
                Some((size, header)) => {
                    self.header.clear();
                    at += size;
                    self.left = header.body;
                    if self.left == 0 {
                        first.get_or_insert(at);
                    }
                }
                None => {
                    self.header.extend_from_slice(&bytes[at..]);
                    at = bytes.len();
                }
            }
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::super::topics::Topics;
    use super::*;

    fn frame(more: bool, command: bool, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        wire::put_frame(&mut bytes, more, command, body);
        bytes
    }

    fn ping(context: &[u8]) -> Vec<u8> {
        let mut body = b"\x04PING\x00\x00".to_vec();
        body.extend_from_slice(context);
        frame(false, true, &body)
    }

    /// Feeds in pieces of this size, as the relay does; returns what passed.
    fn feed(inspector: &mut Inspector, bytes: &[u8], piece: usize) -> Result<Vec<u8>, Breach> {
        let (mut passed, mut rest) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            rest.extend_from_slice(piece);
            loop {
                let inspected = inspector.inspect(&mut rest)?;
                passed.extend_from_slice(&rest[..inspected.pass]);
                rest.drain(..inspected.rest);
                inspector.settle();
                match inspected.wants {
                    Some(bytes) => inspector.grant(bytes),
                    None => break,
                }
            }
        }
        Ok(passed)
    }

    fn limits() -> DoorLimits {
        DoorLimits { message_bytes: 1_000, message_bytes_free: 300, parts: 3, ..DoorLimits::default() }
    }

    #[test]
    fn messages_pass_and_heartbeats_stay_however_they_are_cut() {
        let messages =
            [frame(false, false, b""), frame(true, false, &[7; 300]), frame(false, false, b"end")].concat();
        let mixed =
            [ping(b"one"), messages.clone(), ping(b""), frame(false, true, b"\x04PONG"), messages.clone()];
        let mixed = mixed.concat();
        for piece in [1, 2, 3, 7, 64, 1_000] {
            let mut inspector = Inspector::new(&limits(), None);
            let passed = feed(&mut inspector, &mixed, piece).unwrap();
            assert!(passed == [messages.clone(), messages.clone()].concat(), "in pieces of {piece}");
            assert_eq!(
                inspector.pongs,
                [frame(false, true, b"\x04PONGone"), frame(false, true, b"\x04PONG")]
            );
            assert!(!inspector.is_amid());
        }
    }

    #[test]
    fn what_is_over_a_limit_is_refused_before_it_is_read() {
        let breach = |bytes: &[u8]| {
            let mut inspector = Inspector::new(&limits(), None);
            feed(&mut inspector, bytes, 5).unwrap_err()
        };
        let announced = |bytes: u64| [vec![2], bytes.to_be_bytes().to_vec()].concat();
        assert_eq!(breach(&announced(1_001)), Breach::TooLarge);
        assert_eq!(breach(&announced(1 << 62)), Breach::TooLarge);
        assert_eq!(breach(&[frame(true, false, &[0; 600]), announced(401)].concat()), Breach::TooLarge);
        assert_eq!(breach(&frame(true, false, b"").repeat(4)), Breach::Parts);
        assert_eq!(breach(&frame(false, true, &[0; 2_000])), Breach::Frame);
        assert_eq!(breach(&frame(false, true, b"\x05READY")), Breach::Frame);
        assert_eq!(breach(&frame(false, true, b"")), Breach::Frame);
        assert_eq!(breach(&ping(&[0; 17])), Breach::Frame);
    }

    #[test]
    fn a_large_message_waits_for_what_it_is_granted() {
        let mut inspector = Inspector::new(&limits(), None);
        let mut bytes = frame(false, false, &[1; 400]);
        let wants = inspector.inspect(&mut bytes).unwrap();
        assert_eq!(wants, Inspected { pass: 0, rest: 0, wants: Some(400) });
        inspector.grant(400);
        assert_eq!(inspector.inspect(&mut bytes).unwrap().pass, bytes.len());
        assert!(inspector.settle() && !inspector.settle());
        // Parts whose end is not known take all they may come to.
        let mut parts = [frame(true, false, &[1; 200]), frame(false, false, &[1; 200])].concat();
        assert_eq!(inspector.inspect(&mut parts).unwrap().wants, Some(1_000));
    }

    #[test]
    fn a_flood_of_heartbeats_is_answered_in_part() {
        let mut inspector = Inspector::new(&limits(), None);
        feed(&mut inspector, &ping(b"x").repeat(1_000), 100).unwrap();
        assert_eq!(inspector.pongs.len(), PONGS_MAX);
    }

    #[test]
    fn a_subscriber_can_only_subscribe() {
        let topics = || Some(Topics::new(&DoorLimits::default(), None));
        let mut inspector = Inspector::new(&limits(), topics());
        let news = frame(false, false, b"\x01news");
        assert_eq!(feed(&mut inspector, &news.repeat(3), 4).unwrap(), news, "once is enough");
        let breach = |bytes: &[u8]| feed(&mut Inspector::new(&limits(), topics()), bytes, 4).unwrap_err();
        assert_eq!(breach(&frame(false, false, b"\x02news")), Breach::Frame);
        assert_eq!(breach(&frame(false, false, b"")), Breach::Frame);
        assert_eq!(breach(&frame(true, false, b"\x01news")), Breach::Parts);
        assert_eq!(breach(&frame(false, false, &[1; 4_000])), Breach::Subscriptions);
    }

    #[test]
    fn ends_of_frames_are_found_however_they_are_cut() {
        let frames = [frame(false, false, b"a"), frame(true, false, &[7; 300]), frame(false, false, b"")];
        let bytes = frames.concat();
        let ends = [3, 3 + 309, 3 + 309 + 2];
        for piece in 1..40 {
            let (mut boundaries, mut at, mut found) = (Boundaries::default(), 0, Vec::new());
            for piece in bytes.chunks(piece) {
                if let Some(end) = boundaries.follow(piece).unwrap() {
                    found.push(at + end);
                }
                at += piece.len();
                assert_eq!(boundaries.at_end(), ends.contains(&at), "in pieces of {piece:?}");
            }
            assert!(found.iter().all(|end| ends.contains(end)) && !found.is_empty());
        }
    }
}
