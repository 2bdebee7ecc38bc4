//! How large a scenario is run.

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The size of a scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// Small enough for every commit on two cores.
    Quick,
    /// As it stands in the list of what must hold.
    Full,
}

impl Scale {
    /// `GANGER_SCALE=full` asks for the full size.
    ///
    /// # Panics
    /// On any other value, rather than running something that nobody asked for.
    pub fn from_env() -> Self {
        match std::env::var("GANGER_SCALE").as_deref() {
            Err(_) | Ok("" | "quick") => Self::Quick,
            Ok("full") => Self::Full,
            Ok(other) => panic!("GANGER_SCALE={other}: allowed are quick and full"),
        }
    }

    /// One of two values.
    pub fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

static MACHINE: RwLock<()> = RwLock::new(());

/// The right to use the machine, together with others or alone; see [`shared`] and [`alone`].
#[derive(Debug)]
pub struct Turn {
    _shared: Option<RwLockReadGuard<'static, ()>>,
    _alone: Option<RwLockWriteGuard<'static, ()>>,
}

/// For a scenario that is about what happens: it may run beside others.
pub fn shared() -> Turn {
    Turn { _shared: Some(MACHINE.read().unwrap_or_else(std::sync::PoisonError::into_inner)), _alone: None }
}

/// For a scenario that is about how long something takes: nothing else runs meanwhile.
pub fn alone() -> Turn {
    Turn { _shared: None, _alone: Some(MACHINE.write().unwrap_or_else(std::sync::PoisonError::into_inner)) }
}
