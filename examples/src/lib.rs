//! Runnable stories about Ganger, the example client among them.
