//! The Ganger broker: the shell around the scheduler.
