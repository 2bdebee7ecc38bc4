//! Sockets as a relay uses them: nothing here waits, and one is read as often as there is something, and not
//! once more.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, Read};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use super::counters::Breach;

/// A socket that never waits.
pub(super) trait Socket {
    /// Reads what is there. `Ok(None)`: nothing is. `Ok(Some(0))`: nothing will be any more.
    fn read_now(&self, into: &mut [u8]) -> io::Result<Option<usize>>;
    /// Writes as much as is taken; `WouldBlock` when that is nothing.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize>;
    /// The same from several places.
    fn write_slices_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// What a relay has behind it: the library, or what that has published.
pub(super) trait Inner: Socket + Send + Sync {
    /// Waits until something may be read.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Waits until something may be written.
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Bytes that wait there for the peer and count as its.
    fn waiting(&self) -> Result<usize, Breach>;
    /// Waits until these have become more.
    fn pushed(&self) -> impl Future<Output = ()> + Send;
}

/// The library keeps what it keeps, and tells nobody how much.
impl Inner for UnixStream {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send {
        poll_fn(|context| self.poll_read_ready(context))
    }

    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send {
        poll_fn(|context| self.poll_write_ready(context))
    }

    fn waiting(&self) -> Result<usize, Breach> {
        Ok(0)
    }

    fn pushed(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// A read that does not fill its buffer has emptied the socket. Saying so saves the read that would find
/// nothing, at every message: half of all reads when there is little traffic.
fn read(
    try_io: impl FnOnce(&mut dyn FnMut() -> io::Result<()>) -> io::Result<()>,
    mut socket: impl Read,
    into: &mut [u8],
) -> io::Result<Option<usize>> {
    let mut read = None;
    let result = try_io(&mut || {
        let count = socket.read(into)?;
        read = Some(count);
        match count > 0 && count < into.len() {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    });
    match (read, result) {
        (Some(count), _) => Ok(Some(count)),
        (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Ok(None),
    }
}

impl Socket for TcpStream {
    fn read_now(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        read(|work| self.try_io(Interest::READABLE, work), &*SockRef::from(self), into)
    }

    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }

    fn write_slices_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write_vectored(slices)
    }
}

impl Socket for UnixStream {
    fn read_now(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        read(|work| self.try_io(Interest::READABLE, work), &*SockRef::from(self), into)
    }

    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write(bytes)
    }

    fn write_slices_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write_vectored(slices)
    }
}
