//! What goes in and what comes out, exactly.

mod asking;
mod chaos;
mod link;
mod rig;
mod submitting;
mod timers;
mod watching;
