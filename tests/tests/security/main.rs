//! A broker with keys, as operators, workers and clients meet it: real processes, ours and libzmq's.

mod house;
mod interop;
mod list;
mod memory;
mod quotas;
mod revoking;
mod secrets;
mod strangers;
