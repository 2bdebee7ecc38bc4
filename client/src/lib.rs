//! The Ganger client: a library to submit and wait, and the command line.
