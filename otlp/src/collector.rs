//! Where spans go, and how.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A collector that takes longer for a request is not there.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The address of a collector, such as `http://127.0.0.1:4318`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Collector {
    host: String,
    port: u16,
    path: String,
}

/// What is wrong with the address of a collector.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("allowed is the address of a collector, as in http://127.0.0.1:4318, or none")]
pub struct CollectorError;

/// Where spans go, if anywhere: an address, or `none`, which takes back what another place of a setting gave.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SpansTo(pub Option<Collector>);

impl FromStr for SpansTo {
    type Err = CollectorError;

    fn from_str(text: &str) -> Result<Self, CollectorError> {
        match text {
            "none" => Ok(Self(None)),
            text => text.parse().map(|collector| Self(Some(collector))),
        }
    }
}

/// Why spans were not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is worth another try.
    Away(String),
    /// It will never take these.
    Refused(StatusCode),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) => f.write_str(why),
            Self::Refused(status) => write!(f, "it answered {status}"),
        }
    }
}

impl FromStr for Collector {
    type Err = CollectorError;

    fn from_str(text: &str) -> Result<Self, CollectorError> {
        let uri: Uri = text.parse().map_err(|_| CollectorError)?;
        let is_plain = uri.scheme_str() == Some("http") && uri.query().is_none();
        let host = uri.host().filter(|host| is_plain && !host.is_empty()).ok_or(CollectorError)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let base = uri.path().trim_end_matches('/');
        // Some give the base, as the variables of OpenTelemetry do, and some the whole address.
        let path = match base.ends_with("/v1/traces") {
            true => base.to_owned(),
            false => format!("{base}/v1/traces"),
        };
        Ok(Self { host, port: uri.port_u16().unwrap_or(80), path })
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

impl Collector {
    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Hands over the body of one request.
    pub(crate) async fn post(&self, body: Bytes) -> Result<(), Refusal> {
        match tokio::time::timeout(ANSWER_WITHIN, self.exchange(body)).await {
            Ok(Ok(status)) if status.is_success() => Ok(()),
            // What the specification calls worth another try.
            Ok(Ok(status)) if matches!(status.as_u16(), 429 | 502 | 503 | 504) => {
                Err(Refusal::Away(format!("it answered {status}")))
            }
            Ok(Ok(status)) => Err(Refusal::Refused(status)),
            Ok(Err(why)) => Err(Refusal::Away(why)),
            Err(_) => Err(Refusal::Away(format!("it did not answer within {ANSWER_WITHIN:?}"))),
        }
    }

    /// A connection for each request: there is at most one a moment, and none to look after between them.
    async fn exchange(&self, body: Bytes) -> Result<StatusCode, String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(HOST, self.authority())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(USER_AGENT, concat!("ganger/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        // It hears of what becomes of the connection, too.
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await;
        connection.abort();
        answer.map(|answer| answer.status()).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_base_or_the_whole() {
        for (text, meant) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("http://collector/otlp", "http://collector:80/otlp/v1/traces"),
            ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(text.parse::<Collector>().unwrap().to_string(), meant);
        }
        assert_eq!("none".parse(), Ok(SpansTo(None)));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "4318", "127.0.0.1:4318", "https://collector:4318", "http://", "http://a/?b=c"] {
            assert_eq!(text.parse::<Collector>(), Err(CollectorError), "{text}");
        }
    }
}
