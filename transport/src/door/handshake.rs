//! What is said before the first message, with a peer and with the library.

use std::io;

use omq_proto::MechanismSetup;
use omq_proto::proto::connection::Connection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use super::counters::Breach;
use super::curve;
use super::keys::PublicKey;
use super::limits::DoorLimits;
use super::wire::{self, GREETING_BYTES, Header, Mechanism, SocketName};

/// Bytes that the commands of a CURVE handshake may have in all, beside the READY inside them: HELLO or
/// WELCOME, and what surrounds the metadata of INITIATE.
const CURVE_BYTES: usize = 600;

/// How a handshake with a stranger failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) breach: Breach,
    /// What the codec says of it, for the log.
    pub(super) detail: Option<String>,
}

impl From<Breach> for Failed {
    fn from(breach: Breach) -> Self {
        Self { breach, detail: None }
    }
}

impl From<io::Error> for Failed {
    fn from(_: io::Error) -> Self {
        Breach::Gone.into()
    }
}

/// Hears a peer that is not encrypted out, up to and with its READY. It is not answered yet: that is for
/// when the library has taken it.
pub(super) async fn plain(
    outer: &mut (impl AsyncRead + AsyncWrite + Unpin),
    socket: SocketName,
    limits: &DoorLimits,
) -> Result<(), Failed> {
    outer.write_all(&wire::greeting()).await?;
    read_greeting(outer, Mechanism::Null).await?;
    let ready = read_command(outer, limits.ready_bytes).await?;
    match wire::check_ready(&ready, socket) {
        Ok(()) => Ok(()),
        Err(breach) => {
            if breach == Breach::SocketType {
                outer.write_all(&wire::error("Invalid socket type")).await?;
            }
            Err(breach.into())
        }
    }
}

/// The peer's greeting, given up at the first byte that is wrong.
async fn read_greeting(
    from: &mut (impl AsyncRead + Unpin),
    mechanism: Mechanism,
) -> Result<[u8; GREETING_BYTES], Failed> {
    let mut greeting = [0; GREETING_BYTES];
    let mut filled = 0;
    while filled < GREETING_BYTES {
        match from.read(&mut greeting[filled..]).await {
            Ok(count @ 1..) => filled += count,
            // Whoever sees in our greeting that it speaks another mechanism hangs up by itself.
            Ok(_) | Err(_) if filled > 0 => {
                let detail = format!("it hung up in its greeting; here one speaks {}", mechanism.text());
                return Err(Failed { breach: Breach::Gone, detail: Some(detail) });
            }
            Ok(_) | Err(_) => return Err(Breach::Gone.into()),
        }
        wire::check_greeting(&greeting[..filled], mechanism)?;
    }
    Ok(greeting)
}

/// The body of a command, and not one byte of what follows it.
async fn read_command(from: &mut (impl AsyncRead + Unpin), most: usize) -> Result<Vec<u8>, Failed> {
    let mut bytes = [0; wire::HEADER_BYTES_MAX];
    let mut filled = 0;
    let header = loop {
        if let Some(header) = Header::read(&bytes[..filled]).map_err(|_| Breach::Ready)? {
            break header;
        }
        from.read_exact(&mut bytes[filled..=filled]).await?;
        filled += 1;
    };
    if !header.command || header.body > most as u64 {
        return Err(Breach::Ready.into());
    }
    let mut body = vec![0; header.body as usize];
    from.read_exact(&mut body).await?;
    Ok(body)
}

/// Goes through CURVE with a peer. As a server its last word, READY, is in the codec and not sent yet.
pub(super) async fn encrypted(
    outer: &mut (impl AsyncRead + AsyncWrite + Unpin),
    socket: SocketName,
    mechanism: MechanismSetup,
    limits: &DoorLimits,
) -> Result<(Connection, PublicKey), Failed> {
    // The codec costs memory, so it is made for those who speak CURVE at all. Its greeting has no secret in
    // it, and both sides send theirs at once.
    let mut codec = curve::codec(socket, mechanism, limits);
    flush(outer, &mut codec).await?;
    let greeting = read_greeting(outer, Mechanism::Curve).await?;
    feed(outer, &mut codec, &greeting).await?;
    let mut heard = 0;
    let mut bytes = vec![0; CURVE_BYTES + limits.ready_bytes];
    while !codec.is_ready() {
        flush(outer, &mut codec).await?;
        // No peer may say anything behind its last word: what comes after the handshake is read later.
        let count = match outer.read(&mut bytes).await? {
            0 => return Err(Breach::Gone.into()),
            count => count,
        };
        heard += count;
        if heard > CURVE_BYTES + limits.ready_bytes {
            return Err(Breach::Curve.into());
        }
        feed(outer, &mut codec, &bytes[..count]).await?;
    }
    let key = curve::peer_key(&mut codec).map(PublicKey::from_bytes);
    Ok((codec, key.ok_or(Breach::Curve)?))
}

async fn feed(
    outer: &mut (impl AsyncRead + AsyncWrite + Unpin),
    codec: &mut Connection,
    bytes: &[u8],
) -> Result<(), Failed> {
    if let Err(error) = codec.handle_input(bytes::Bytes::copy_from_slice(bytes)) {
        let breach = match &error {
            omq_proto::Error::HandshakeRefused(_) => Breach::Key,
            error => curve::breach(error),
        };
        // A peer is told why, if the codec has a word for it; it may be gone.
        let _ = flush(outer, codec).await;
        return Err(Failed { breach, detail: Some(error.to_string()) });
    }
    Ok(())
}

/// Sends what the codec has to say.
pub(super) async fn flush(
    outer: &mut (impl AsyncRead + AsyncWrite + Unpin),
    codec: &mut Connection,
) -> io::Result<()> {
    let bytes = codec.poll_transmit();
    outer.write_all(&bytes).await?;
    codec.advance_transmit(bytes.len());
    Ok(())
}

/// Introduces the door to the library as a socket of this type and identity.
pub(super) async fn inner(inner: &mut UnixStream, socket: SocketName, identity: &[u8]) -> Result<(), Failed> {
    let mut ours = wire::greeting().to_vec();
    ours.extend(wire::ready(socket, identity));
    inner.write_all(&ours).await?;
    let mut greeting = [0; GREETING_BYTES];
    inner.read_exact(&mut greeting).await?;
    read_command(inner, 1 << 10).await?;
    Ok(())
}
