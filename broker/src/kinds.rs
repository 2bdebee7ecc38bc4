//! One shared name for each kind, so that a million tasks of a kind carry a pointer and not a text each.

use std::collections::HashSet;
use std::sync::Arc;

/// Names seen lately.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    last: Option<Arc<str>>,
    names: HashSet<Arc<str>>,
}

/// Names that are remembered. Beyond it the cache starts anew; the scheduler has its own table.
const NAMES_MAX: usize = 4_096;

impl Kinds {
    pub(crate) fn name(&mut self, name: &str) -> Arc<str> {
        // Batches are mostly of one kind.
        if let Some(last) = &self.last
            && **last == *name
        {
            return last.clone();
        }
        let shared = match self.names.get(name) {
            Some(known) => known.clone(),
            None => {
                if self.names.len() >= NAMES_MAX {
                    self.names.clear();
                }
                let new: Arc<str> = name.into();
                self.names.insert(new.clone());
                new
            }
        };
        self.last = Some(shared.clone());
        shared
    }
}
