//! Runnable stories about Ganger, and the work that they distribute.
//!
//! Each program in `src/bin` begins with the commands that run it. What they share is here:
//!
//! - [`words`] and [`mandelbrot`]: the work itself, which knows nothing of brokers.
//! - [`wordcount`]: counting as map and reduce tasks; [`payload`]: how values travel; [`gather`]: many
//!   tasks at once; [`handlers`]: a worker for all of it.
//! - [`demo`]: the parts of `cargo demo`.

pub mod demo;
pub mod gather;
pub mod handlers;
pub mod mandelbrot;
pub mod payload;
pub mod wordcount;
pub mod words;
