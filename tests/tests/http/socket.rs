//! Conversations over a WebSocket.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ganger_tests::binaries::repository;
use ganger_tests::cluster::Cluster;
use ganger_tests::customer::Customer;
use ganger_tests::diary::{self, Mark};
use ganger_tests::process::{Ended, Proc};
use ganger_tests::scale::{Scale, shared};
use ganger_tests::wait::eventually;
use ganger_tests::work;
use ganger_tests::ws::Ws;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::house::{SOON, submit, web, with_worker};
use crate::steps::{Part, Steps};

fn ws(cluster: &Cluster) -> Ws {
    Ws::connect(cluster.endpoints().http.as_deref().unwrap())
}

/// What was said of one type.
fn of<'a>(said: &'a [Value], kind: &str) -> Vec<&'a Value> {
    said.iter().filter(|said| said["type"] == kind).collect()
}

#[test]
fn of_a_batch_each_is_taken_or_refused_and_each_outcome_is_told() {
    let _turn = shared();
    let (cluster, _web) = with_worker(&[]);
    let mut ws = ws(&cluster);
    let tasks =
        json!([{"kind": "echo", "payload": {"n": 7}}, {"kind": ""}, {"kind": "fail", "payload": "!no"}]);
    let said = ws.submit(1, &tasks, "outcomes");
    let accepted = of(&said, "accepted")[0];
    assert_eq!((&accepted["accepted"], &accepted["durability"]), (&json!(2), &json!("memory")));
    assert_eq!(
        (&accepted["refused"][0]["index"], &accepted["refused"][0]["code"]),
        (&json!(1), &json!("bad_option"))
    );
    let ends: BTreeMap<&str, &Value> =
        of(&said, "ended").into_iter().map(|end| (end["outcome"].as_str().unwrap(), end)).collect();
    let (first, third) = (&accepted["tasks"][0]["id"], &accepted["tasks"][1]["id"]);
    assert_eq!((&ends["succeeded"]["id"], &ends["succeeded"]["result"]), (first, &json!({"n": 7})));
    assert_eq!((&ends["failed"]["id"], &ends["failed"]["error"]), (third, &json!("no")));
    assert_eq!(said.len(), 4, "and that is all: {said:?}");

    let said = ws.submit(2, &json!([{"kind": "", "payload": 1}]), "outcomes");
    assert_eq!((said.len(), &said[0]["type"], &said[0]["code"]), (1, &json!("error"), &json!("bad_option")));
    let again = ws.submit(3, &json!([{"kind": "echo", "id": first}]), "outcomes");
    assert_eq!(of(&again, "ended")[0]["result"], json!({"n": 7}), "the same id is the same task");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hands_in_hears_everything_that_a_task_says_from_the_first_word_on() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let is_heard = Arc::new(AtomicBool::new(false));
    let steps = Steps::start(&cluster, Part::First, is_heard.clone());
    let mut ws = ws(&cluster);
    let following = tokio::task::spawn_blocking(move || {
        ws.say(&json!({"req": 9, "do": "submit", "tasks": [{"kind": "steps"}], "follow": "all"}));
        let mut said = ws.hear_until(|said| said["type"] == "progress");
        is_heard.store(true, Ordering::Relaxed);
        said.extend(ws.hear_out(9));
        said
    });
    let said = following.await.unwrap();
    let id = &of(&said, "accepted")[0]["tasks"][0]["id"];
    let part =
        json!({"req": 9, "type": "partial", "id": id, "attempt": 1, "index": 0, "result": "the first part"});
    assert_eq!(*of(&said, "partial")[0], part);
    let half =
        json!({"req": 9, "type": "progress", "id": id, "attempt": 1, "fraction": 0.5, "text": "half of it"});
    assert_eq!(*of(&said, "progress")[0], half);
    assert_eq!(of(&said, "ended")[0]["result"], "all of it");
    steps.stop().await;
}

