//! The client of Ganger: submit tasks to a broker and wait for what becomes of them.
//!
//! ```no_run
//! use ganger_client::{Client, ClientConfig, DEFAULT_ENDPOINT, NewTask};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(ClientConfig::new(DEFAULT_ENDPOINT.parse()?)).await?;
//! let mut task = client.submit(NewTask::new("echo", "hello")).await?;
//! let outcome = task.outcome().await?;
//! println!("{}: {:?}", outcome.outcome, outcome.result);
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! - [`Client`]: submit, wait, cancel, ask. It reconnects by itself and hands in again what was not
//!   acknowledged; `submit` waits when too much is under way.
//! - [`pipe`](Client::pipe) and [`submit_batch`](Client::submit_batch): tasks by the thousand.
//! - [`Knowledge`]: the versioned map that the broker leads.
//! - [`blocking`]: the same for programs without a runtime.
//! - [`session`]: the conversation itself, a value without socket and clock.
//! - [`json`]: JSON outside, MessagePack on the wire.

pub mod blocking;
mod broadcast;
mod client;
mod desk;
mod driver;
pub mod error;
mod events;
mod handle;
mod ids;
pub mod json;
mod knowledge;
mod pipe;
mod places;
#[cfg(feature = "planted")]
pub mod planted;
mod requests;
pub mod session;
mod task;

pub use broadcast::{Broadcast, Broadcasts};
pub use client::{Client, ClientConfig, DEFAULT_ENDPOINT};
pub use desk::LinkState;
pub use error::{Error, Result};
pub use events::{EVENTS_MAX, EventStream, Followed};
pub use handle::{TaskHandle, as_completed};
pub use knowledge::{Knowledge, KnowledgeWatch, Learned};
pub use pipe::{PipeConfig, PipeItem, PipeReceiver, PipeSender};
pub use requests::Page;
pub use session::request::{Change, DiscardQuery, Entry, Refused, TaskQuery};
pub use session::{Broker, TaskEvent};
pub use task::{NewTask, TaskOutcome};
