//! The HTTP side of a Ganger broker: a gateway that is a client of the broker like any other.
//!
//! It runs on threads of its own, knows nothing of the scheduler, and has no way round the protocol: what it may
//! do is what its clients may do. `docs/http.md` is the reference for those who use it.
//!
//! - [`Gateway`]: listens, serves, ends. `connection`: one connection, with its limits.
//! - [`House`], [`Visitor`]: who may come in, and as whom the broker sees them. `visitors`: their clients.
//! - `gate`: what every request passes. `body`, `packed`, `linger`: what it brings. `reply`, `refusal`: what it gets.
//! - [`Tls`]: the certificate. `handshake`: how strangers become encrypted.
//! - `api`: the routes, and their description. `model`: the shapes of bodies.
//! - [`feed`]: what happens in the broker, for whoever watches. `socket`: the conversation over a WebSocket.
//! - `page`: the page for people.
//! - `metrics`, `figures`, `exposition`: for Prometheus.
//! - [`limits`]: every maximum, with its reason.

mod api;
mod app;
mod body;
mod connection;
mod exposition;
pub mod feed;
mod figures;
mod gate;
mod gateway;
mod handshake;
mod house;
pub mod limits;
mod linger;
mod metrics;
mod model;
mod packed;
mod page;
mod params;
mod refusal;
mod reply;
mod socket;
mod tls;
mod traced;
mod visitors;

pub use api::description;
pub use gateway::Gateway;
pub use house::{Fingerprint, House, TOKEN_BYTES_MAX, Visitor, fingerprint};
pub use refusal::status_of;
pub use tls::{Tls, TlsError};
