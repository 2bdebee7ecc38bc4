//! The one thread that starts every process.
//!
//! A child asks the kernel for a SIGKILL when its parent dies, so that nothing is left behind even when the
//! test itself is killed. The kernel means the parent *thread*: a child that a test's own thread started
//! would die with that test although the process goes on. This thread lives as long as the process.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};

type Order = (Command, Sender<io::Result<Child>>);

/// Starts a process in a process group of its own, tied to the life of this one.
///
/// # Errors
/// When the system cannot start it.
pub(crate) fn spawn(mut command: Command) -> io::Result<Child> {
    static NURSERY: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    command.process_group(0);
    die_with_parent(&mut command);
    let (reply, child) = channel();
    NURSERY
        .get_or_init(|| Mutex::new(start()))
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, reply))
        .map_err(|_| io::Error::other("the nursery has ended"))?;
    child.recv().map_err(|_| io::Error::other("the nursery has ended"))?
}

fn start() -> Sender<Order> {
    let (orders, waiting) = channel::<Order>();
    std::thread::Builder::new()
        .name("nursery".to_owned())
        .spawn(move || {
            for (mut command, reply) in waiting {
                let _ = reply.send(command.spawn());
            }
        })
        .expect("a test that cannot start a thread cannot go on");
    orders
}

#[allow(unsafe_code)] // Only code that runs between fork and exec can ask for the signal.
fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: the closure makes two system calls, both allowed after a fork, and touches no memory of
    // another thread.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // A parent that died before the line above sends no signal any more.
            if libc::getppid() as u32 != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}
