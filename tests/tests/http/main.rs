//! The HTTP side of a broker, as programs, operators, Prometheus and strangers meet it: real processes, and a
//! client that says exactly what a test wants said.

mod abuse;
mod batches;
mod conformance;
mod events;
mod house;
mod knowledge;
mod operating;
mod page;
mod pages;
mod refusals;
mod rights;
mod socket;
mod steps;
mod submitting;
mod tls;
mod tracing;
mod watching;
