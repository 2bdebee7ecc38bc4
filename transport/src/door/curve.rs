//! Carries an encrypted connection: CURVE on the side of the peer, nothing on the side of the library.
//!
//! The codec is `omq-proto`, a value that takes bytes and gives messages. What the door must hold to, it
//! checks here as well: how much a handshake may send, how large a message may become, what a subscriber may
//! say.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use omq_proto::proto::connection::{Connection, ConnectionConfig, Event, Role};
use omq_proto::proto::{Command, SocketType};
use omq_proto::{Error, MechanismSetup, Message, Payload};

use super::backlog::Backlog;
use super::counters::Breach;
use super::limits::DoorLimits;
use super::plain::{CHUNK, CHUNK_BEHIND, with_scratch};
use super::relay::{Carrier, Ending, Moved, Sides};
use super::sockets::Socket;
use super::topics::{Change, Topics};
use super::wire::{self, Header, SocketName};

/// Pieces of output that are written at a time.
const SLICES: usize = 64;
/// What the codec counts for each part beside its bytes.
const PART_BYTES: u64 = 64;

/// The codec of a connection whose handshake has not begun.
pub(super) fn codec(socket: SocketName, mechanism: MechanismSetup, limits: &DoorLimits) -> Connection {
    let role = match socket {
        SocketName::Router | SocketName::Pub => Role::Server,
        SocketName::Dealer | SocketName::Sub => Role::Client,
    };
    let socket_type = match socket {
        SocketName::Router => SocketType::Router,
        SocketName::Dealer => SocketType::Dealer,
        SocketName::Pub => SocketType::Pub,
        SocketName::Sub => SocketType::Sub,
    };
    let most = limits.message_bytes + PART_BYTES * limits.parts as u64;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    Connection::new(ConnectionConfig::new(role, socket_type).max_message_size(most).mechanism(mechanism))
}

/// An encrypted connection after its handshake.
pub(super) struct Curve {
    codec: Box<Connection>,
    parts_max: usize,
    free: u64,
    allowed: u64,
    wants: Option<u64>,
    topics: Option<Topics>,
    to_inner: Backlog,
    /// From the library, up to the end of its last whole frame.
    from_inner: BytesMut,
    parts: Vec<Bytes>,
    hold: usize,
    ended: (bool, bool),
    deaf: bool,
}

impl Curve {
    pub(super) fn new(
        codec: Box<Connection>,
        limits: &DoorLimits,
        topics: Option<Topics>,
        hold: usize,
    ) -> Self {
        Self {
            codec,
            parts_max: limits.parts,
            free: limits.message_bytes_free,
            allowed: limits.message_bytes_free,
            wants: None,
            topics,
            to_inner: Backlog::default(),
            from_inner: BytesMut::new(),
            parts: Vec::new(),
            hold: hold.max(1),
            ended: (false, false),
            deaf: false,
        }
    }

    /// Passes on what the codec has understood.
    fn understood<O: Socket, I: Socket>(&mut self, sides: &Sides<O, I>) -> Result<(), Ending> {
        let mut bytes = Vec::new();
        while let Some(message) = self.codec.poll_message() {
            if message.len() > self.parts_max {
                return Err(Breach::Parts.into());
            }
            self.pass(&message, &mut bytes)?;
        }
        while let Some(event) = self.codec.poll_event() {
            match event {
                Event::Command(Command::Subscribe(topic)) => {
                    self.subscribe(Change::Add, &topic, &mut bytes)?;
                }
                Event::Command(Command::Cancel(topic)) => {
                    self.subscribe(Change::Remove, &topic, &mut bytes)?;
                }
                Event::Command(_) => return Err(Breach::Frame.into()),
                Event::HandshakeSucceeded { .. } | Event::Message(_) => {}
            }
        }
        self.to_inner.write(&bytes, |bytes| sides.inner.write_now(bytes))?;
        // Of the frame that comes next the codec knows the size before all of it is there.
        let next = self.codec.peek_next_frame_payload_size().map_err(|error| breach(&error))?;
        match next.map(|next| next.payload_len as u64).filter(|bytes| *bytes > self.free) {
            Some(bytes) if bytes > self.allowed => self.wants = Some(bytes),
            Some(_) => {}
            None => self.wants = None,
        }
        Ok(())
    }

    fn pass(&mut self, message: &Message, into: &mut Vec<u8>) -> Result<(), Ending> {
        if self.topics.is_some() {
            let first = message.get(0).and_then(<[u8]>::split_first);
            return match (message.len(), first) {
                (1, Some((1, topic))) => self.subscribe(Change::Add, topic, into),
                (1, Some((0, topic))) => self.subscribe(Change::Remove, topic, into),
                _ => Err(Breach::Frame.into()),
            };
        }
        let last = message.len().saturating_sub(1);
        for (place, part) in (0..message.len()).filter_map(|place| Some((place, message.get(place)?))) {
            wire::put_frame(into, place < last, false, part);
        }
        Ok(())
    }

    fn subscribe(&mut self, change: Change, topic: &[u8], into: &mut Vec<u8>) -> Result<(), Ending> {
        let topics = self.topics.as_mut().ok_or(Breach::Frame)?;
        if topics.change(change, topic)? {
            let mut body = Vec::with_capacity(topic.len() + 1);
            body.push(u8::from(change == Change::Add));
            body.extend_from_slice(topic);
            wire::put_frame(into, false, false, &body);
        }
        Ok(())
    }

