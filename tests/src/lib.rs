//! The harness, simulator and end-to-end tests of Ganger.
