//! Runnable stories about Ganger, and the work that they distribute.
//!
//! Each program in `src/bin` begins with the commands that run it. What they share is here:
//!
//! - [`words`] and [`mandelbrot`]: the work itself, which knows nothing of brokers.

pub mod mandelbrot;
pub mod words;
