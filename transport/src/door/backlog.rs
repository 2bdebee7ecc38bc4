//! What somebody did not take yet.

use std::io;

/// Bytes that somebody did not take yet.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    at: usize,
}

/// A backlog that is empty keeps no more memory than this.
const BACKLOG_KEEP: usize = 4 << 10;

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.at > 0 && self.at >= self.bytes.len() / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes what is there, and then this, as far as it is taken; the rest stays. Returns what was written.
    pub(super) fn write(
        &mut self,
        then: &[u8],
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<u64> {
        let mut written = 0;
        while self.len() > 0 {
            match write(&self.bytes[self.at..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.at += count;
                    written += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.push(then);
                    return Ok(written);
                }
                Err(error) => return Err(error),
            }
        }
        self.at = 0;
        self.bytes.clear();
        self.bytes.shrink_to(BACKLOG_KEEP);
        let mut rest = then;
        while !rest.is_empty() {
            match write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = &rest[count..];
                    written += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.push(rest);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_keeps_order_and_gives_its_memory_back() {
        let mut backlog = Backlog::default();
        let mut taken = Vec::new();
        let mut sent = Vec::new();
        for round in 0..1_000_u32 {
            let bytes = vec![round as u8; 300];
            sent.extend_from_slice(&bytes);
            let mut room = 250;
            backlog
                .write(&bytes, |bytes| match room {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => {
                        let count = bytes.len().min(room);
                        room -= count;
                        taken.extend_from_slice(&bytes[..count]);
                        Ok(count)
                    }
                })
                .unwrap();
            assert_eq!(backlog.len(), sent.len() - taken.len());
        }
        backlog
            .write(b"", |bytes| {
                taken.extend_from_slice(bytes);
                Ok(bytes.len())
            })
            .unwrap();
        assert!(taken == sent && backlog.bytes.capacity() <= BACKLOG_KEEP);
    }
}
