//! A Unix socket that only this process knows.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use uuid::Uuid;

/// Connections that wait to be accepted; a storm at the door must not fail here.
const BACKLOG: i32 = 1_024;

/// What the names of the directories begin with, and the name of the socket in each.
const PREFIX: &str = "ganger-door-";
const NAME: &str = "s";
const FIRST_NAME: &str = "s~";

/// What a process that was killed has left is removed when it is older than this.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// The place of such a socket; removed with this value. Its directory is the owner's alone, from before the
/// socket is in it.
#[derive(Debug)]
pub(crate) struct PrivateSocket {
    directory: PathBuf,
    path: PathBuf,
}

impl PrivateSocket {
    /// Listens on a new socket.
    pub(crate) fn listen() -> io::Result<(UnixListener, Self)> {
        static SWEPT: Once = Once::new();
        let base = base();
        SWEPT.call_once(|| sweep(&base));
        let (_, random) = Uuid::new_v4().as_u64_pair();
        let directory = base.join(format!("{PREFIX}{}-{random:016x}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&directory)?;
        let path = directory.join(NAME);
        let place = Self { directory, path };
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // The library removes what it finds under the first name when it stops to listen, which is before the
        // end: another of its sockets goes on.
        let first = place.directory.join(FIRST_NAME);
        socket.bind(&SockAddr::unix(&first)?)?;
        socket.listen(BACKLOG)?;
        fs::rename(&first, &place.path)?;
        Ok((socket.into(), place))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes what processes left behind that were killed: sockets that nobody answers at. Young ones are spared,
/// whose listener may be about to begin; those of other users cannot be removed.
fn sweep(base: &Path) {
    let is_old = |found: &fs::DirEntry| {
        let made = found.metadata().and_then(|found| found.modified()).ok();
        made.and_then(|made| made.elapsed().ok()).is_some_and(|age| age >= STALE_AFTER)
    };
    let Ok(found) = fs::read_dir(base) else { return };
    for found in found.flatten() {
        if !found.file_name().to_string_lossy().starts_with(PREFIX) || !is_old(&found) {
            continue;
        }
        let path = found.path().join(NAME);
        if UnixStream::connect(&path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            let _ = fs::remove_file(&path);
            let _ = fs::remove_dir(found.path());
        }
    }
}

/// Where sockets of a user live, else where anything temporary does.
fn base() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime.filter(|path| path.is_absolute() && path.is_dir()).unwrap_or_else(std::env::temp_dir)
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        // What cannot be removed is an empty place that nobody listens at.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_dir(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_its_owner_can_reach_it_and_nothing_stays() {
        let (listener, place) = PrivateSocket::listen().unwrap();
        let mode = fs::metadata(&place.directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(std::os::unix::net::UnixStream::connect(place.path()).is_ok());
        let directory = place.directory.clone();
        drop((listener, place));
        assert!(!directory.exists());
    }
}
