//! Word counting as tasks: what is submitted, what a handler does with it, what comes back.
//!
//! `wordcount.map` takes a piece of text and returns its counts. `wordcount.reduce` takes any number of
//! counts, one after another, and returns their sum. Reducing goes in rounds, so that no task and no
//! process has to hold more than a few counts at a time.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ganger_client::{Client, NewTask};

use crate::gather::gather;
use crate::payload::{pack, unpack, unpack_all};
use crate::words::{self, Counts};

/// Counts one piece.
pub const MAP: &str = "wordcount.map";
/// Adds counts up.
pub const REDUCE: &str = "wordcount.reduce";

/// Counts that one reduce task adds up.
const REDUCE_FAN: usize = 16;
/// A reduce task takes no more counts once it has this many bytes of them; far below what a payload may be.
const REDUCE_BYTES: usize = 4 << 20;

/// The map tasks for some texts, cut into pieces of about `piece_bytes`.
pub fn map_tasks<'a>(texts: &'a [String], piece_bytes: usize) -> impl Iterator<Item = NewTask> + 'a {
    let kind: Arc<str> = MAP.into();
    let pieces = texts.iter().flat_map(move |text| words::pieces(text, piece_bytes));
    pieces.map(move |piece| NewTask::new(Arc::clone(&kind), Bytes::copy_from_slice(piece.as_bytes())))
}

/// How many reduce tasks `parts` counts lead to, as long as none is so large that fewer go together.
pub fn reduce_tasks(mut parts: usize) -> usize {
    let mut tasks = 0;
    while parts > 1 {
        parts = parts.div_ceil(REDUCE_FAN);
        tasks += parts;
    }
    tasks
}

/// Adds up the results of map tasks with reduce tasks; `on_step` hears of each task that is done.
///
/// # Errors
/// When a task does not succeed, or the broker is lost for good.
pub async fn reduce(
    client: &Client,
    mut counts: Vec<Bytes>,
    mut on_step: impl FnMut(),
) -> anyhow::Result<Counts> {
    while counts.len() > 1 {
        let tasks = groups(&counts).into_iter().map(|group| NewTask::new(REDUCE, group));
        let mut sums = Vec::new();
        gather(client, tasks, |_, sum| {
            sums.push(sum);
            on_step();
            Ok(())
        })
        .await?;
        counts = sums;
    }
    counts.pop().map_or(Ok(Counts::new()), |bytes| unpack(&bytes))
}

/// What the handler of [`MAP`] does.
///
/// # Errors
/// When the payload is no text.
pub fn map(piece: &[u8]) -> anyhow::Result<Bytes> {
    pack(&words::count(std::str::from_utf8(piece)?))
}

/// What the handler of [`REDUCE`] does.
///
/// # Errors
/// When the payload is not made of counts.
pub fn sum(counts: &[u8]) -> anyhow::Result<Bytes> {
    let mut sum = Counts::new();
    for part in unpack_all(counts) {
        words::merge(&mut sum, part?);
    }
    pack(&sum)
}

/// Puts counts together for reduce tasks: at least two each as long as there are two, so every round
/// leaves fewer.
fn groups(counts: &[Bytes]) -> Vec<Bytes> {
    let mut groups = Vec::new();
    let (mut group, mut members) = (BytesMut::new(), 0);
    for part in counts {
        let full = members >= REDUCE_FAN || (members >= 2 && group.len() + part.len() > REDUCE_BYTES);
        if full {
            groups.push(group.split().freeze());
            members = 0;
        }
        group.extend_from_slice(part);
        members += 1;
    }
    if members > 0 {
        groups.push(group.freeze());
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_reducing_end_in_the_plain_count() {
        let texts =
            ["one two two", "three three three", "two"].map(|text| format!("{text} ").repeat(40)).to_vec();
        let mut counts: Vec<Bytes> = map_tasks(&texts, 10).map(|task| map(task.payload()).unwrap()).collect();
        assert!(counts.len() > REDUCE_FAN);
        while counts.len() > 1 {
            counts = groups(&counts).iter().map(|group| sum(group).unwrap()).collect();
        }
        assert_eq!(unpack::<Counts>(&counts[0]).unwrap(), words::count(&texts.concat()));
    }

    #[test]
    fn large_counts_still_go_in_pairs() {
        let counts = vec![Bytes::from(vec![0; REDUCE_BYTES]); 5];
        let sizes: Vec<usize> = groups(&counts).iter().map(|group| group.len() / REDUCE_BYTES).collect();
        assert_eq!(sizes, [2, 2, 1]);
    }

    #[test]
    fn what_is_not_counts_is_an_error() {
        assert!(sum(b"\xff\xff").is_err() && map(b"\xff\xff").is_err());
    }
}
