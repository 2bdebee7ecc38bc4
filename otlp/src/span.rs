//! A span as this project makes it.

use ganger_common::{SpanId, TraceContext, TraceState};

/// What a span is to the one that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It happens within the system.
    Internal,
    /// It works off what the other handed in.
    Consumer,
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

/// Something that began and ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// The trace, and its own id.
    pub context: TraceContext,
    /// What goes with the trace.
    pub state: Option<TraceState>,
    /// The span that it belongs to.
    pub parent: SpanId,
    /// What people see.
    pub name: String,
    /// What it is to its parent.
    pub role: Role,
    /// When it began, in nanoseconds since 1970.
    pub began: u64,
    /// When it ended; not before it began.
    pub ended: u64,
    /// What went wrong, if something did.
    pub error: Option<String>,
    /// What else there is to know.
    pub attributes: Vec<(&'static str, Value)>,
}
