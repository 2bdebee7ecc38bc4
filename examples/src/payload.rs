//! Payloads and results in MessagePack. The broker never looks inside, so this is an agreement between
//! those who submit and those who handle, and each kind may have another.

use std::io::Cursor;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value as bytes.
///
/// # Errors
/// When the value has a shape that MessagePack has not; the types of this crate have none.
pub fn pack<T: Serialize>(value: &T) -> anyhow::Result<Bytes> {
    Ok(rmp_serde::to_vec_named(value)?.into())
}

/// Bytes as a value.
///
/// # Errors
/// When the bytes are something else.
pub fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<T> {
    Ok(rmp_serde::from_slice(bytes)?)
}

/// Bytes as values that stand one after another. The first error ends them.
pub fn unpack_all<T: DeserializeOwned>(bytes: &[u8]) -> impl Iterator<Item = anyhow::Result<T>> {
    let mut rest = Some(Cursor::new(bytes));
    std::iter::from_fn(move || {
        let cursor = rest.as_mut().filter(|cursor| (cursor.position() as usize) < bytes.len())?;
        match rmp_serde::from_read(cursor) {
            Ok(value) => Some(Ok(value)),
            Err(error) => {
                rest = None;
                Some(Err(error.into()))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mandelbrot::{Picture, TileTask};

    #[test]
    fn a_task_comes_back_as_it_was() {
        let task = Picture::VALLEY.tasks(100)[7];
        assert_eq!(unpack::<TileTask>(&pack(&task).unwrap()).unwrap(), task);
        assert!(unpack::<TileTask>(b"no tile").is_err());
    }

    #[test]
    fn values_in_a_row_come_back_until_the_first_error() {
        let mut bytes = [pack(&"one").unwrap(), pack(&"two").unwrap()].concat();
        let values: Vec<String> = unpack_all(&bytes).map(Result::unwrap).collect();
        assert_eq!(values, ["one", "two"]);
        bytes.push(0xd9);
        assert_eq!(
            unpack_all::<String>(&bytes).map(|value| value.is_ok()).collect::<Vec<_>>(),
            [true, true, false]
        );
    }
}
