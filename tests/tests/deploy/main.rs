//! What stands in `deploy/`, held against the programs that it is for and checked by the tools that read it.

mod names;
mod prometheus;
mod units;
