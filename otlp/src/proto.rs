//! The messages of OTLP that carry spans: those fields of `opentelemetry/proto` that are used here, by their
//! numbers.

use ganger_common::TraceState;
use prost::Message;

use crate::span::{Role, Span as OurSpan, Value};

#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 3")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

const KIND_INTERNAL: i32 = 1;
const KIND_CONSUMER: i32 = 5;
const STATUS_ERROR: i32 = 2;

/// The body of one request: spans of one program.
pub(crate) fn request(service: &str, spans: &[OurSpan]) -> Vec<u8> {
    let scope = Scope { name: "ganger".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans: spans.iter().map(span).collect() };
    let resource = Resource { attributes: vec![attribute("service.name", &service.into())] };
    let spans = ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans] };
    Export { resource_spans: vec![spans] }.encode_to_vec()
}

fn span(span: &OurSpan) -> Span {
    let status = |error: &String| Status { message: error.clone(), code: STATUS_ERROR };
    Span {
        trace_id: span.context.trace_id().as_bytes().to_vec(),
        span_id: span.context.span_id().as_bytes().to_vec(),
        trace_state: span.state.as_ref().map(TraceState::to_string).unwrap_or_default(),
        parent_span_id: span.parent.as_bytes().to_vec(),
        name: span.name.clone(),
        kind: match span.role {
            Role::Internal => KIND_INTERNAL,
            Role::Consumer => KIND_CONSUMER,
        },
        start_time_unix_nano: span.began,
        end_time_unix_nano: span.ended.max(span.began),
        attributes: span.attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
        status: span.error.as_ref().map(status),
        flags: span.context.flags().into(),
    }
}

fn attribute(key: &str, value: &Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => Any::Text(text.clone()),
        Value::Number(number) => Any::Number(*number),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
