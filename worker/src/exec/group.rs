//! A process group that does not outlive its owner.

use std::io;

use tokio::process::{Child, Command};

/// Lets a program die with its worker, even when the worker is killed and can do nothing about it: its
/// task runs elsewhere by then. What the program itself has started is beyond this.
///
/// The kernel means the thread that starts the program, so that must live as long as the worker: one of
/// the runtime's own, not one of those that come and go with blocking work.
#[allow(unsafe_code)] // Only code that runs between fork and exec can ask for the signal.
pub(super) fn die_with_worker(command: &mut Command) {
    let worker = std::process::id();
    // SAFETY: the closure makes two system calls, both allowed after a fork, and touches no memory of
    // another thread.
    unsafe {
        command.pre_exec(move || {
            #[cfg(target_os = "linux")]
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // A worker that died before the line above sends no signal any more.
            match libc::getppid() as u32 == worker {
                true => Ok(()),
                false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            }
        });
    }
}

/// Kills every process of a group when it is dropped.
#[derive(Debug)]
pub(super) struct Group(Option<libc::pid_t>);

impl Group {
    /// The group that a child leads. It must have been started as the leader of its own.
    pub(super) fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| libc::pid_t::try_from(id).ok()).filter(|id| *id > 1))
    }

    /// Kills the group now. Harmless when it is gone; called right after its leader was reaped, long
    /// before the number could be given to another group.
    pub(super) fn kill(&mut self) {
        if let Some(id) = self.0.take() {
            // SAFETY: sends a signal to a group that this process started; no memory is involved.
            #[allow(unsafe_code)] // The standard library has no face for signals to groups.
            unsafe {
                libc::kill(-id, libc::SIGKILL);
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
