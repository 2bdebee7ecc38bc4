//! What is answered when something is not done.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ganger_client::Error;
use ganger_common::ErrorCode;

use crate::model::Problem;
use crate::reply::Format;

/// When something is worth another try that names no time itself.
const RETRY: Duration = Duration::from_secs(1);

/// A refusal: of the broker, or of the gateway.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:ident;)+) => {
        /// Refusals of the gateway itself.
        impl Refusal {
            $($(#[$doc])* pub(crate) fn $name(message: impl Into<String>) -> Self {
                Self { status: StatusCode::$status, code: $code, message: message.into(), retry_after: None }
            })+
        }

        /// The codes of the gateway itself, with the status of each.
        const OWN: &[(&str, StatusCode)] = &[$(($code, StatusCode::$status)),+];
    };
}

refusals! {
    bad_message = "bad_message", BAD_REQUEST;
    bad_option = "bad_option", BAD_REQUEST;
    unauthenticated = "unauthenticated", UNAUTHORIZED;
    denied = "denied", FORBIDDEN;
    foreign = "foreign", FORBIDDEN;
    no_route = "no_route", NOT_FOUND;
    not_found = "not_found", NOT_FOUND;
    wrong_method = "wrong_method", METHOD_NOT_ALLOWED;
    slow_body = "slow_body", REQUEST_TIMEOUT;
    too_large = "too_large", PAYLOAD_TOO_LARGE;
    too_many = "too_many", PAYLOAD_TOO_LARGE;
    wrong_type = "wrong_type", UNSUPPORTED_MEDIA_TYPE;
    no_upgrade = "no_upgrade", UPGRADE_REQUIRED;
    busy = "busy", TOO_MANY_REQUESTS;
    unreachable = "unreachable", SERVICE_UNAVAILABLE;
}

/// The status that goes with a code, the broker's or the gateway's.
pub fn status_of(code: &str) -> StatusCode {
    match OWN.iter().find(|(own, _)| *own == code) {
        Some((_, status)) => *status,
        None => code.parse().map_or(StatusCode::BAD_GATEWAY, of_broker),
    }
}

fn of_broker(code: ErrorCode) -> StatusCode {
    use ErrorCode as Code;
    match code {
        Code::BadMessage | Code::BadOption => StatusCode::BAD_REQUEST,
        Code::Denied => StatusCode::FORBIDDEN,
        Code::UnknownTask | Code::UnknownWorker | Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadySettled | Code::NotRetryable | Code::Stale | Code::Conflict => StatusCode::CONFLICT,
        Code::HistoryGone => StatusCode::GONE,
        Code::TooLarge | Code::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Busy => StatusCode::TOO_MANY_REQUESTS,
        Code::StorageFull
        | Code::Draining
        | Code::TooManySessions
        | Code::HelloFirst
        | Code::SessionTaken
        | Code::SlowReader
        | Code::Silent => StatusCode::SERVICE_UNAVAILABLE,
        Code::UnknownMessage | Code::UnsupportedVersion | Code::Unknown => StatusCode::BAD_GATEWAY,
    }
}

impl Refusal {
    /// The refusal of the broker with this code.
    pub(crate) fn of(code: ErrorCode, text: String, retry_after: Option<Duration>) -> Self {
        Self { status: of_broker(code), code: code.as_str(), message: text, retry_after }
    }

    /// When to try again, where that makes sense at all.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let is_passing =
            matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        self.retry_after.or(is_passing.then_some(RETRY))
    }

    pub(crate) fn problem(&self) -> Problem {
        let retry_after_ms = self.retry_after().map(|pause| pause.as_millis() as u64);
        Problem { code: self.code.to_owned(), message: self.message.clone(), retry_after_ms }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Refused { code, text, retry_after } => Self::of(code, text, retry_after),
            Error::Ended { code, text } => Self::of(code, text, None),
            Error::Full { .. } => Self::busy(text),
            Error::Protocol(_) | Error::Detached => Self::of(ErrorCode::Unknown, text, None),
            Error::Unreachable { .. }
            | Error::Interrupted
            | Error::Forgotten
            | Error::TimedOut { .. }
            | Error::Closed => Self::unreachable(text),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Format::Json.reply(self.status, &self.problem());
        let headers = response.headers_mut();
        if let Some(pause) = self.retry_after() {
            // Whole seconds are all that the header can say; too late is better than too early.
            let seconds = pause.as_millis().div_ceil(1_000).max(1) as u64;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of `docs/http.md`, by its rows.
    fn documented() -> Vec<(String, u16)> {
        let page = include_str!("../../docs/http.md");
        let rows = page.lines().filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let (codes, status) = (cells.next()?, cells.next()?.parse().ok()?);
            Some(codes.split(',').map(move |code| (code.trim().trim_matches('`').to_owned(), status)))
        });
        rows.flatten()
            .filter(|(code, _)| code.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()))
            .collect()
    }

    #[test]
    fn every_code_has_the_status_that_the_page_says_and_every_code_stands_there() {
        let documented = documented();
        for (code, status) in &documented {
            assert_eq!(status_of(code).as_u16(), *status, "{code}");
        }
        let all = OWN.iter().map(|(code, _)| *code).chain(ErrorCode::ALL.iter().map(|code| code.as_str()));
        for code in all {
            assert_eq!(documented.iter().filter(|(name, _)| name == code).count(), 1, "{code}");
        }
    }

    #[test]
    fn what_passes_says_when_to_try_again() {
        let busy = Refusal::of(ErrorCode::Busy, String::new(), Some(Duration::from_millis(1_200)));
        let response = busy.clone().into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(busy.problem().retry_after_ms, Some(1_200));
        assert!(Refusal::from(Error::Interrupted).retry_after().is_some());
        assert_eq!(Refusal::of(ErrorCode::Conflict, String::new(), None).retry_after(), None);
    }
}
