//! Who may do what: keys, their rights, their quotas.
//!
//! - `rights`: what a line of the file gives, and the one table of which message needs which role.
//! - `file`: the file of authorised keys.
//! - `ring`: the keys that hold now; a new reading of the file reaches every listener and the shell at once.
//! - `guard`: what the shell asks about every message. The principal is always that of the connection.
//! - `sight`: what its holder may watch.
//! - `usage`: what each principal has with the broker, for its quota.

mod file;
mod guard;
mod rights;
mod ring;
mod sight;
#[cfg(test)]
mod tests;
mod usage;

pub(crate) use guard::{Denied, Guard, Owners, QUOTA_RETRY};
pub(crate) use rights::Port;
pub use ring::{KeyFileError, KeyRing};
