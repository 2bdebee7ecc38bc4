//! The trace that a request belongs to, as its headers say.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use ganger_common::Trace;
use utoipa::IntoParams;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The headers of [W3C Trace Context](https://www.w3.org/TR/trace-context/). One that is malformed is as good
/// as none, as the specification asks: whoever traces must not break what is traced.
pub(crate) struct Traced(pub(crate) Option<Trace>);

impl<S: Sync> FromRequestParts<S> for Traced {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(trace(&parts.headers)))
    }
}

fn trace(headers: &HeaderMap) -> Option<Trace> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let context = parents.next()?.to_str().ok()?.trim().parse().ok()?;
    if parents.next().is_some() {
        return None; // Nobody can tell which is meant.
    }
    let states: Option<Vec<&str>> =
        headers.get_all(TRACESTATE).iter().map(|state| state.to_str().ok()).collect();
    Some(Trace { context, state: states.and_then(|states| states.join(",").parse().ok()) })
}

/// The headers as they are described.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)] // Only described.
pub(crate) struct TraceParams {
    /// The span that the tasks come from, as W3C Trace Context has it; ignored when it is malformed.
    traceparent: Option<String>,
    /// What goes with it.
    tracestate: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(lines: &[(HeaderName, &str)]) -> Option<Trace> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        trace(&headers)
    }

    #[test]
    fn the_headers_of_a_request_name_its_span() {
        let found = read(&[(TRACEPARENT, PARENT), (TRACESTATE, "a=1"), (TRACESTATE, "b=2")]).unwrap();
        assert_eq!(found.context.to_string(), PARENT);
        assert_eq!(found.state.unwrap().as_str(), "a=1,b=2");
    }

    #[test]
    fn headers_that_are_malformed_are_ignored() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[(TRACESTATE, "a=1")]), None);
        assert_eq!(read(&[(TRACEPARENT, "00-nonsense")]), None);
        assert_eq!(read(&[(TRACEPARENT, PARENT), (TRACEPARENT, PARENT)]), None);
        let long = "x".repeat(513);
        assert_eq!(read(&[(TRACEPARENT, PARENT), (TRACESTATE, &long)]).unwrap().state, None);
    }
}
