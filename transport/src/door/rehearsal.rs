//! A visit without sockets: what a stranger says comes from memory, and so does what the library answers.
//!
//! It goes through the same handshake and the same carriers as a visit over TCP; only accepting, waiting and
//! counting heads are left out. This is for the fuzzer, which wants thousands of visits a second, and for
//! whoever wants to know what some bytes come to.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use omq_proto::proto::connection::Connection;
use omq_proto::{CurvePublicKey, CurveServerOptions, MechanismSetup, Message};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::counters::Breach;
use super::curve::{self, Curve};
use super::frames::Inspector;
use super::gate::Grant;
use super::handshake::{self, Failed};
use super::keys::SecretKey;
use super::limits::DoorLimits;
use super::listener::Service;
use super::plain::Plain;
use super::relay::{Carrier, Ending, Sides};
use super::sockets::Socket;
use super::topics::Topics;
use super::wire::{self, SocketName};

/// Turns in a row in which nothing moves, beside one for each piece: somebody may just not be ready.
const IDLE_TURNS: usize = 8;

/// What somebody says, and in how large pieces it comes; the sizes are used over and over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    /// Sizes of pieces; all at once, if there are none. Zero: not yet.
    pub pieces: &'a [u8],
}

/// Whom somebody visits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Host {
    /// A ROUTER.
    Router,
    /// A PUB, with these topics open to everybody.
    Publisher,
}

/// What a visit came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Visited {
    /// Whether the library was told of it.
    pub admitted: bool,
    /// Why it ended, if the peer broke a rule.
    pub breach: Option<Breach>,
    /// What the library would have read, after the introduction.
    pub to_library: Vec<u8>,
    /// What the peer would have read.
    pub to_peer: Vec<u8>,
}

/// A visit to a listener that is open to everybody.
pub fn plain(host: Host, peer: Said<'_>, library: Said<'_>, limits: &DoorLimits) -> Visited {
    let mut outer = Memory::new(peer);
    let (ours, _) = names(host);
    if let Err(failed) = at_once(handshake::plain(&mut outer, ours, limits)) {
        return outer.refused(&failed);
    }
    let owed = wire::ready(ours, b"");
    let inspector = Inspector::new(limits, topics(host, limits));
    carry(outer, library, Plain::new(inspector, &owed, 1))
}

/// A visit to a listener with keys, of a stranger who may say anything. Only the holder of `listed` may pass.
pub fn encrypted(host: Host, keys: &Keys, peer: Said<'_>, library: Said<'_>, limits: &DoorLimits) -> Visited {
    let mut outer = Memory::new(peer);
    match at_once(handshake::encrypted(&mut outer, names(host).0, keys.server(), limits)) {
        Err(failed) => outer.refused(&failed),
        Ok((codec, _)) => {
            carry(outer, library, Curve::new(Box::new(codec), limits, topics(host, limits), 64 << 10))
        }
    }
}

/// A visit of somebody who has a listed key, and from there on says what nobody should: these messages of
/// some parts, properly encrypted, and behind them bytes that are not.
pub fn insider(
    host: Host,
    keys: &Keys,
    messages: &[Vec<&[u8]>],
    peer: Said<'_>,
    library: Said<'_>,
    limits: &DoorLimits,
) -> Visited {
    let (ours, theirs) = names(host);
    let mut server = curve::codec(ours, keys.server(), limits);
    let mut client = curve::codec(theirs, keys.client(), limits);
    while !(server.is_ready() && client.is_ready()) {
        let moved = pass(&mut client, &mut server) + pass(&mut server, &mut client);
        assert!(moved > 0, "two good peers come to an end with their handshake");
    }
    let mut bytes = Vec::new();
    for message in messages {
        let parts = message.iter().map(|part| bytes::Bytes::copy_from_slice(part));
        let message = Message::multipart_payloads(parts.map(omq_proto::Payload::from_bytes));
        // The codec may refuse what is too large; then it is not said.
        if client.send_message(&message).is_ok() {
            let out = client.poll_transmit();
            client.advance_transmit(out.len());
            bytes.extend_from_slice(&out);
        }
    }
    bytes.extend_from_slice(peer.bytes);
    let outer = Memory::new(Said { bytes: &bytes, pieces: peer.pieces });
    carry(outer, library, Curve::new(Box::new(server), limits, topics(host, limits), 64 << 10))
}

/// The keys of a host and of the one who may pass.
#[derive(Debug)]
pub struct Keys {
    host: SecretKey,
    listed: SecretKey,
}

impl Keys {
    /// New ones.
    pub fn generate() -> Self {
        Self { host: SecretKey::generate(), listed: SecretKey::generate() }
    }

    /// The host's key, which everybody knows.
    pub fn host(&self) -> [u8; 32] {
        *self.host.public().as_bytes()
    }

