//! The Ganger worker: a library of handlers and the stock worker binary.
