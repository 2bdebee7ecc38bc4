//! The scheduler from outside: inputs in, effects out, nothing else.

mod support;

mod submitting;