#[test]
fn tasks_are_followed_and_cancelled_whoever_handed_them_in() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let (mut web, mut ws) = (web(&cluster), ws(&cluster));
    let unknown = "0197a0b2-9d2c-7cc1-8f5a-2f6d1f0a9b77";
    let id = submit(&mut web, &json!({"kind": "nobody"}));
    ws.say(&json!({"req": 1, "do": "follow", "ids": [id, unknown]}));
    let error = ws.hear().unwrap();
    assert_eq!((&error["id"], &error["code"]), (&json!(unknown), &json!("unknown_task")));
    ws.say(&json!({"req": 2, "do": "cancel", "ids": [unknown, id]}));
    let mut said = ws.hear_until(|said| said["type"] == "done");
    said.extend(ws.hear_until(|said| said["type"] == "done"));
    assert_eq!(
        (&of(&said, "ended")[0]["id"], &of(&said, "ended")[0]["outcome"]),
        (&json!(id), &json!("cancelled"))
    );
    let verdict = said.iter().find(|said| said["req"] == 2).unwrap();
    assert_eq!(
        (&verdict["refused"][0]["index"], &verdict["refused"][0]["code"]),
        (&json!(0), &json!("unknown_task"))
    );
}

#[test]
fn one_connection_hands_in_and_watches_until_it_is_told_to_stop() {
    let _turn = shared();
    let (cluster, _web) = with_worker(&[]);
    let mut ws = ws(&cluster);
    ws.say(&json!({"req": 1, "do": "watch", "types": ["task_settled"], "kinds": ["echo"]}));
    let begin = ws.hear().unwrap();
    assert_eq!((&begin["type"], begin["newest"].is_u64()), (&json!("watching"), true));
    ws.submit(
        2,
        &json!([{"kind": "fail", "payload": "!no"}, {"kind": "sleep", "payload": "1ms"}]),
        "nothing",
    );
    ws.say(&json!({"req": 3, "do": "submit", "tasks": [{"kind": "echo"}], "follow": "nothing"}));
    let said = ws.hear_until(|said| said["type"] == "event");
    let event = &said[said.len() - 1];
    assert_eq!(
        (&event["req"], &event["event"]["kind"], &event["event"]["type"]),
        (&json!(1), &json!("echo"), &json!("task_settled"))
    );
    ws.say(&json!({"req": 4, "do": "stop", "of": 1}));
    ws.hear_out(4);
    let said = ws.submit(1, &json!([{"kind": "echo"}]), "outcomes");
    assert_eq!(of(&said, "event").len(), 0, "its number is free again");
    let number = event["event"]["number"].as_u64().unwrap();
    ws.say(&json!({"req": 5, "do": "watch", "after": number - 1}));
    let again = ws.hear_until(|said| said["type"] == "event");
    assert_eq!(again[1]["event"]["number"], number, "and it goes on from where somebody was");
    ws.say(&json!({"req": 6, "do": "watch", "after": 3}));
    let missed = ws.hear_until(|said| said["req"] == 6 && said["type"] == "missed");
    assert!(missed[missed.len() - 1].get("count").is_none());
}

#[test]
fn what_is_said_wrongly_is_told_so_and_the_conversation_goes_on() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut ws = ws(&cluster);
    let mut refused = |said: Value| {
        ws.say(&said);
        let error = ws.hear().unwrap();
        assert_eq!((&error["type"], error.get("req")), (&json!("error"), said.get("req")), "{said}");
        error["code"].as_str().unwrap().to_owned()
    };
    let id = "0197a0b2-9d2c-7cc1-8f5a-2f6d1f0a9b77";
    assert_eq!(refused(json!("hello")), "bad_message");
    assert_eq!(refused(json!({"req": 1, "do": "dance"})), "bad_message");
    assert_eq!(refused(json!({"req": 2, "do": "submit", "tasks": []})), "bad_message");
    assert_eq!(
        refused(json!({"req": 3, "do": "submit", "tasks": vec![json!({"kind": "a"}); 4_097]})),
        "too_many"
    );
    assert_eq!(refused(json!({"req": 4, "do": "cancel", "ids": [id], "of": 7})), "bad_message");
    assert_eq!(refused(json!({"req": 5, "do": "stop", "of": 7})), "not_found");
    assert_eq!(refused(json!({"req": 6, "do": "watch", "types": ["all"]})), "bad_option");
    ws.say_raw(Message::binary(vec![0x80]));
    assert_eq!(ws.hear().unwrap()["code"], "wrong_type");
    ws.say(&json!({"req": 7, "do": "watch"}));
    ws.hear();
    ws.say(&json!({"req": 7, "do": "watch"}));
    assert_eq!(ws.hear().unwrap()["code"], "bad_message");
    ws.say_raw(Message::text("x".repeat((1 << 20) + 1)));
    assert_eq!(ws.goodbye(), 1009);
}

