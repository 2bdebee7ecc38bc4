//! How answers are written.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::refusal::Refusal;

/// How something is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Json,
    MessagePack,
    /// The bytes themselves, where there are some.
    Bytes,
}

impl Format {
    /// The first of the types that somebody names and that there is; JSON for whoever names none.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let named = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
        named.flat_map(|value| value.split(',')).find_map(Self::named).unwrap_or(Self::Json)
    }

    /// The format behind the name of a type.
    pub(crate) fn named(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        if is("application/json") {
            return Some(Self::Json);
        }
        if is("application/octet-stream") {
            return Some(Self::Bytes);
        }
        ["application/msgpack", "application/x-msgpack", "application/vnd.msgpack"]
            .into_iter()
            .any(is)
            .then_some(Self::MessagePack)
    }

    /// Writes an answer.
    pub(crate) fn reply<T: Serialize>(self, status: StatusCode, body: &T) -> Response {
        let (bytes, kind) = match self {
            Self::MessagePack => (rmp_serde::to_vec_named(body).map_err(|_| ()), "application/msgpack"),
            Self::Json | Self::Bytes => (serde_json::to_vec(body).map_err(|_| ()), "application/json"),
        };
        match bytes {
            Ok(bytes) => of_bytes(status, kind, bytes),
            // Our own shapes always encode; but whoever asks gets an answer in any case.
            Err(()) => Refusal::unreachable("the answer could not be written").into_response(),
        }
    }
}

/// An answer that consists of these bytes.
pub(crate) fn of_bytes(status: StatusCode, kind: &'static str, bytes: impl Into<Body>) -> Response {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(text: &str) -> Format {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, text.parse().unwrap());
        Format::accepted(&headers)
    }

    #[test]
    fn the_first_type_that_there_is_decides() {
        assert_eq!(accepted("text/html, application/msgpack;q=0.9, application/json"), Format::MessagePack);
        assert_eq!(accepted("*/*"), Format::Json);
        assert_eq!(accepted("Application/Octet-Stream"), Format::Bytes);
        assert_eq!(Format::accepted(&HeaderMap::new()), Format::Json);
    }
}