    /// Encrypts every whole frame of what the library sent.
    fn encrypt(&mut self) -> Result<(), Ending> {
        let ours = |_| Ending::Closed;
        while let Some(header) = Header::read(&self.from_inner).map_err(|_| Ending::Closed)? {
            let size = header.size + header.body as usize;
            if self.from_inner.len() < size {
                // A large frame gets its room once instead of growing into it.
                self.from_inner.reserve(size - self.from_inner.len());
                break;
            }
            self.from_inner.advance(header.size);
            let body = self.from_inner.split_to(header.body as usize);
            if header.command {
                continue;
            }
            if header.more {
                self.parts.push(body.freeze());
            } else if self.parts.is_empty() {
                self.codec.send_message(&Message::single(body.freeze())).map_err(ours)?;
            } else {
                self.parts.push(body.freeze());
                let parts = self.parts.drain(..).map(Payload::from_bytes);
                self.codec.send_message(&Message::multipart_payloads(parts)).map_err(ours)?;
            }
        }
        if self.from_inner.is_empty() {
            self.from_inner = BytesMut::new();
        }
        Ok(())
    }

    fn tell<O: Socket, I: Socket>(&mut self, sides: &Sides<O, I>) -> u64 {
        let mut written = 0;
        while self.codec.has_pending_transmit() {
            let slices = self.codec.transmit_chunks_capped(SLICES);
            match sides.outer.write_slices_now(&slices) {
                Ok(count) if count > 0 => {
                    drop(slices);
                    self.codec.advance_transmit(count);
                    written += count as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => {
                    drop(slices);
                    self.deaf = true;
                    self.codec.advance_transmit(self.codec.pending_transmit_size());
                }
            }
        }
        written
    }
}

/// What an error of the codec says about its peer.
pub(super) fn breach(error: &Error) -> Breach {
    match error {
        Error::MessageTooLarge { .. } => Breach::TooLarge,
        _ => Breach::Curve,
    }
}

impl Carrier for Curve {
    fn inward<O: Socket, I: Socket>(&mut self, sides: &Sides<O, I>) -> Result<u64, Ending> {
        if self.to_inner.len() > 0 {
            let written = self.to_inner.write(&[], |bytes| sides.inner.write_now(bytes))?;
            if self.to_inner.len() > 0 {
                return Ok(written);
            }
        }
        if self.codec.has_pending_input() && !self.codec.input_blocked_on_output() {
            self.codec.resume_input().map_err(|error| breach(&error))?;
            self.understood(sides)?;
        }
        if !self.reads_outer() {
            return Ok(0);
        }
        let bytes = with_scratch(|scratch| {
            let count = sides.outer.read_now(&mut scratch[..CHUNK])?;
            std::io::Result::Ok(count.map(|count| Bytes::copy_from_slice(&scratch[..count])))
        })?;
        match bytes {
            None => Ok(0),
            Some(bytes) if bytes.is_empty() => {
                self.ended.0 = true;
                Ok(0)
            }
            Some(bytes) => {
                let count = bytes.len() as u64;
                let verdict = self.codec.handle_input(bytes);
                // What was good before something that is not, counts.
                self.understood(sides)?;
                verdict.map_err(|error| breach(&error))?;
                Ok(count)
            }
        }
    }

    fn outward<O: Socket, I: Socket>(&mut self, sides: &Sides<O, I>) -> Result<Moved, Ending> {
        let mut moved = Moved { written: self.tell(sides), read: 0 };
        if !self.reads_inner() {
            return Ok(moved);
        }
        let count = with_scratch(|scratch| {
            let most = if self.codec.has_pending_transmit() { CHUNK_BEHIND } else { CHUNK };
            let count = sides.inner.read_now(&mut scratch[..most])?;
            self.from_inner.extend_from_slice(&scratch[..count.unwrap_or(0)]);
            std::io::Result::Ok(count)
        })?;
        match count {
            None => {}
            Some(0) => self.ended.1 = true,
            Some(count) => {
                moved.read = count as u64;
                self.encrypt()?;
                moved.written += self.tell(sides);
            }
        }
        Ok(moved)
    }

    fn inward_waiting(&self) -> usize {
        self.to_inner.len()
    }

    fn outward_waiting(&self) -> usize {
        self.codec.pending_transmit_size()
    }

    fn reads_outer(&self) -> bool {
        self.wants.is_none() && self.to_inner.len() == 0 && !self.ended.0 && self.codec.accepts_input()
    }

    fn reads_inner(&self) -> bool {
        self.codec.pending_transmit_size() < self.hold && !self.ended.1 && !self.deaf
    }

    fn ended(&self) -> (bool, bool) {
        self.ended
    }

    fn wants(&self) -> Option<u64> {
        self.wants
    }

    fn grant(&mut self) {
        if let Some(bytes) = self.wants.take() {
            self.allowed = bytes;
        }
    }

    fn settled(&mut self) -> bool {
        let is_over = self.allowed > self.free
            && self.wants.is_none()
            && !matches!(self.codec.peek_next_frame_payload_size(), Ok(Some(next)) if next.payload_len as u64 > self.free);
        if is_over {
            self.allowed = self.free;
        }
        is_over
    }
}

/// What was agreed on in a handshake that went well.
pub(super) fn peer_key(codec: &mut Connection) -> Option<[u8; 32]> {
    while let Some(event) = codec.poll_event() {
        if let Event::HandshakeSucceeded { peer_properties, .. } = event {
            let authentication = Arc::clone(&peer_properties.authentication);
            return match authentication.public_key {
                Some(omq_proto::PeerPublicKey::Curve(key)) => Some(key),
                _ => None,
            };
        }
    }
    None
}
