//! The only crate of Ganger that knows ZeroMQ: connections in and out, with bounded queues and explicit loss.
