//! The protocol version and the one rule of compatibility.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What this build speaks.
pub const PROTOCOL: Version = Version { major: 1, minor: 0 };

/// A protocol version: peers of the same major version understand each other.
///
/// Within one major version fields and messages may be added, never changed or removed: unknown fields
/// are ignored, unknown messages are answered with an error and change nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(from = "(u16, u16)", into = "(u16, u16)")]
pub struct Version {
    /// Raised when an old peer could misread a message.
    pub major: u16,
    /// Raised when something was added.
    pub minor: u16,
}

impl Version {
    /// Whether a peer that speaks `other` can be served.
    pub const fn accepts(self, other: Self) -> bool {
        self.major == other.major
    }
}

impl From<(u16, u16)> for Version {
    fn from((major, minor): (u16, u16)) -> Self {
        Self { major, minor }
    }
}

impl From<Version> for (u16, u16) {
    fn from(version: Version) -> Self {
        (version.major, version.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
