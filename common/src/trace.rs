//! The trace that a task belongs to, in the words of [W3C Trace Context](https://www.w3.org/TR/trace-context/).
//!
//! A submitter that traces names its own span with the task. It travels as the text of a `traceparent` header,
//! through the queue, the journal and every attempt, so that whatever the handler calls can be told to belong
//! to the same trace. The broker decides nothing by it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{Attempt, Epoch, TaskId};
use crate::limits::TRACE_STATE_BYTES_MAX;

/// What is wrong with a text that should be of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TraceError {
    /// A `traceparent` of another length.
    #[error("a traceparent has 55 characters: 00-<32 hex digits>-<16 hex digits>-<2 hex digits>")]
    Length,
    /// The parts are not where they must be.
    #[error("the parts of a traceparent are parted by dashes")]
    Dashes,
    /// A version that this build does not know.
    #[error("the version of a traceparent is 00")]
    Version,
    /// A character that is no lower-case hexadecimal digit.
    #[error("the ids and the flags of a traceparent are lower-case hexadecimal digits")]
    Digit,
    /// The trace has no id.
    #[error("a trace id of zeros means none")]
    NoTrace,
    /// The span has no id.
    #[error("a span id of zeros means none")]
    NoSpan,
    /// A `tracestate` that is empty, too long or not printable.
    #[error("a tracestate has 1 to 512 printable characters of ASCII")]
    State,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident[$bytes:literal], $none:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// The id of these bytes; none when all are zero.
            pub fn from_bytes(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = TraceError;

            fn from_str(text: &str) -> Result<Self, TraceError> {
                Self::from_bytes(hex(text.as_bytes())?).ok_or(TraceError::$none)
            }
        }

        as_text!($name);
    };
}

/// Serialises as the text of `Display`, and reads what `FromStr` takes.
macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id! {
    /// A trace, named by whoever began it.
    TraceId[16], NoTrace
}
hex_id! {
    /// One span of a trace.
    SpanId[8], NoSpan
}

impl SpanId {
    /// The span of one attempt, the same for whoever asks: nobody has to draw it or send it. Attempt 0 is the
    /// task as a whole.
    pub fn of(task: TaskId, epoch: Epoch, attempt: Attempt) -> Self {
        let (high, low) = task.0.as_u64_pair();
        let mut word = mix(u64::from(attempt.0));
        for next in [epoch.0, low, high] {
            word = mix(word ^ next);
        }
        Self(word.max(1).to_be_bytes())
    }
}

/// The finish of SplitMix64: each bit in changes half of the bits out.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The span that a task comes from: a `traceparent` of version 00.
///
/// ```
/// use ganger_common::{SpanId, TraceContext};
///
/// let submitter: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?;
/// assert!(submitter.is_sampled());
/// let span: SpanId = "00f067aa0ba902b7".parse()?;
/// let own = submitter.child(span);
/// assert_eq!(own.to_string(), "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01");
/// # Ok::<(), ganger_common::TraceError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: TraceId,
    span: SpanId,
    flags: u8,
}

impl TraceContext {
    /// Stands for a text of a peer that was none, until the option is refused by its name. Never leaves
    /// [`TaskOptions`](crate::TaskOptions) that were not checked.
    const MALFORMED: Self = Self { trace: TraceId([0; 16]), span: SpanId([0; 8]), flags: 0 };

    /// A span of a trace, and the flags as they stand in a `traceparent`.
    pub const fn new(trace: TraceId, span: SpanId, flags: u8) -> Self {
        Self { trace, span, flags }
    }

    /// The trace.
    pub const fn trace_id(&self) -> TraceId {
        self.trace
    }

    /// The span that the next one has as its parent.
    pub const fn span_id(&self) -> SpanId {
        self.span
    }

    /// The flags, of which the lowest says whether the trace is recorded.
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether whoever began the trace records it.
    pub const fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The same trace, one span further.
    #[must_use]
    pub const fn child(&self, span: SpanId) -> Self {
        Self { span, ..*self }
    }

    pub(crate) fn is_malformed(&self) -> bool {
        *self == Self::MALFORMED
    }
}

impl FromStr for TraceContext {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        let text: &[u8; 55] = text.as_bytes().try_into().map_err(|_| TraceError::Length)?;
        if [2, 35, 52].into_iter().any(|place| text[place] != b'-') {
            return Err(TraceError::Dashes);
        }
        if &text[..2] != b"00" {
            return Err(TraceError::Version);
        }
        let [flags] = hex(&text[53..])?;
        let trace = TraceId::from_bytes(hex(&text[3..35])?).ok_or(TraceError::NoTrace)?;
        let span = SpanId::from_bytes(hex(&text[36..52])?).ok_or(TraceError::NoSpan)?;
        Ok(Self { trace, span, flags })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({self})")
    }
}

as_text!(TraceContext);

/// What tracing systems say to each other beside the ids: a `tracestate`. Nobody here looks into it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TraceState(Arc<str>);

impl TraceState {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_malformed(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for TraceState {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        // It becomes a header or a variable again, where other characters would have a meaning.
        let is_text = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        match is_text && (1..=TRACE_STATE_BYTES_MAX).contains(&text.len()) {
            true => Ok(Self(text.into())),
            false => Err(TraceError::State),
        }
    }
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

as_text!(TraceState);

/// What travels with an attempt at a task that has a trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The span that it comes from.
    pub context: TraceContext,
    /// What goes with that.
    pub state: Option<TraceState>,
}

/// Reads an option of a trace. A text that is none is no damage to the message: the option is refused by its
/// name, and the other tasks of the message are not. For `deserialize_with`.
///
/// # Errors
/// When it is no text at all.
pub fn claimed<'de, D: Deserializer<'de>, T: Claimed>(deserializer: D) -> Result<Option<T>, D::Error> {
    let text = <Option<std::borrow::Cow<'_, str>>>::deserialize(deserializer)?;
    Ok(text.map(|text| text.parse().unwrap_or_else(|_| T::malformed())))
}

/// Has a value that stands for a text that was none.
pub trait Claimed: FromStr {
    /// That value.
    fn malformed() -> Self;
}

impl Claimed for TraceContext {
    fn malformed() -> Self {
        Self::MALFORMED
    }
}

impl Claimed for TraceState {
    fn malformed() -> Self {
        Self("".into())
    }
}

fn hex<const N: usize>(digits: &[u8]) -> Result<[u8; N], TraceError> {
    if digits.len() != 2 * N {
        return Err(TraceError::Length);
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(TraceError::Digit),
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
