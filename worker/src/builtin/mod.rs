//! Kinds that every stock worker can serve, for trying and measuring.
//!
//! | kind | payload | result |
//! |---|---|---|
//! | `noop` | anything | nothing |
//! | `echo` | anything | the payload |
//! | `sleep` | a time: a number of milliseconds, or text such as `1s 500ms` | nothing |
//! | `fail` | a text; or a map of `message`, `final`, `retry_after_ms` | none: it fails with that message. A text that begins with `!` is final |
//! | `crash` | anything | none: the whole worker process aborts |
//! | `sha256` | bytes or a text | the digest as 64 hexadecimal digits |
//! | `wordcount` | a text | a map of word to count, in the order of the words |
//! | `wordcount.merge` | an array of such maps | one such map |
//!
//! A payload that is exactly one MessagePack string, binary or number (what the command line makes of
//! JSON) is taken for its contents; any other payload is taken as it is.

mod scalar;
mod words;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::builder::Builder;
use crate::error::HandlerError;
use crate::task::Context;
use scalar::Scalar;

/// The names of all built-in kinds, in the order in which `--help` lists them.
pub const KINDS: [&str; 8] =
    ["noop", "echo", "sleep", "fail", "crash", "sha256", "wordcount", "wordcount.merge"];

/// Adds the handler of a built-in kind. A name that is not in [`KINDS`] adds nothing.
#[must_use]
pub fn serve(builder: Builder, kind: &str) -> Builder {
    match kind {
        "noop" => builder.handler(kind, |_, _| async { Ok(Bytes::new()) }),
        "echo" => builder.handler(kind, |task, _| async move { Ok(task.payload) }),
        "sleep" => builder.handler(kind, |task, context| async move { sleep(&task.payload, &context).await }),
        "fail" => builder.handler(kind, |task, _| async move { Err::<Bytes, _>(failure(&task.payload)) }),
        "crash" => builder.handler(kind, |task, _| async move { crash(&task.payload) }),
        "sha256" => builder.blocking_handler(kind, |task, _| Ok(sha256(&task.payload))),
        "wordcount" => builder.blocking_handler(kind, |task, _| words::count(&task.payload)),
        "wordcount.merge" => builder.blocking_handler(kind, |task, _| words::merge(&task.payload)),
        _ => builder,
    }
}

async fn sleep(payload: &[u8], context: &Context) -> Result<Bytes, HandlerError> {
    let time = duration(payload)?;
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(Bytes::new()),
        () = context.cancelled() => Err(HandlerError::from("cancelled")),
    }
}

fn duration(payload: &[u8]) -> Result<Duration, HandlerError> {
    let text = match Scalar::read(payload) {
        Scalar::Number(ms) if (0.0..=1e15).contains(&ms) => return Ok(Duration::from_secs_f64(ms / 1e3)),
        Scalar::Number(ms) => ms.to_string(),
        Scalar::Bytes(bytes) => String::from_utf8_lossy(bytes).trim().to_owned(),
    };
    if let Ok(ms) = text.parse::<u32>() {
        return Ok(Duration::from_millis(ms.into()));
    }
    let allowed = "a number of milliseconds, or text such as 1s 500ms";
    humantime::parse_duration(&text)
        .map_err(|error| HandlerError::new(format_args!("sleep takes {allowed}: {error}")).fatal())
}

/// What `fail` may be told.
#[derive(Deserialize)]
struct FailOptions {
    #[serde(default)]
    message: String,
    #[serde(default, rename = "final")]
    is_final: bool,
    #[serde(default)]
    retry_after_ms: Option<u64>,
}

fn failure(payload: &[u8]) -> HandlerError {
    if let Some(FailOptions { message, is_final, retry_after_ms }) = scalar::map(payload) {
        let error = HandlerError::new(message);
        let error = if is_final { error.fatal() } else { error };
        return match retry_after_ms {
            Some(pause) => error.retry_after(Duration::from_millis(pause)),
            None => error,
        };
    }
    let text = match Scalar::read(payload) {
        Scalar::Number(number) => number.to_string(),
        Scalar::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    };
    match text.strip_prefix('!') {
        Some(text) => HandlerError::new(text).fatal(),
        None => HandlerError::new(text),
    }
}

fn crash(_: &[u8]) -> Result<Bytes, HandlerError> {
    tracing::error!("a task of the kind crash aborts this process");
    std::process::abort()
}

fn sha256(payload: &[u8]) -> String {
    let digest = match Scalar::read(payload) {
        Scalar::Bytes(bytes) => Sha256::digest(bytes),
        Scalar::Number(_) => Sha256::digest(payload),
    };
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_takes_numbers_and_texts_of_either_encoding() {
        let pack = |value: &serde_json::Value| rmp_serde::to_vec(value).unwrap();
        let cases: [(Vec<u8>, u64); 7] = [
            (pack(&50.into()), 50),
            (pack(&1.5.into()), 1),
            (pack(&"2s".into()), 2_000),
            (pack(&"70".into()), 70),
            (b"250".to_vec(), 250),
            (b"1s 500ms".to_vec(), 1_500),
            (b" 3s\n".to_vec(), 3_000),
        ];
        for (payload, ms) in cases {
            assert_eq!(duration(&payload).unwrap().as_millis() as u64, ms, "{payload:?}");
        }
        for payload in [&b""[..], b"soon", b"-5", &pack(&(-1).into()), &pack(&f64::MAX.into())] {
            assert!(duration(payload).unwrap_err().is_final, "{payload:?}");
        }
    }

    #[test]
    fn fail_can_be_final() {
        assert_eq!(failure(b"no paper"), HandlerError::new("no paper"));
        assert_eq!(failure(b"!no paper"), HandlerError::new("no paper").fatal());
        assert_eq!(failure(&rmp_serde::to_vec("!x").unwrap()), HandlerError::new("x").fatal());
        let options = serde_json::json!({"message": "m", "final": true, "retry_after_ms": 5});
        let error = failure(&rmp_serde::to_vec_named(&options).unwrap());
        assert_eq!(error, HandlerError::new("m").fatal().retry_after(Duration::from_millis(5)));
    }

    #[test]
    fn sha256_hashes_the_contents_of_a_string_and_raw_bytes_alike() {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), digest);
        assert_eq!(sha256(&rmp_serde::to_vec("abc").unwrap()), digest);
    }
}
