//! Following a task.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ganger_tests::cluster::Cluster;
use ganger_tests::scale::shared;
use serde_json::{Value, json};

use crate::house::{SOON, submit, web, with_worker};
use crate::steps::{Part, Steps};

/// An event, by its name and its data.
type Event = (String, Value);

/// Reads events until the server ends the stream, and looks at each as it comes.
fn follow(at: &str, id: &str, mut look: impl FnMut(&Event)) -> Vec<Event> {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // To whoever speaks HTTP/1.0 a body without a known length comes plain, and ends with the connection.
    write!(stream, "GET /v1/tasks/{id}/events HTTP/1.0\r\nHost: {at}\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    assert!(head[0].contains("200"), "{head:?}");
    assert!(head.iter().any(|line| line.eq_ignore_ascii_case("content-type: text/event-stream")), "{head:?}");
    let (mut events, mut name) = (Vec::new(), String::new());
    for line in lines {
        if let Some(of) = line.strip_prefix("event: ") {
            name = of.to_owned();
        }
        if let Some(data) = line.strip_prefix("data: ") {
            let event = (std::mem::take(&mut name), serde_json::from_str(data).unwrap());
            look(&event);
            events.push(event);
        }
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_a_task_hears_how_far_it_is_and_how_it_ends() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let is_heard = Arc::new(AtomicBool::new(false));
    let steps = Steps::start(&cluster, Part::Last, is_heard.clone());
    let at = cluster.endpoints().http.clone().unwrap();
    let mut web = web(&cluster);
    let following = tokio::task::spawn_blocking(move || {
        let id = submit(&mut web, &json!({"kind": "steps", "options": {"events": true}}));
        follow(&at, &id, |(name, _)| is_heard.store(name == "progress", Ordering::Relaxed))
    });
    let events = following.await.unwrap();
    let (first, last) = (&events[0], &events[events.len() - 1]);
    assert_eq!(first.0, "progress");
    assert_eq!(first.1, json!({"attempt": 1, "fraction": 0.5, "text": "half of it"}));
    let part = events.iter().find(|(name, _)| name == "partial").unwrap();
    assert_eq!(part.1, json!({"attempt": 1, "index": 0, "result": "the last part"}));
    let end_of_it = json!({"outcome": "succeeded", "attempt": 1, "result": "all of it"});
    assert_eq!((last.0.as_str(), &last.1), ("ended", &end_of_it));
    steps.stop().await;
}

#[test]
fn whoever_comes_when_it_is_over_hears_how_it_ended() {
    let _turn = shared();
    let (cluster, mut web) = with_worker(&[]);
    let body = web.post("/v1/tasks?wait=30s", &json!({"kind": "fail", "payload": "!no"})).json();
    let at = cluster.endpoints().http.as_deref().unwrap();
    let events = follow(at, body["id"].as_str().unwrap(), |_| ());
    assert_eq!(events, [("ended".to_owned(), json!({"outcome": "failed", "attempt": 1, "error": "no"}))]);
    let unknown = web.get("/v1/tasks/0197a0b2-9d2c-7cc1-8f5a-2f6d1f0a9b77/events");
    assert_eq!(unknown.refusal(), (404, "unknown_task".to_owned()));
}
