//! Large values leave the memory once the journal has them.
//!
//! A payload or result that is large enough is noted when its record is appended. When the record is safe,
//! the task that still has exactly these bytes is given their name instead. When the state is carried the
//! journal copies the bytes into the new record, and the task is given the new name in the same way, so that
//! nothing is named by a record that is about to go: whatever was appended before the carrying began is safe
//! by the time the first part is carried, and every part is safe before the end of it is told.

use std::collections::VecDeque;

use ganger_common::TaskId;
use ganger_common::message::Durability;

use crate::data::{Data, Stored};
use crate::record::{Lsn, Record};
use crate::scheduler::Scheduler;

/// Large values whose records are not safe yet, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Unnamed {
    values: VecDeque<(Lsn, TaskId, Noted)>,
}

/// One of them.
#[derive(Debug)]
struct Noted {
    index: u32,
    /// What the task had when the record was appended. Holding on to it costs nothing, since the record
    /// holds on to it as well, and keeps its place in memory from being used for other bytes.
    data: Data,
}

impl Scheduler {
    /// Writes a fact down that is part of the state already.
    pub(crate) fn append(&mut self, record: Record) -> Lsn {
        if self.config.durability == Durability::Journal && self.config.stored_min < usize::MAX {
            self.note_values(Lsn(self.out.appended().0 + 1), &record);
        }
        self.out.append(record)
    }

    fn note_values(&mut self, lsn: Lsn, record: &Record) {
        let is_large = |data: &Data| data.len() >= self.config.stored_min.max(1);
        let noted = record.values().filter(|(_, data)| is_large(data)).map(|(index, data)| {
            let noted = Noted { index, data: data.clone() };
            (lsn, task_at(record, index), noted)
        });
        self.unnamed.values.extend(noted);
    }

    /// Names the values that the journal has.
    pub(crate) fn name_values(&mut self) {
        let safe = self.out.safe();
        while let Some((lsn, task, noted)) = self.unnamed.values.pop_front_if(|(lsn, ..)| *lsn <= safe) {
            let Some(key) = self.arena.find(task) else { continue };
            let data = &mut self.arena[key].data;
            if data.is_same(&noted.data) {
                // A value is no longer than a message.
                let len = data.len() as u32;
                *data = Data::Stored(Stored { lsn, index: noted.index, len });
            }
        }
    }
}

/// Whose value stands there.
fn task_at(record: &Record, index: u32) -> TaskId {
    let place = index as usize;
    match record {
        Record::Accepted { tasks, .. } => tasks[place].id,
        Record::Settled { tasks, .. } => tasks[place].task,
        Record::CarriedTasks(tasks) => tasks[place / 2].task.id,
        _ => unreachable!("no other record has values"),
    }
}
