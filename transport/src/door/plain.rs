//! Carries a connection that is not encrypted: bytes pass as they are.

use std::cell::RefCell;

use super::backlog::Backlog;
use super::counters::Breach;
use super::frames::{Boundaries, Inspector};
use super::relay::{Carrier, Ending, Moved, Sides};
use super::sockets::Socket;

/// Most bytes that are read at a time.
pub(super) const CHUNK: usize = 128 << 10;
/// The same for a peer that does not take what it is sent: nothing is won by reading more, and many such
/// peers together must not overshoot what may wait for all of them.
pub(super) const CHUNK_BEHIND: usize = 16 << 10;

thread_local! {
    /// Where bytes are on their way from one socket to the other. One for each thread: between two reads
    /// nothing stays here, so thousands of quiet connections need no buffers.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 2 * CHUNK + (16 << 10)].into());
}

/// Lends the thread's buffer.
pub(super) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| work(scratch))
}

/// A connection as it is.
#[derive(Debug)]
pub(super) struct Plain {
    inspector: Inspector,
    /// Read and not understood yet: the beginning of a frame.
    seen: Vec<u8>,
    wants: Option<u64>,
    again: bool,
    to_inner: Backlog,
    boundaries: Boundaries,
    to_outer: Backlog,
    /// The library is read as long as less than this waits for the peer.
    hold: usize,
    ended: (bool, bool),
    /// The peer takes nothing any more. What it said before is still carried in.
    deaf: bool,
}

impl Plain {
    /// The connection begins with something that the peer is still owed.
    pub(super) fn new(inspector: Inspector, owed: &[u8], hold: usize) -> Self {
        let mut to_outer = Backlog::default();
        to_outer.push(owed);
        Self {
            inspector,
            seen: Vec::new(),
            wants: None,
            again: false,
            to_inner: Backlog::default(),
            boundaries: Boundaries::default(),
            to_outer,
            hold: hold.max(1),
            ended: (false, false),
            deaf: false,
        }
    }

    /// Writes to the peer what waits, and then this.
    fn tell<O: Socket, I: Socket>(&mut self, then: &[u8], sides: &Sides<O, I>) -> u64 {
        match self.to_outer.write(then, |bytes| sides.outer.write_now(bytes)) {
            Ok(written) => written,
            Err(_) => {
                (self.deaf, self.to_outer) = (true, Backlog::default());
                0
            }
        }
    }

    fn answer_pings(&mut self) {
        if self.boundaries.at_end() {
            for pong in self.inspector.pongs.drain(..) {
                self.to_outer.push(&pong);
            }
        }
    }

    /// Puts answers to PING at the first place where a frame ends.
    fn push_with_pongs(&mut self, bytes: &[u8], end: Option<usize>) {
        let end = end.unwrap_or(bytes.len());
        self.to_outer.push(&bytes[..end]);
        if end < bytes.len() || self.boundaries.at_end() {
            for pong in self.inspector.pongs.drain(..) {
                self.to_outer.push(&pong);
            }
        }
        self.to_outer.push(&bytes[end..]);
    }

    /// Looks at what was read before and what was read now.
    fn look<O: Socket, I: Socket>(
        &mut self,
        scratch: &mut [u8],
        all: usize,
        sides: &Sides<O, I>,
    ) -> Result<(), Ending> {
        let inspected = self.inspector.inspect(&mut scratch[..all])?;
        self.to_inner.write(&scratch[..inspected.pass], |bytes| sides.inner.write_now(bytes))?;
        self.seen.clear();
        self.seen.extend_from_slice(&scratch[inspected.rest..all]);
        self.wants = inspected.wants;
        if self.seen.is_empty() {
            self.seen = Vec::new();
        }
        Ok(())
    }
}

impl Carrier for Plain {
    fn inward<O: Socket, I: Socket>(&mut self, sides: &Sides<O, I>) -> Result<u64, Ending> {
        if self.to_inner.len() > 0 {
            let written = self.to_inner.write(&[], |bytes| sides.inner.write_now(bytes))?;
            if self.to_inner.len() > 0 {
                return Ok(written);
            }
        }
        if !self.reads_outer() {
            return Ok(0);
        }
        with_scratch(|scratch| {
            let had = self.seen.len();
            let count = match std::mem::take(&mut self.again) {
                // Something was granted: what was seen is looked at again before more is read.
                true => 0,
                false => match sides.outer.read_now(&mut scratch[had..had + CHUNK])? {
                    None => return Ok(0),
                    Some(0) => {
                        self.ended.0 = true;
                        return Ok(0);
                    }
                    Some(count) => count,
                },
            };
            scratch[..had].copy_from_slice(&self.seen);
            self.look(scratch, had + count, sides)?;
            self.answer_pings();
            // Looking again counts as progress, or it would not be followed by the next read.
            Ok((count as u64).max(1))
        })
    }

    fn outward<O: Socket, I: Socket>(&mut self, sides: &Sides<O, I>) -> Result<Moved, Ending> {
        let mut moved = Moved::default();
        if self.to_outer.len() > 0 {
            moved.written += self.tell(&[], sides);
        }
        if !self.reads_inner() {
            return Ok(moved);
        }
        with_scratch(|scratch| {
            let most = if self.to_outer.len() > 0 { CHUNK_BEHIND } else { CHUNK };
            match sides.inner.read_now(&mut scratch[..most])? {
                None => return Ok(moved),
                Some(0) => self.ended.1 = true,
                Some(count) => {
                    let bytes = &scratch[..count];
                    let end = self.boundaries.follow(bytes).map_err(|_: Breach| Ending::Closed)?;
                    moved.read = count as u64;
                    if self.inspector.pongs.is_empty() {
                        moved.written += self.tell(bytes, sides);
                    } else {
                        self.push_with_pongs(bytes, end);
                    }
                }
            }
            Ok(moved)
        })
    }

    fn inward_waiting(&self) -> usize {
        self.to_inner.len()
    }

    fn outward_waiting(&self) -> usize {
        self.to_outer.len()
    }

    fn reads_outer(&self) -> bool {
        self.wants.is_none() && self.to_inner.len() == 0 && !self.ended.0
    }

    fn reads_inner(&self) -> bool {
        self.to_outer.len() < self.hold && !self.ended.1 && !self.deaf
    }

    fn ended(&self) -> (bool, bool) {
        self.ended
    }

    fn wants(&self) -> Option<u64> {
        self.wants
    }

    fn grant(&mut self) {
        if let Some(bytes) = self.wants.take() {
            self.inspector.grant(bytes);
            self.again = true;
        }
    }

    fn settled(&mut self) -> bool {
        self.inspector.settle()
    }
}
