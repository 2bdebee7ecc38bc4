//! The whole system as real processes, with faults, under a log of its own.
//!
//! A run goes through two phases. In the first, several clients hand in tasks of many kinds, cancel some,
//! hand some in twice and wait for all, while a *nemesis* kills, freezes and cuts off whatever its profile
//! names. In the second, all faults end, and everything that was acknowledged must settle within a bound.
//! Then the *judge* holds together what the clients were told and what the workers wrote down; it never asks
//! the broker's counters. A run in which a fault of its profile did not happen proves nothing, and fails.
//!
//! Read in this order:
//!
//! - [`settings`]: what a run is asked to be.
//! - [`workload`]: the tasks, and what each may end as. [`clientele`]: the clients that hand them in.
//! - [`ledger`]: all that the clients asked for and were told.
//! - [`stage`]: broker, workers, and a proxy on every way between two of them.
//! - [`fault`], [`trouble`], [`nemesis`]: what happens to them. [`incidents`]: when it did, and what it explains.
//! - [`topics`]: the knowledge that is written meanwhile.
//! - [`judge`]: the verdict. [`report`]: the figures.
//! - [`mod@run`]: a run from its beginning to its end.

pub mod clientele;
pub mod fault;
pub mod incidents;
pub mod judge;
pub mod ledger;
pub mod nemesis;
pub mod report;
pub mod run;
pub mod settings;
pub mod stage;
pub mod topics;
pub mod trouble;
pub mod workload;

pub use report::Report;
pub use run::{Moment, run};
pub use settings::{Durability, Profile, Settings};
