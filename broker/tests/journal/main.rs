//! The journal on disk: what it keeps, what it refuses, and that its bytes are those of
//! `docs/journal-format.md`.

mod crashes;
mod damage;
mod format;
mod store;
mod support;
mod values;
