//! Listening sockets of our own making: the library sets none of the options that a server needs.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::endpoint::Endpoint;
use crate::error::BindError;
use crate::limits::Limits;

/// Listens on an endpoint; returns it with the port that the system chose.
pub(super) fn listen(
    endpoint: &Endpoint,
    limits: &Limits,
) -> Result<(zeromq::Listener, Endpoint), BindError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { endpoint: endpoint.clone() },
        _ => BindError::Io { endpoint: endpoint.clone(), source },
    };
    match endpoint {
        Endpoint::Tcp { host, port } => {
            let listener = listen_tcp(host, *port, limits).map_err(failed)?;
            let port = listener.local_addr().map_err(failed)?.port();
            Ok((listener.into(), endpoint.with_port(port)))
        }
        Endpoint::Ipc { path } => Ok((listen_unix(path).map_err(failed)?.into(), endpoint.clone())),
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
    socket.set_tcp_user_timeout(Some(limits.user_timeout))?;
    socket.bind(&address.into())?;
    socket.listen(limits.backlog)?;
    Ok(socket.into())
}

/// Only the owner may connect. A file that nobody answers at is left over from a process that died.
fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        other => other?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
