//! Peers that say what no library would, byte by byte.

use ganger_tests::wait::within;
use ganger_transport::Endpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::SOON;

/// The 64 bytes that a peer of version 3.0 begins with.
pub(crate) fn greeting(mechanism: &[u8]) -> [u8; 64] {
    let mut bytes = [0; 64];
    (bytes[0], bytes[9], bytes[10]) = (0xff, 0x7f, 3);
    bytes[12..12 + mechanism.len()].copy_from_slice(mechanism);
    bytes
}

pub(crate) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let head = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_) => announced(flags, body.len() as u64),
    };
    [&head, body].concat()
}

/// The head of a frame that announces so much.
pub(crate) fn announced(flags: u8, bytes: u64) -> Vec<u8> {
    [vec![flags | 2], bytes.to_be_bytes().to_vec()].concat()
}

/// A connection on which nothing has been said.
pub(crate) async fn visit(to: &Endpoint) -> TcpStream {
    let address = (to.host().unwrap(), to.port().unwrap());
    within("a connection", SOON, TcpStream::connect(address)).await.unwrap()
}

/// A peer that has shaken hands, and from here on says whatever it likes.
pub(crate) async fn shaken(to: &Endpoint, socket: &[u8]) -> TcpStream {
    let mut peer = visit(to).await;
    let length = (socket.len() as u32).to_be_bytes();
    let ready = frame(4, &[b"\x05READY\x0bSocket-Type", &length[..], socket].concat());
    peer.write_all(&[&greeting(b"NULL")[..], &ready].concat()).await.unwrap();
    let mut theirs = [0; 66];
    within("a greeting", SOON, peer.read_exact(&mut theirs)).await.unwrap();
    let mut rest = vec![0; theirs[65].into()];
    within("a READY", SOON, peer.read_exact(&mut rest)).await.unwrap();
    peer
}
