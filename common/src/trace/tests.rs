//! Texts of traces, good and bad.

use super::*;
use crate::{ErrorCode, TaskOptions};

const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_traceparent_is_read_and_written_as_it_came() {
    let context: TraceContext = GOOD.parse().unwrap();
    assert_eq!(context.to_string(), GOOD);
    assert_eq!(context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(context.span_id().to_string(), "b7ad6b7169203331");
    for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("ff", true)] {
        let text = format!("{}{flags}", &GOOD[..53]);
        let context: TraceContext = text.parse().unwrap();
        assert_eq!((context.is_sampled(), context.to_string()), (sampled, text));
    }
}

#[test]
fn every_kind_of_malformed_traceparent_is_told_apart() {
    let zeros = |range: std::ops::Range<usize>| {
        let mut text = GOOD.to_owned();
        text.replace_range(range.clone(), &"0".repeat(range.len()));
        text
    };
    let put = |place: usize, with: &str| {
        let mut text = GOOD.to_owned();
        text.replace_range(place..place + with.len(), with);
        text
    };
    for (text, wrong) in [
        (String::new(), TraceError::Length),
        (GOOD[..54].to_owned(), TraceError::Length),
        (format!("{GOOD}-00"), TraceError::Length),
        (format!(" {GOOD}"), TraceError::Length),
        (put(2, "_"), TraceError::Dashes),
        (put(35, "0"), TraceError::Dashes),
        (put(52, " "), TraceError::Dashes),
        (put(0, "01"), TraceError::Version),
        (put(0, "ff"), TraceError::Version),
        (put(5, "F"), TraceError::Digit),
        (put(40, "g"), TraceError::Digit),
        (put(53, "0x"), TraceError::Digit),
        (put(40, "é"), TraceError::Digit),
        (zeros(3..35), TraceError::NoTrace),
        (zeros(36..52), TraceError::NoSpan),
    ] {
        assert_eq!(text.parse::<TraceContext>(), Err(wrong), "{text}");
    }
}

#[test]
fn a_tracestate_is_printable_and_not_long() {
    let longest = "x".repeat(TRACE_STATE_BYTES_MAX);
    for good in ["congo=t61rcWkgMzE", "a=1, b=2", longest.as_str()] {
        assert_eq!(good.parse::<TraceState>().unwrap().as_str(), good);
    }
    for bad in ["", "a=\u{e9}", "a=1\nb=2", "a=\0", &format!("{longest}x")] {
        assert_eq!(bad.parse::<TraceState>(), Err(TraceError::State), "{bad:?}");
    }
}

#[test]
fn a_malformed_option_is_refused_by_its_name_and_damages_nothing_else() {
    let read = |json: String| serde_json::from_str::<TaskOptions>(&json);
    let good = read(format!(r#"{{"trace":"{GOOD}","trace_state":"a=1"}}"#)).unwrap();
    assert_eq!(good.check(), Ok(()));
    assert_eq!(good.traced().unwrap().state.unwrap().as_str(), "a=1");
    for (json, option) in [
        (r#"{"trace":"00-0"}"#.to_owned(), "trace"),
        (format!(r#"{{"trace":"{GOOD}","trace_state":""}}"#), "trace_state"),
        (r#"{"trace_state":"a=1"}"#.to_owned(), "trace_state"),
    ] {
        let (code, text) = read(json).unwrap().check().unwrap_err();
        assert_eq!(code, ErrorCode::BadOption);
        assert!(text.starts_with(&format!("option {option}: ")), "{text}");
    }
    assert!(read(r#"{"trace":7}"#.to_owned()).is_err(), "a number is no text at all");
}

#[test]
fn spans_of_attempts_differ_and_are_the_same_each_time() {
    let task = |byte| TaskId::from_bytes([byte; 16]);
    let spans = [
        SpanId::of(task(1), Epoch(1), Attempt(0)),
        SpanId::of(task(1), Epoch(1), Attempt(1)),
        SpanId::of(task(1), Epoch(2), Attempt(1)),
        SpanId::of(task(2), Epoch(1), Attempt(1)),
    ];
    let different: std::collections::HashSet<_> = spans.into_iter().collect();
    assert_eq!(different.len(), spans.len());
    assert_eq!(spans[1], SpanId::of(task(1), Epoch(1), Attempt(1)));
}
