//! The scheduler from outside: inputs in, effects out, nothing else.

mod support;

mod cancelling;
mod carrying;
mod clients;
mod credit;
mod discarding;
mod dispatching;
mod draining;
mod explaining;
mod fencing;
mod forgetting;
mod inheriting;
mod knowing;
mod packing;
mod pausing;
mod promising;
mod random;
mod recarrying;
mod restarting;
mod retaining;
mod retrying;
mod sessions;
mod storing;
mod streams;
mod submitting;
mod timers;
mod timing;
mod tracing;
mod turns;
mod watching;
