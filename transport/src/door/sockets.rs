//! Sockets as a relay uses them: nothing here waits, and one is read as often as there is something, and not
//! once more.

use std::io::{self, IoSlice, Read};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// A socket that never waits.
pub(super) trait Socket {
    /// Reads what is there. `Ok(None)`: nothing is. `Ok(Some(0))`: nothing will be any more.
    fn read_now(&self, into: &mut [u8]) -> io::Result<Option<usize>>;
    /// Writes as much as is taken; `WouldBlock` when that is nothing.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize>;
    /// The same from several places.
    fn write_slices_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
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
