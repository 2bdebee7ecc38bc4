//! Lists cut into messages.

use ganger_common::limits::{BATCH_BYTES_TARGET, BATCH_ITEMS_MAX};

/// Cuts a list so that no message holds too many items, and none takes another item once it has its fill
/// of bytes. An item that is larger than that stands alone or at the end.
pub(super) fn batches<T>(items: &[T], bytes_of: impl Fn(&T) -> usize) -> impl Iterator<Item = Batch<'_, T>> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let (mut count, mut bytes) = (0, 0);
        while count < rest.len() && count < BATCH_ITEMS_MAX && bytes < BATCH_BYTES_TARGET {
            bytes += bytes_of(&rest[count]);
            count += 1;
        }
        let (items, after) = rest.split_at(count);
        rest = after;
        (count > 0).then_some(Batch { items, bytes, left: after.len() })
    })
}

/// What goes into one message.
pub(super) struct Batch<'a, T> {
    pub(super) items: &'a [T],
    /// About how many bytes they take.
    pub(super) bytes: usize,
    /// How many items come after it.
    pub(super) left: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(items: &[usize]) -> Vec<usize> {
        batches(items, |bytes| *bytes).map(|batch| batch.items.len()).collect()
    }

    #[test]
    fn a_message_holds_no_more_than_the_limits() {
        assert!(cut(&[]).is_empty());
        assert_eq!(cut(&[1; BATCH_ITEMS_MAX]), [BATCH_ITEMS_MAX]);
        assert_eq!(cut(&[1; BATCH_ITEMS_MAX + 1]), [BATCH_ITEMS_MAX, 1]);
        assert_eq!(cut(&[BATCH_BYTES_TARGET - 1, 16 << 20, 1]), [2, 1]);
        assert_eq!(cut(&[16 << 20, 16 << 20]), [1, 1]);
    }
}
