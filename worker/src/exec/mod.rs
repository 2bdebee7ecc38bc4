//! Kinds that run a program of this machine for each task.
//!
//! Only what a local file lists is run, and no shell is between: a task chooses the kind and the bytes on
//! standard input, nothing else.
//!
//! ```toml
//! [kind."resize"]
//! argv = ["/usr/bin/convert", "-", "-resize", "50%", "png:-"]
//! timeout = "30s"          # the program is killed after this; default: the task's own run limit alone
//! output_max = "4MiB"      # largest result; default and most: 16MiB
//! env = { LANG = "C" }     # the environment is empty but for this
//! env_pass = ["PATH"]      # and for these variables of the worker
//! cwd = "/srv/images"      # default: an empty directory that is removed afterwards
//! ```
//! The placeholders `{task}`, `{attempt}` and `{kind}` may stand anywhere in the arguments after the first;
//! what replaces them never becomes more than a part of that one argument. The payload is the program's
//! standard input, its standard output is the result, and exit code 0 is success; anything else fails the
//! attempt with the end of standard error as its text. The program leads a process group of its own, and
//! the whole group is killed when it ends, when the task is cancelled or lost, or when its time is up. Where the
//! task belongs to a trace, `TRACEPARENT` and `TRACESTATE` are set in its environment.

mod config;
mod group;
mod run;
#[cfg(test)]
mod tests;

pub use config::{ExecError, Program, Programs};
