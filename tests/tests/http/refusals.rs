//! What is not done, and how that is said.

use ganger_tests::cluster::Cluster;
use ganger_tests::scale::shared;
use ganger_tests::web::{Answer, Web};
use serde_json::json;

use crate::house::{submit, web};

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

fn post(web: &mut Web, path: &str, text: &str) -> Answer {
    web.send("POST", path, &JSON, text.as_bytes())
}

fn is_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.refusal(), (status, code.to_owned()), "{}", answer.text());
}

#[test]
fn a_body_that_is_not_as_it_should_be_is_refused_and_the_message_says_where() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    for (body, says) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("{\"kind\": \"a\",}", "line 1"),
        ("nonsense", "line 1"),
        ("[]", "without tasks"),
        ("{}", "missing field `kind`"),
        ("{\"kind\": 5}", "expected a string"),
        ("{\"kind\": \"a\", \"knid\": \"b\"}", "unknown field `knid`"),
        ("{\"kind\": \"a\", \"options\": {\"prio\": 5}}", "unknown field `prio`"),
        ("{\"kind\": \"a\", \"options\": {\"detached\": true}}", "unknown field `detached`"),
        ("{\"kind\": \"a\", \"id\": \"seven\"}", "UUID"),
        ("{\"kind\": \"a\", \"payload\": 1, \"payload_base64\": \"\"}", "one payload"),
        ("{\"kind\": \"a\", \"payload_base64\": \"???\"}", "base64"),
        ("{\"kind\": \"a\", \"payload_bytes\": \"x\"}", "MessagePack"),
        ("{\"kind\": \"a\", \"payload\": {\"$bytes\": \"0\"}}", "hexadecimal"),
        ("{\"kind\": \"a\"} {}", "trailing"),
    ] {
        let answer = post(&mut web, "/v1/tasks", body);
        is_refused(&answer, 400, "bad_message");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says), "{body}: {message}");
    }
    let deep = format!("{{\"kind\": \"a\", \"payload\": {}", "[".repeat(100_000));
    is_refused(&post(&mut web, "/v1/tasks", &deep), 400, "bad_message");
    let endless = [&[0x91_u8; 100_000][..], &[0xc0]].concat();
    let packed = [("Content-Type", "application/msgpack")];
    is_refused(&web.send("POST", "/v1/tasks", &packed, &endless), 400, "bad_message");
    assert_eq!(web.get("/v1/status").json()["queued"], 0);
}

#[test]
fn a_value_that_is_not_allowed_is_a_bad_option() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    for path in [
        "/v1/tasks?stat=running",
        "/v1/tasks?state=lost",
        "/v1/tasks?limit=-1",
        "/v1/tasks?after=nowhere",
        "/v1/tasks/seven",
        "/v1/dead?after=nowhere",
        "/v1/dead?outcome=queued",
        "/v1/knowledge?after_key=a",
        "/v1/tasks/0197a0b2-9d2c-7cc1-8f5a-2f6d1f0a9b77/result?wait=soon",
    ] {
        is_refused(&web.get(path), 400, "bad_option");
    }
    is_refused(&post(&mut web, "/v1/tasks?wait=61s", "{\"kind\": \"a\"}"), 400, "bad_option");
    is_refused(&post(&mut web, "/v1/tasks", "{\"kind\": \"\"}"), 400, "bad_option");
    let late = "{\"kind\": \"a\", \"options\": {\"ttl_ms\": 0}}";
    is_refused(&post(&mut web, "/v1/tasks", late), 400, "bad_option");
}

#[test]
fn what_is_too_much_is_refused_before_it_is_read() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    let huge = [("Content-Type", "application/json"), ("Content-Length", "1073741824")];
    is_refused(&web.send("POST", "/v1/tasks", &huge, b"{"), 413, "too_large");
    let many = format!("[{}{{\"kind\":\"a\"}}]", "{\"kind\":\"a\"},".repeat(4_096));
    is_refused(&post(&mut web, "/v1/tasks", &many), 413, "too_many");
    let id = "\"0197a0b2-9d2c-7cc1-8f5a-2f6d1f0a9b77\"";
    let many = format!("{{\"ids\": [{}{id}]}}", format!("{id},").repeat(4_096));
    is_refused(&post(&mut web, "/v1/dead/retry", &many), 413, "too_many");
    is_refused(&post(&mut web, "/v1/dead/discard", &many), 413, "too_many");
    is_refused(&web.call("POST", &format!("/v1/kinds/{}/pause", "k".repeat(129))), 413, "too_large");
    let large = format!("{{\"kind\": \"a\", \"payload\": \"{}\"}}", "x".repeat(16 << 20));
    is_refused(&post(&mut web, "/v1/tasks", &large), 413, "too_large");
    let broadcast = json!({"topic": "t", "body": "x".repeat(64 << 10)});
    is_refused(&web.post("/v1/publish", &broadcast), 413, "too_large");
    assert_eq!(web.get("/v1/status").json()["queued"], 0);
}