    fn server(&self) -> MechanismSetup {
        let listed = *self.listed.public().as_bytes();
        let options = CurveServerOptions::new().authenticator(move |peer| peer.public_key == listed);
        MechanismSetup::CurveServer { our_keypair: self.host.pair(), options }
    }

    fn client(&self) -> MechanismSetup {
        let server_public = CurvePublicKey::from_bytes(self.host());
        MechanismSetup::CurveClient { our_keypair: self.listed.pair(), server_public }
    }
}

fn names(host: Host) -> (SocketName, SocketName) {
    match host {
        Host::Router => Service::Conversations.sockets(),
        Host::Publisher => Service::Publications.sockets(),
    }
}

fn topics(host: Host, limits: &DoorLimits) -> Option<Topics> {
    (host == Host::Publisher).then(|| Topics::new(limits, Grant::default().topics))
}

/// Everything that one codec has to say, to the other. Returns how much that was.
fn pass(from: &mut Connection, to: &mut Connection) -> usize {
    let bytes = from.poll_transmit();
    from.advance_transmit(bytes.len());
    let count = bytes.len();
    if count > 0 {
        // What is wrong between two good peers shows in that they do not get ready.
        let _ = to.handle_input(bytes);
    }
    count
}

/// The turns of a relay, until nobody has anything to say.
fn carry(outer: Memory<'_>, library: Said<'_>, mut carrier: impl Carrier) -> Visited {
    let sides = Sides { outer, inner: Memory::new(library) };
    let breach = match turns(&sides, &mut carrier) {
        Err(Ending::Breach(breach)) => Some(breach),
        Err(Ending::Closed) | Ok(()) => None,
    };
    let (to_library, to_peer) = (sides.inner.heard.into_inner(), sides.outer.heard.into_inner());
    Visited { admitted: true, breach, to_library, to_peer }
}

fn turns(sides: &Sides<Memory<'_>, Memory<'_>>, carrier: &mut impl Carrier) -> Result<(), Ending> {
    let patience = IDLE_TURNS + sides.outer.said.pieces.len() + sides.inner.said.pieces.len();
    let mut idle = 0;
    while idle < patience {
        let inward = carrier.inward(sides)?;
        let outward = carrier.outward(sides)?;
        carrier.settled();
        let is_granted = carrier.wants().is_some();
        if is_granted {
            carrier.grant();
        }
        match inward + outward.read + outward.written > 0 || is_granted {
            true => idle = 0,
            false => idle += 1,
        }
    }
    Ok(())
}

/// A socket in memory. It never waits: what is not there yet comes at the next try.
#[derive(Debug)]
struct Memory<'a> {
    said: Said<'a>,
    at: Cell<usize>,
    reads: Cell<usize>,
    writes: Cell<usize>,
    heard: RefCell<Vec<u8>>,
}

impl<'a> Memory<'a> {
    fn new(said: Said<'a>) -> Self {
        let (at, reads, writes) = (Cell::new(0), Cell::new(0), Cell::new(0));
        Self { said, at, reads, writes, heard: RefCell::default() }
    }

    fn refused(self, failed: &Failed) -> Visited {
        let to_peer = self.heard.into_inner();
        Visited { breach: Some(failed.breach), to_peer, ..Visited::default() }
    }

    /// How much of so many bytes goes at this try.
    fn piece(&self, tries: &Cell<usize>, most: usize) -> usize {
        let pieces = self.said.pieces;
        let try_now = tries.replace(tries.get() + 1);
        match pieces.iter().any(|piece| *piece > 0) {
            true => most.min(pieces[try_now % pieces.len()].into()),
            false => most,
        }
    }

    fn take(&self, into: &mut [u8], least: usize) -> usize {
        let rest = &self.said.bytes[self.at.get()..];
        let most = rest.len().min(into.len());
        let count = self.piece(&self.reads, most).max(least.min(most));
        into[..count].copy_from_slice(&rest[..count]);
        self.at.set(self.at.get() + count);
        count
    }
}

impl Socket for Memory<'_> {
    fn read_now(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let count = self.take(into, 0);
        // The end is for whoever drives the visit to see: a peer that has said everything still listens.
        Ok((count > 0).then_some(count))
    }

    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.piece(&self.writes, bytes.len()) {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            count => {
                self.heard.borrow_mut().extend_from_slice(&bytes[..count]);
                Ok(count)
            }
        }
    }

    fn write_slices_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        slices.first().map_or(Ok(0), |first| self.write_now(first))
    }
}

impl AsyncRead for Memory<'_> {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // During a handshake nobody comes back to look again, so there is always something until the end.
        let count = self.take(into.initialize_unfilled(), 1);
        into.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The value of a future that never has to wait, because what it reads from is in memory.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing in memory has to be waited for"),
    }
}
