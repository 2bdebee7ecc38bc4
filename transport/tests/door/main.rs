//! What the door withstands. The numbers S1 … S29 are those of the list of attacks in `docs/security.md`.
//!
//! The bytes that do harm are here and nowhere else.

mod crowds;
mod curve;
mod frames;
mod greetings;
mod readers;
mod rig;
mod subscribers;
