//! Traces, from a request or a command to the handler and to a collector.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::scale::shared;
use ganger_tests::wait::eventually;
use ganger_tests::web::Web;
use serde_json::{Value, json};

use crate::house::{SOON, web};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
/// Fails at its first attempt, then tells what it knows of its trace.
const PROGRAMS: &str = r#"
[kind.traced]
argv = ["/bin/sh", "-c", "if [ {attempt} = 1 ]; then exit 7; fi; printf '%s' \"$TRACEPARENT $TRACESTATE\""]
"#;

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

/// A span as it came.
#[derive(Clone, PartialEq, Debug)]
struct Span {
    service: String,
    trace: String,
    id: String,
    parent: String,
    state: String,
    name: String,
    is_error: bool,
    attributes: BTreeMap<String, String>,
    times: (u64, u64),
}

/// A collector that takes everything.
struct Collector {
    address: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let taken = spans.clone();
        // It ends with the process: nobody connects any more once the test's programs are gone.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let body = take(stream.unwrap());
                taken.lock().unwrap().extend(read_export(&body));
            }
        });
        Self { address, spans }
    }

    /// The spans of a task, once there are so many.
    fn of(&self, task: &str, count: usize) -> Vec<Span> {
        let found = || -> Vec<Span> {
            let spans = self.spans.lock().unwrap();
            spans.iter().filter(|span| span.attributes["ganger.task.id"] == task).cloned().collect()
        };
        eventually("the spans of the task", SOON, || found().len() >= count);
        found()
    }
}

/// Takes a request, says that all is well, and returns the body.
fn take(mut stream: TcpStream) -> Vec<u8> {
    let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "a whole request");
        request.extend_from_slice(&chunk[..count]);
        let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if request.len() == end + 4 + length.parse::<usize>().unwrap() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            return request.split_off(end + 4);
        }
    }
}

