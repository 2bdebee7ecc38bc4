//! The Ganger worker: a library of handlers and the stock worker binary.
//!
//! [`Worker::builder`] puts a worker together from handlers; [`Worker::run`] connects it to a broker and
//! runs tasks until it is asked to stop. From the outside in:
//! - [`Builder`], [`Worker`], [`WorkerHandle`], [`Stopped`]: what a program uses.
//! - [`Task`], [`Context`], [`HandlerError`], [`replica::Knowledge`]: what a handler sees.
//! - [`builtin`], [`exec`]: what the stock binary serves.
//! - [`Engine`]: threads, for programs that run many workers. [`otlp`]: where spans go.
//! - [`session`], [`replica`]: the worker's side of the protocol as values without I/O, which a simulator
//!   can drive.

mod builder;
pub mod builtin;
mod engine;
mod error;
pub mod exec;
mod executor;
mod handler;
mod host;
mod lone;
mod maybe;
#[cfg(feature = "planted")]
pub mod planted;
mod random;
pub mod replica;
pub mod session;
mod shared;
mod shell;
mod spans;
mod task;
pub mod time;
mod worker;

pub use builder::{Builder, DEFAULT_BROKER};
pub use engine::Engine;
pub use error::{HandlerError, WorkerError};
pub use ganger_otlp as otlp;
pub use replica::Knowledge;
pub use session::StopReason;
pub use task::{Context, FencingToken, Task};
pub use worker::{Stopped, Worker, WorkerHandle};
