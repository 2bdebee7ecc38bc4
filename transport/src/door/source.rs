//! The one subscriber that the library knows: it reads everything, as it comes, into the spread.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::handshake;
use super::listener::{Phase, Service};
use super::spread::Spread;
use super::visit::connect_inner;
use super::wire::{self, Header};

/// A subscription to everything.
const ALL: &[u8] = &[1];
/// Room for what is read at a time.
const ROOM: usize = 64 << 10;
/// How soon it is tried again when the library, which is of this process, hangs up.
const PAUSE: Duration = Duration::from_millis(50);

/// Reads until the listener closes and the library has said everything.
pub(super) async fn gather(inner: PathBuf, spread: Arc<Spread>, mut phase: watch::Receiver<Phase>) {
    loop {
        tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase == Phase::Closed) => break,
            // Its end is the library's.
            _ = read(&inner, &spread) => {}
        }
        if *phase.borrow() != Phase::Open {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    spread.close();
}

async fn read(inner: &std::path::Path, spread: &Spread) -> io::Result<()> {
    let mut library = connect_inner(inner).await?;
    let (_, ours) = Service::Publications.sockets();
    let introduced = handshake::inner(&mut library, ours, b"").await;
    introduced.map_err(|failed| io::Error::other(failed.breach.name()))?;
    let mut subscription = Vec::new();
    wire::put_frame(&mut subscription, false, false, ALL);
    library.write_all(&subscription).await?;
    let mut bytes = BytesMut::new();
    loop {
        bytes.reserve(ROOM);
        if library.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        let mut whole = Vec::new();
        while let Some((size, topic)) = first_message(&bytes)? {
            // A copy: a piece of the buffer would keep all of it.
            whole.push((Bytes::copy_from_slice(&bytes.split_to(size)), topic));
        }
        if !whole.is_empty() {
            spread.push(whole.into_iter(), Instant::now());
        }
        if bytes.is_empty() {
            bytes = BytesMut::new();
        }
    }
}

/// The size of the first message, and where in it its first part is, once all of it is there.
fn first_message(bytes: &[u8]) -> io::Result<Option<(usize, Range<usize>)>> {
    let (mut at, mut topic) = (0, None);
    loop {
        let header = Header::read(&bytes[at..]).map_err(|breach| io::Error::other(breach.name()))?;
        let Some(header) = header else { return Ok(None) };
        let end = at.saturating_add(header.size).saturating_add(header.body as usize);
        if end > bytes.len() {
            return Ok(None);
        }
        let topic = topic.get_or_insert(at + header.size..end);
        if !header.more {
            return Ok(Some((end, topic.clone())));
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_once_all_of_it_is_there() {
        let mut bytes = Vec::new();
        for (more, part) in [(true, &b"topic"[..]), (true, b""), (false, &[7; 300])] {
            wire::put_frame(&mut bytes, more, false, part);
        }
        let size = bytes.len();
        assert!((0..size).all(|cut| first_message(&bytes[..cut]).unwrap().is_none()));
        bytes.extend_from_slice(b"\x00\x01x\x00");
        let (found, topic) = first_message(&bytes).unwrap().unwrap();
        assert_eq!((found, &bytes[topic]), (size, &b"topic"[..]));
        let (found, topic) = first_message(&bytes[size..]).unwrap().unwrap();
        assert_eq!((found, &bytes[size..][topic]), (3, &b"x"[..]));
    }
}
