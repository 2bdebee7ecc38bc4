//! A process group that does not outlive its owner.

use tokio::process::Child;

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