#[test]
fn a_request_for_something_else_or_of_somebody_elses_page_is_refused() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let (at, mut web) = (cluster.endpoints().http.clone().unwrap(), web(&cluster));
    let plain = web.get("/v1/ws");
    assert_eq!(
        (plain.refusal(), plain.header("upgrade")),
        ((426, "no_upgrade".to_owned()), Some("websocket"))
    );
    assert_eq!(Ws::try_connect(&at, &[("Origin", "http://evil.example")]).unwrap_err(), 403);
    assert_eq!(Ws::try_connect(&at, &[("Sec-Fetch-Site", "cross-site")]).unwrap_err(), 403);
    assert_eq!(Ws::try_connect(&at, &[("Host", "evil.example")]).unwrap_err(), 403);
    Ws::try_connect(&at, &[("Origin", &format!("http://{at}"))]).unwrap();
}

#[test]
fn a_broker_that_goes_down_says_goodbye() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut ws = ws(&cluster);
    cluster.broker().term();
    assert_eq!(ws.goodbye(), 1001);
    assert_eq!(cluster.broker().wait(SOON), Ended::Code(0));
}

#[test]
fn i15_a_peer_that_does_not_read_costs_little_and_still_hears_of_every_outcome() {
    let _turn = shared();
    let (cluster, mut web) = with_worker(&[]);
    // Bytes that are no value are shown in hexadecimal, and so take twice as much.
    let payload = "wf//".repeat(12 << 10);
    let ids: Vec<String> =
        (0..600).map(|_| submit(&mut web, &json!({"kind": "echo", "payload_base64": payload}))).collect();
    eventually("all are there", SOON, || web.get("/v1/status").json()["counters"]["tasks_succeeded"] == 600);
    let before = cluster.broker().rss_bytes();
    let mut ws = ws(&cluster);
    ws.say(&json!({"req": 1, "do": "follow", "ids": ids}));
    // The broker has said all that it will say when it does not grow any more.
    let (mut last, mut looks) = (before, 0);
    eventually("nothing more is told", SOON, || {
        let now = cluster.broker().rss_bytes();
        looks = if now > last { 0 } else { looks + 1 };
        last = now;
        looks == 200
    });
    let grown = cluster.broker().rss_bytes().saturating_sub(before);
    assert!(grown < 48 << 20, "{} KiB", grown >> 10);
    let said = ws.hear_out(1);
    let ends = of(&said, "ended");
    let heard: HashSet<&str> = ends.iter().map(|end| end["id"].as_str().unwrap()).collect();
    assert_eq!((ends.len(), heard.len()), (600, 600));
    assert!(
        ends.iter().any(|end| end["left_out"] == true) && ends.iter().any(|end| end["result"].is_object())
    );
}

/// 100,000 tasks in 1,000 batches at full size; a tenth of that for every commit. The client is Python's.
#[tokio::test(flavor = "multi_thread")]
async fn many_batches_over_a_websocket_settle_all_and_each_once() {
    let _turn = shared();
    let Some(python) = ganger_tests::python::python(Path::new(env!("CARGO_TARGET_TMPDIR"))) else { return };
    let (batches, size) = (Scale::from_env().pick(100, 1_000), 100);
    let cluster = Cluster::start_with_http(&[]).with_diarists(3, 4);
    let customer = Customer::connect(&cluster).await;
    customer.await_workers(3, SOON).await;
    let mut command = Command::new(python);
    let url = format!("ws://{}/v1/ws", cluster.endpoints().http.as_deref().unwrap());
    command.arg(repository().join("examples/python/ganger_websocket.py"));
    // Workers that keep a diary want texts without any wrapping.
    command.args(["--url", &url, "--kind", work::SPIN, "--payload", "0\n{batch}.{place}"]);
    command.args(["--batches", &batches.to_string(), "--size", &size.to_string()]);
    let client = Proc::spawn("ganger_websocket.py", command, cluster.directory());
    assert_eq!(client.wait(SOON * 8), Ended::Code(0), "{}", client.stderr());
    let told: Value = serde_json::from_str(&client.stdout()).unwrap();
    let ids: HashSet<String> = told["ids"].as_array().unwrap().iter().map(Value::to_string).collect();
    assert_eq!((&told["outcomes"]["succeeded"], ids.len()), (&json!(batches * size), batches * size));
    let lines = diary::read_all(cluster.directory());
    let starts = lines.iter().filter(|line| line.mark == Mark::Start);
    let starts: Vec<String> = starts.map(|line| json!(line.task).to_string()).collect();
    assert_eq!(starts.len(), ids.len(), "each ran once");
    assert_eq!(starts.into_iter().collect::<HashSet<_>>(), ids, "and it was they that ran");
}
