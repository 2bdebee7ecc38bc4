//! How much may be handed in and not acknowledged.
//!
//! The session counts what is inside; whoever feeds it waits outside until [`Effect::Room`] says that
//! something has left.
//!
//! [`Effect::Room`]: super::Effect::Room

/// A task of many bytes takes more of the window than a small one. Counted in units of this many bytes, so
/// that a window fits the 32-bit counts of a semaphore.
const UNIT: usize = 64;
/// What a task takes beside its payload: ids, kind, options.
const OVERHEAD: usize = 64;

/// Units that a payload of so many bytes takes.
pub(crate) fn units(payload_bytes: usize) -> usize {
    (payload_bytes + OVERHEAD).div_ceil(UNIT)
}

/// Units in a window of so many bytes.
pub(crate) fn units_max(window_bytes: usize) -> usize {
    (window_bytes / UNIT).max(1)
}

/// What is inside.
#[derive(Debug)]
pub(super) struct Window {
    tasks: usize,
    units: usize,
    tasks_max: usize,
    units_max: usize,
    freed_tasks: usize,
    freed_units: usize,
}

impl Window {
    pub(super) fn new(tasks_max: usize, bytes_max: usize) -> Self {
        let (tasks_max, units_max) = (tasks_max.max(1), units_max(bytes_max));
        Self { tasks: 0, units: 0, tasks_max, units_max, freed_tasks: 0, freed_units: 0 }
    }

    /// What one task takes: never more than the whole window, so that it fits an empty one.
    fn cost(&self, payload_bytes: usize) -> usize {
        units(payload_bytes).min(self.units_max)
    }

    /// Takes a task in if it fits.
    pub(super) fn enter(&mut self, payload_bytes: usize) -> bool {
        let units = self.cost(payload_bytes);
        let fits = self.tasks < self.tasks_max && self.units + units <= self.units_max;
        if fits {
            self.tasks += 1;
            self.units += units;
        }
        fits
    }

    /// Lets a task out.
    pub(super) fn leave(&mut self, payload_bytes: usize) {
        let units = self.cost(payload_bytes);
        self.tasks -= 1;
        self.units -= units;
        self.freed_tasks += 1;
        self.freed_units += units;
    }

    /// What has left since this was asked the last time: tasks and units.
    pub(super) fn take_freed(&mut self) -> Option<(usize, usize)> {
        let freed = (std::mem::take(&mut self.freed_tasks), std::mem::take(&mut self.freed_units));
        (freed.0 > 0).then_some(freed)
    }

    /// Tasks inside.
    pub(super) fn tasks(&self) -> usize {
        self.tasks
    }

    /// How many more small tasks fit.
    pub(super) fn room(&self) -> usize {
        self.tasks_max.saturating_sub(self.tasks).min(self.units_max.saturating_sub(self.units))
    }
}
