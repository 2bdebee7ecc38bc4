//! The leader's brain of Ganger: a scheduler that is a value, with no I/O, no clock and no randomness.