/// A field of a protobuf message: numbers of all kinds, and bytes.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(number) => panic!("bytes, not {number}"),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }

    fn hex(&self) -> String {
        self.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn varint(from: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = from[0];
        *from = &from[1..];
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

/// The fields of a message with their numbers, read by somebody who does not know ours.
fn fields(mut from: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !from.is_empty() {
        let key = varint(&mut from);
        let mut cut = |count: usize| {
            let (taken, rest) = from.split_at(count);
            from = rest;
            taken
        };
        let field = match key & 7 {
            1 => Field::Number(u64::from_le_bytes(cut(8).try_into().unwrap())),
            5 => Field::Number(u32::from_le_bytes(cut(4).try_into().unwrap()).into()),
            0 => Field::Number(varint(&mut from)),
            2 => {
                let count = varint(&mut from) as usize;
                let (taken, rest) = from.split_at(count);
                from = rest;
                Field::Bytes(taken)
            }
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

/// The messages in a field.
fn each(of: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    fields(of).into_iter().filter(move |(found, _)| *found == number).map(|(_, field)| field.bytes())
}

fn attributes(of: &[u8], number: u64) -> BTreeMap<String, String> {
    let value = |any: &[u8]| match &fields(any)[0] {
        (1, text) => text.text(),
        (3, Field::Number(number)) => number.to_string(),
        (other, _) => panic!("a value of kind {other}"),
    };
    each(of, number).map(|pair| (fields(pair)[0].1.text(), value(fields(pair)[1].1.bytes()))).collect()
}

fn read_export(body: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in each(body, 1) {
        let service = each(resource, 1).flat_map(|it| attributes(it, 1)).collect::<BTreeMap<_, _>>();
        for span in each(resource, 2).flat_map(|scope| each(scope, 2)) {
            spans.push(read_span(service["service.name"].clone(), span));
        }
    }
    spans
}

fn read_span(service: String, span: &[u8]) -> Span {
    let all = fields(span);
    let find = |number: u64| all.iter().find(|(found, _)| *found == number).map(|(_, field)| field);
    let number = |at: u64| match find(at) {
        Some(Field::Number(number)) => *number,
        _ => 0,
    };
    let status = find(15).map(|status| fields(status.bytes())).unwrap_or_default();
    Span {
        service,
        trace: find(1).unwrap().hex(),
        id: find(2).unwrap().hex(),
        parent: find(4).unwrap().hex(),
        state: find(3).map(Field::text).unwrap_or_default(),
        name: find(5).unwrap().text(),
        is_error: status.iter().any(|(found, field)| *found == 3 && matches!(field, Field::Number(2))),
        attributes: attributes(span, 9),
        times: (number(7), number(8)),
    }
}

/// A broker and a worker that export, if there is somewhere.
fn cluster(otlp: &str) -> (Cluster, Web) {
    // With a journal, so that what is told of outcomes has to wait for it.
    let mut cluster = Cluster::start_with_http(&["--otlp", otlp, "--durability", "journal"]);
    let programs = cluster.file("programs.toml");
    std::fs::write(&programs, PROGRAMS).unwrap();
    let args = ["--exec", programs.to_str().unwrap(), "--otlp", otlp];
    cluster.add(&WorkerSpec::stock("w0").slots(2).args(&args));
    let mut web = web(&cluster);
    eventually("the worker is there", SOON, || web.get("/v1/status").json()["workers"] == 1);
    (cluster, web)
}

fn traced() -> Value {
    json!({"kind": "traced", "options": {"backoff_ms": 1}})
}

/// Hands a task in with these headers, and waits for its outcome.
fn run(web: &mut Web, headers: &[(&str, &str)], task: &Value) -> Value {
    let headers = [&[("Content-Type", "application/json")], headers].concat();
    let answer = web.send("POST", "/v1/tasks?wait=30s", &headers, task.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Two attempts, the first of which failed, and the task around them: all beside each other under the submitter.
fn check_spans(mut spans: Vec<Span>, kind: &str, state: &str) -> Vec<Span> {
    spans.sort_by_key(|span| span.attributes.get("ganger.task.attempt").cloned());
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    let (task, attempt) = (format!("task {kind}"), format!("run {kind}"));
    assert_eq!(names, [&task, &attempt, &attempt]);
    assert_eq!(spans.iter().map(|span| span.is_error).collect::<Vec<_>>(), [false, true, false]);
    for span in &spans {
        assert_eq!((span.trace.as_str(), span.parent.as_str(), span.state.as_str()), (TRACE, SPAN, state));
        assert_eq!(span.attributes["messaging.system"], "ganger");
        assert_eq!(span.attributes["ganger.task.kind"], kind);
        assert!(span.times.0 > 0 && span.times.0 <= span.times.1, "{span:?}");
    }
    assert_eq!(spans[0].service, "ganger-broker");
    assert_eq!(spans[0].attributes["ganger.task.attempts"], "2");
    assert_eq!(spans[0].attributes["ganger.task.outcome"], "succeeded");
    for (span, attempt) in spans[1..].iter().zip(["1", "2"]) {
        assert_eq!(span.service, "ganger-worker");
        assert_eq!(span.attributes["ganger.task.attempt"], attempt);
        assert_eq!(span.attributes["ganger.worker.name"], "w0");
    }
    let ids: std::collections::BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), 3, "every span has an id of its own");
    spans
}

#[test]
fn a_trace_goes_from_the_request_to_the_handler_and_each_attempt_to_the_collector() {
    let _turn = shared();
    let collector = Collector::start();
    let (_cluster, mut web) = cluster(&collector.address);
    let quiet = run(&mut web, &[("traceparent", &parent("00"))], &traced());
    assert_eq!(quiet["result"], format!("{} ", parent("00")), "it is carried, and not recorded");

    let headers = [("traceparent", parent("01")), ("tracestate", "congo=1".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let ended = run(&mut web, &headers, &traced());
    let id = ended["id"].as_str().unwrap();
    let spans = check_spans(collector.of(id, 3), "traced", "congo=1");
    let nested = format!("00-{TRACE}-{}-01 congo=1", spans[2].id);
    assert_eq!(ended["result"], nested, "what the handler calls belongs to its attempt");
    assert_eq!(web.get(&format!("/v1/tasks/{id}")).json()["trace_id"], TRACE);

    let all = collector.spans.lock().unwrap().clone();
    assert!(all.iter().all(|span| span.attributes["ganger.task.id"] != quiet["id"].as_str().unwrap()));
    eventually("the figures", SOON, || {
        web.get("/metrics").text().contains("\nganger_spans_exported_total 1")
    });
    assert!(web.get("/metrics").text().contains("\nganger_spans_dropped_total 0"));
}

#[test]
fn the_command_line_names_a_trace_by_a_flag_or_by_its_environment() {
    let _turn = shared();
    let collector = Collector::start();
    let (cluster, mut web) = cluster(&collector.address);
    let submit = ["submit", "traced", "--backoff", "1ms", "--wait", "--json"];
    let flag = parent("01");
    let by_flag = cluster.command_line(&[&submit[..], &["--traceparent", &flag]].concat()).output().unwrap();
    let mut command = cluster.command_line(&submit);
    command.env("TRACEPARENT", parent("01")).env("TRACESTATE", "a=1");
    let by_variable = command.output().unwrap();
    for (output, state) in [(by_flag, ""), (by_variable, "a=1")] {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let ended: Value = serde_json::from_slice(&output.stdout).unwrap();
        check_spans(collector.of(ended["id"].as_str().unwrap(), 3), "traced", state);
    }
    let mut command = cluster.command_line(&submit);
    let ended = command.env("TRACEPARENT", "nonsense").output().unwrap();
    let ended: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let path = format!("/v1/tasks/{}", ended["id"].as_str().unwrap());
    assert_eq!(web.get(&path).json()["trace_id"], Value::Null, "nobody asked this command for a trace");
}

#[test]
fn a_malformed_header_is_ignored_and_a_malformed_option_is_refused() {
    let _turn = shared();
    let (_cluster, mut web) = cluster("none");
    let ended = run(&mut web, &[("traceparent", "00-nonsense")], &traced());
    assert_eq!(ended["result"], " ");
    let own = parent("00").replace(SPAN, "00f067aa0ba902b7");
    let task = json!({"kind": "traced", "options": {"backoff_ms": 1, "trace": own}});
    let ended = run(&mut web, &[("traceparent", &parent("00")), ("tracestate", "a=1")], &task);
    assert_eq!(ended["result"], format!("{own} "), "its own comes first, and alone");
    let task = json!({"kind": "traced", "options": {"trace": "00-nonsense"}});
    assert_eq!(web.post("/v1/tasks", &task).refusal(), (400, "bad_option".to_owned()));
}

#[test]
fn a_collector_that_is_away_costs_one_line_and_no_task() {
    let _turn = shared();
    // A port that was free a moment ago, and that nobody listens at.
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (cluster, mut web) = cluster(&format!("http://{away}"));
    let said = |log: String| log.matches("spans cannot be exported").count();
    for _ in 0..2 {
        run(&mut web, &[("traceparent", &parent("01"))], &traced());
        eventually("both have said so", SOON, || {
            [cluster.broker(), cluster.worker(0)].iter().all(|program| said(program.stderr()) == 1)
        });
    }
    cluster.worker(0).term();
    cluster.worker(0).wait(SOON);
    cluster.broker().term();
    cluster.broker().wait(SOON);
    assert_eq!(said(cluster.worker(0).stderr()) + said(cluster.broker().stderr()), 2);
}
