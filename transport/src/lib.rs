//! The only crate of Ganger that knows ZeroMQ: connections in and out, with bounded queues and explicit
//! loss.
//!
//! The rest of the system sees connections, never identities: a [`Server`] speaks of [`ConnId`]s that are
//! never used twice, a [`Connection`] is one conversation with one broker and is rebuilt by its owner when
//! it ends. What the traits promise, and no more:
//! - `Ok` from a send means accepted locally. Delivery is the protocol's business: ids, acknowledgements,
//!   leases, sending again.
//! - Order holds within one connection.
//! - [`ServerEvent::Up`] and [`ServerEvent::Down`] are hints: early and useful, sometimes missing.
//! - Nothing waits for a slow peer: its queue is bounded, what is in it counts until it is written, and
//!   whoever sends is told when it is full.
//!
//! Two backends: [`zmq`] over TCP and Unix sockets, and [`mem`], in-process, with faults on demand. Before a
//! TCP listener of [`zmq`] stands the [`door`], which checks every byte of a stranger before the library sees
//! it, and ends CURVE there; without it a listener is for loopback and for measuring.
//!
//! [`ConnId`]: ganger_common::ConnId

pub mod door;
mod endpoint;
mod error;
mod event;
mod held;
mod joined;
mod limits;
mod mailbox;
pub mod mem;
pub mod strain;
mod traits;
mod turns;
pub mod zmq;

pub use endpoint::{Endpoint, EndpointError};
pub use error::{BindError, Closed, ConnectError, PublishError, SendError};
pub use event::{Auth, DownReason, MalformedReason, PeerMeta, ServerEvent};
pub use joined::Joined;
pub use limits::{Limits, RECV_BYTES_MAX, raise_nofile_limit};
pub use traits::{Connection, Connector, Publisher, Server, Subscription};
pub use zmq::IoThread;
