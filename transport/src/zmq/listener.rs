//! Listening sockets of our own making: the library sets none of the options that a server needs.

use std::fs::{self, File, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::IoThread;
use crate::door::{Attended, Door, Gate, PrivateSocket, Service};
use crate::endpoint::Endpoint;
use crate::error::BindError;
use crate::limits::Limits;

/// A socket that listens.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listening: Listening,
    /// With the port that the system chose.
    pub(super) endpoint: Endpoint,
    /// What must be removed at the end.
    pub(super) file: Option<SocketFile>,
}

/// A socket that listens, before the library has it.
#[derive(Debug)]
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    /// The same socket for one more taker: whoever accepts first has the connection.
    pub(super) fn again(&self) -> io::Result<zeromq::Listener> {
        Ok(match self {
            Self::Tcp(listener) => listener.try_clone()?.into(),
            Self::Unix(listener) => listener.try_clone()?.into(),
        })
    }
}

impl From<Listening> for zeromq::Listener {
    fn from(listening: Listening) -> Self {
        match listening {
            Listening::Tcp(listener) => listener.into(),
            Listening::Unix(listener) => listener.into(),
        }
    }
}

/// Listens on an endpoint with a door before it, if strangers can reach it: a Unix socket is its owner's
/// alone.
pub(super) fn listen_behind(
    door: &Door,
    home: &IoThread,
    endpoint: &Endpoint,
    limits: &Limits,
    gate: Gate,
    service: Service,
) -> Result<(Bound, Option<Attended>), BindError> {
    let failed = |source: io::Error| failed(endpoint, source);
    let Endpoint::Tcp { host, port } = endpoint else { return Ok((listen(endpoint, limits)?, None)) };
    let outer = listen_tcp(host, *port, limits).map_err(failed)?;
    let port = outer.local_addr().map_err(failed)?.port();
    let (inner, place) = PrivateSocket::listen().map_err(failed)?;
    let attended = door.attend(outer, gate, service, (place, home.handle().clone()));
    let endpoint = endpoint.with_port(port);
    let bound = Bound { listening: Listening::Unix(inner), endpoint, file: None };
    Ok((bound, Some(attended)))
}

pub(super) fn failed(endpoint: &Endpoint, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { endpoint: endpoint.clone() },
        _ => BindError::Io { endpoint: endpoint.clone(), source },
    }
}

/// Listens on an endpoint.
pub(super) fn listen(endpoint: &Endpoint, limits: &Limits) -> Result<Bound, BindError> {
    let failed = |source: io::Error| failed(endpoint, source);
    match endpoint {
        Endpoint::Tcp { host, port } => {
            let listener = listen_tcp(host, *port, limits).map_err(failed)?;
            let port = listener.local_addr().map_err(failed)?.port();
            Ok(Bound { listening: Listening::Tcp(listener), endpoint: endpoint.with_port(port), file: None })
        }
        Endpoint::Ipc { path } => {
            let (listener, file) = listen_unix(path).map_err(failed)?;
            Ok(Bound { listening: Listening::Unix(listener), endpoint: endpoint.clone(), file: Some(file) })
        }
        Endpoint::Mem { .. } => Err(BindError::Unsupported { endpoint: endpoint.clone() }),
    }
}

fn listen_tcp(host: &str, port: u16, limits: &Limits) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match listen_on(address, limits) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Accepted sockets inherit the options of the listening one.
fn listen_on(address: SocketAddr, limits: &Limits) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Systems differ in what they do when nobody says.
        socket.set_only_v6(false)?;
    }
    // A broker that comes back takes its port over from connections of its last life.
    socket.set_reuse_address(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(limits.keepalive_idle)
        .with_interval(limits.keepalive_interval)
        .with_retries(limits.keepalive_probes);
    socket.set_tcp_keepalive(&keepalive)?;
    // The library never gives up on a peer that does not read, kicked or not; the system does, where it can.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    socket.set_tcp_user_timeout(Some(limits.user_timeout))?;
    socket.bind(&address.into())?;
    socket.listen(limits.backlog)?;
    Ok(socket.into())
}

/// Only the owner may connect: the socket gets its place in the file system after its permissions.
fn listen_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    // Two that start at the same time must not both find the file of a third that died, and replace each
    // other's. The lock ends with this function.
    let lock = File::open(directory)?;
    lock.lock()?;
    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        // A socket that nobody answers at is left over from a process that died.
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    let mut nameless = path.as_os_str().to_owned();
    nameless.push("~");
    let nameless = PathBuf::from(nameless);
    match fs::remove_file(&nameless) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&nameless)?;
    fs::set_permissions(&nameless, Permissions::from_mode(0o600))?;
    fs::rename(&nameless, path)?;
    let file = SocketFile { inode: fs::symlink_metadata(path)?.ino(), path: path.to_owned() };
    Ok((listener, file))
}

/// The place of a Unix socket in the file system, removed with this value. The library's own removal is too
/// late at times and hits the socket of a successor; it looks for the name before the last and finds none.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            // If it cannot be removed, the next process to listen there finds that nobody answers.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_socket_is_private_exclusive_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (first, file) = listen_unix(&path).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(listen_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);

        // What a process leaves that died is taken over, and its late removal spares the successor.
        drop(first);
        let (second, its_file) = listen_unix(&path).unwrap();
        drop(file);
        assert!(UnixStream::connect(&path).is_ok());
        drop((second, its_file));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        fs::write(&path, "important").unwrap();
        assert_eq!(listen_unix(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"important");
    }

    #[test]
    fn accepted_connections_are_watched() {
        let limits = Limits::default();
        let listener = listen_tcp("127.0.0.1", 0, &limits).unwrap();
        let _peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = socket2::SockRef::from(&accepted);
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), limits.keepalive_idle);
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), limits.keepalive_interval);
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), limits.keepalive_probes);
        #[cfg(any(target_os = "android", target_os = "linux"))]
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(limits.user_timeout));
    }
}
