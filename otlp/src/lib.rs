//! Spans of tasks, and their way to a collector.
//!
//! Brokers and workers that are told to export make a [`Span`] for each task, or for each attempt, that belongs
//! to a sampled trace, and [offer](Exporter::offer) it. That never waits: what finds the queue full is dropped and
//! counted. A thread of its own sends what has gathered as OTLP, protobuf over HTTP.
//!
//! 1. [`Exporter::start`] at the address of a collector.
//! 2. [`Exporter::offer`], from any thread.
//! 3. [`Sending::finish`] at the end: what waits is sent, for a short while.

mod collector;
mod exporter;
mod proto;
mod span;

pub use collector::{Collector, CollectorError, SpansTo};
pub use exporter::{Counts, Exporter, FINISH_WITHIN, QUEUE_SPANS_MAX, Sending};
pub use span::{Role, Span, Value};
