//! How single settings are written. Each function's error says what would be right.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use ganger_common::message::Durability;
use ganger_otlp::SpansTo;
use ganger_transport::Endpoint;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Where HTTP is served, if it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpAt(pub Option<SocketAddr>);

/// An address with a port, or `none`.
pub(crate) fn http(text: &str) -> Result<HttpAt, String> {
    if text == "none" {
        return Ok(HttpAt(None));
    }
    let address =
        text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    let wrong = "write an address with a port, such as 127.0.0.1:7713 or [::1]:7713, or none";
    address.parse().map(|address| HttpAt(Some(address))).map_err(|_| wrong.to_owned())
}

/// A span of time: `1s`, `250ms`, `1h 30m`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "write a duration such as 250ms, 1s or 1h 30m".to_owned())
}

/// A number of bytes: `64MiB`, `4GiB`, `1000`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let wrong = || "write a size such as 1000, 64KiB, 16MiB or 4GiB".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(wrong()),
    };
    let number: usize = digits.trim_end().parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// A whole number.
pub(crate) fn count<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| "write a whole number from 0 on".to_owned())
}

/// `true` or `false`.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "write true or false".to_owned())
}

/// A file.
pub(crate) fn file(text: &str) -> Result<PathBuf, String> {
    match text.is_empty() {
        true => Err("write the path of a file".to_owned()),
        false => Ok(text.into()),
    }
}

/// Where a socket listens.
pub(crate) fn endpoint(text: &str) -> Result<Endpoint, String> {
    match text.parse() {
        Ok(Endpoint::Mem { .. }) => Err("must begin with tcp:// or ipc://".to_owned()),
        Ok(endpoint) => Ok(endpoint),
        Err(error) => Err(error.to_string()),
    }
}

/// Where spans go, if anywhere.
pub(crate) fn collector(text: &str) -> Result<SpansTo, String> {
    let wrong = "write the address of a collector, such as http://127.0.0.1:4318, or none";
    text.parse().map_err(|_| wrong.to_owned())
}

/// What an acknowledgement means.
pub(crate) fn durability(text: &str) -> Result<Durability, String> {
    let known = [Durability::Memory, Durability::Journal].into_iter().find(|known| known.as_str() == text);
    known.ok_or_else(|| "write memory or journal".to_owned())
}

/// A place in the file system.
pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("write the name of a directory".to_owned()),
        text => Ok(PathBuf::from(text)),
    }
}

/// What is logged.
pub(crate) fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|_| "write levels and modules, as in info or info,ganger_broker=debug".to_owned())
}

/// How log lines look.
pub(crate) fn log_format(text: &str) -> Result<LogFormat, String> {
    LogFormat::from_str(text, false).map_err(|_| "write text or json".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [("1000", 1000), ("7B", 7), ("64KiB", 64 << 10), ("4 GiB", 4 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "64MB", "64mib", "-1", "1.5GiB", "99999999999GiB", "18446744073709551616"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        assert_eq!(span("1s 500ms"), Ok(Duration::from_millis(1500)));
        for text in ["", "1", "soon", "-1s"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_real_endpoints_can_be_set() {
        assert!(endpoint("tcp://127.0.0.1:0").is_ok() && endpoint("ipc:///tmp/x.sock").is_ok());
        assert!(endpoint("mem://x").is_err() && endpoint("127.0.0.1:7710").is_err());
    }

    #[test]
    fn http_is_served_at_an_address_or_not_at_all() {
        for (text, shown) in
            [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:1", "[::1]:1"), ("localhost:2", "127.0.0.1:2")]
        {
            assert_eq!(http(text), Ok(HttpAt(Some(shown.parse().unwrap()))), "{text}");
        }
        assert_eq!((http("none"), collector("none")), (Ok(HttpAt(None)), Ok(SpansTo(None))));
        for text in ["", "7713", "127.0.0.1", "http://127.0.0.1:1", "broker:1", "localhost:"] {
            assert!(http(text).is_err(), "{text}");
        }
    }
}