#[test]
fn what_is_not_there_and_what_is_not_for_a_path_is_told_apart() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    let unknown = "/v1/tasks/0197a0b2-9d2c-7cc1-8f5a-2f6d1f0a9b77";
    is_refused(&web.get("/v1/nothing"), 404, "no_route");
    is_refused(&web.get(unknown), 404, "unknown_task");
    is_refused(&web.get(&format!("{unknown}/result")), 404, "unknown_task");
    is_refused(&web.get(&format!("{unknown}/explain")), 404, "unknown_task");
    is_refused(&web.call("DELETE", unknown), 404, "unknown_task");
    is_refused(&web.call("POST", &format!("{unknown}/retry")), 404, "unknown_task");
    is_refused(&web.call("POST", "/v1/workers/nobody/drain"), 404, "unknown_worker");
    is_refused(&web.get("/v1/knowledge/no/key"), 404, "not_found");
    let answer = web.call("PATCH", "/v1/tasks");
    is_refused(&answer, 405, "wrong_method");
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET") && allow.contains("POST")));
    is_refused(&web.send("POST", "/v1/tasks", &[("Content-Type", "text/plain")], b"{}"), 415, "wrong_type");
    is_refused(&web.call("POST", "/v1/tasks"), 415, "wrong_type");
    let bytes = [("Content-Type", "application/octet-stream")];
    is_refused(&web.send("POST", "/v1/tasks", &bytes, b"{}"), 415, "wrong_type");
    assert_eq!(web.call("HEAD", "/v1/status").status, 200);
}

#[test]
fn pages_of_other_origins_and_borrowed_names_are_refused() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    let at = cluster.endpoints().http.clone().unwrap();
    let body = json!({"kind": "a"}).to_string();
    for foreign in [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Host", "evil.example"),
        ("Host", "127.0.0.1.evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let headers = [JSON[0], foreign];
        is_refused(&web.send("POST", "/v1/tasks", &headers, body.as_bytes()), 403, "foreign");
        is_refused(&web.send("GET", "/v1/status", &[foreign], b""), 403, "foreign");
    }
    let own = [("Origin", format!("http://{at}")), ("Sec-Fetch-Site", "same-origin".to_owned())];
    let own = own.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(web.send("POST", "/v1/tasks", &[JSON[0], own[0], own[1]], body.as_bytes()).status, 202);
    let by_name = format!("localhost:{}", at.rsplit_once(':').unwrap().1);
    assert_eq!(web.send("GET", "/v1/status", &[("Host", &by_name)], b"").status, 200);
    assert_eq!(web.get("/v1/status").json()["queued"], 1);
}

#[test]
fn every_answer_is_safe_in_a_browser() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    for path in ["/v1/status", "/v1/nothing", "/health", "/v1/tasks/seven"] {
        let answer = web.get(path);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        assert!(answer.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[test]
fn a_broker_that_goes_down_takes_nothing_new_and_says_so() {
    let _turn = shared();
    let (cluster, mut web) = crate::house::with_worker(&[]);
    let id = submit(&mut web, &json!({"kind": "sleep", "payload": "5s"}));
    let path = format!("/v1/tasks/{id}");
    ganger_tests::wait::eventually("it runs", crate::house::SOON, || {
        web.get(&path).json()["state"] == "running"
    });
    cluster.broker().term();
    ganger_tests::wait::eventually("it drains", crate::house::SOON, || {
        web.get("/v1/status").json()["draining"] == true
    });
    let answer = web.post("/v1/tasks", &json!({"kind": "echo"}));
    is_refused(&answer, 503, "draining");
    assert!(answer.header("retry-after").is_some());
    let last = web.get(&format!("{path}/result?wait=20s"));
    assert_eq!((last.status, &last.json()["outcome"]), (200, &json!("succeeded")));
}
