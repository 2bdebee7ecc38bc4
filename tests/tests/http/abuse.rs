//! What must be refused, from a client that sends everything before it listens.

use std::path::Path;

use ganger_tests::procfs::peak_rss_bytes;
use ganger_tests::python::{plain, script};
use ganger_tests::scale::shared;

use crate::rights::Keyed;

/// Enough that nobody could hold it.
const HUGE: u64 = 1 << 30;
/// What a broker may have taken in the end: a body at its limit, and itself.
const PEAK_BYTES_MAX: u64 = 256 << 20;

#[test]
fn whatever_is_refused_is_answered_as_documented_also_in_the_middle_of_a_gibibyte() {
    let _turn = shared();
    let Some(python) = plain() else { return };
    let mut keyed = Keyed::new();
    let (token, line) = keyed.token("shop");
    keyed.authorise(&[&format!("{line} submit")]);
    keyed.start();
    let broker = keyed.cluster();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http/abuse.py");
    let at = broker.endpoints().http.clone().unwrap();
    let output = script(&python, &program, &[&at, &HUGE.to_string(), &token]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            "announced 413 too_large",
            "streamed 413 too_large",
            "bad-json 400 bad_message",
            "unknown-field 400 bad_message",
            "no-token 401 unauthenticated",
            "no-token-streamed 401 unauthenticated",
        ]
    );
    let peak = peak_rss_bytes(broker.broker().pid()).unwrap();
    assert!(peak < PEAK_BYTES_MAX, "{} MiB", peak >> 20);
    assert_eq!(keyed.web().with_token(&token).get("/v1/status").json()["queued"], 0);
}
