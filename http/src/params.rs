//! What stands in the path and in the query.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::limits::WAIT_MAX;
use crate::refusal::Refusal;

/// The parameters of a query.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(Refusal::bad_option(error.body_text())),
        }
    }
}

/// The variable segments of a path.
pub(crate) struct Segments<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(error) => Err(Refusal::bad_option(error.body_text())),
        }
    }
}

/// A span of time as people write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span = humantime::parse_duration(&text);
        span.map(Self).map_err(|_| D::Error::custom("write a time such as 500ms, 10s or 1m 30s"))
    }
}

impl Span {
    /// The same as a time to wait.
    pub(crate) fn wait(self) -> Result<Duration, Refusal> {
        match self.0 <= WAIT_MAX {
            true => Ok(self.0),
            false => Err(Refusal::bad_option(format!(
                "wait: at most {} are allowed",
                humantime::format_duration(WAIT_MAX)
            ))),
        }
    }
}
