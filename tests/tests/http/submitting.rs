//! Handing in, and what comes of it.

use std::collections::HashSet;

use ganger_client::json::{from_msgpack, hex, to_msgpack};
use ganger_tests::cluster::Cluster;
use ganger_tests::customer::Customer;
use ganger_tests::diary::{self, Mark};
use ganger_tests::scale::{Scale, shared};
use ganger_tests::wait::eventually;
use ganger_tests::work;
use serde_json::{Value, json};

use crate::house::{SOON, outcome, submit, web, with_worker};

#[test]
fn a_task_goes_in_as_json_and_its_result_comes_out_as_json() {
    let _turn = shared();
    let (_cluster, mut web) = with_worker(&[]);
    let payload = json!({"words": ["a", 1, null, {"b": 1.5}], "bytes": {"$bytes": "00ff"}});
    let answer = web.post("/v1/tasks?wait=30s", &json!({"kind": "echo", "payload": payload}));
    let body = answer.json();
    assert_eq!((answer.status, &body["outcome"], &body["result"]), (200, &json!("succeeded"), &payload));
    assert_eq!((&body["durability"], &body["attempt"]), (&json!("memory"), &json!(1)));
    let id = body["id"].as_str().unwrap();
    assert_eq!(outcome(&mut web, id)["result"], payload);
    let late = web.call("DELETE", &format!("/v1/tasks/{id}"));
    assert_eq!(late.refusal(), (409, "already_settled".to_owned()));
}

#[test]
fn bytes_go_in_as_they_are_and_come_out_as_they_are() {
    let _turn = shared();
    let (_cluster, mut web) = with_worker(&[]);
    // No MessagePack, and no text.
    let task = json!({"kind": "echo", "payload_base64": "wf8A/g=="});
    let body = web.post("/v1/tasks?wait=30s", &task).json();
    assert_eq!(body["result"], json!({"$bytes": "c1ff00fe"}));
    let path = format!("/v1/tasks/{}/result", body["id"].as_str().unwrap());
    let answer = web.send("GET", &path, &[("Accept", "application/octet-stream")], b"");
    assert_eq!((answer.status, &answer.body[..]), (200, &[0xc1, 0xff, 0x00, 0xfe][..]));
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
}

#[test]
fn messagepack_says_the_same_both_ways() {
    let _turn = shared();
    let (_cluster, mut web) = with_worker(&[]);
    let tasks = json!([
        {"kind": "echo", "payload": {"n": -7}},
        {"kind": "echo", "payload_bytes": {"$bytes": "c1"}, "options": {"priority": 3}},
    ]);
    let headers = [("Content-Type", "application/msgpack"), ("Accept", "application/msgpack")];
    let answer = web.send("POST", "/v1/tasks?wait=30s", &headers, &to_msgpack(&tasks).unwrap());
    assert_eq!(answer.header("content-type"), Some("application/msgpack"));
    let body = from_msgpack(&answer.body).unwrap();
    assert_eq!((answer.status, &body["accepted"]), (200, &json!(2)), "{body}");
    assert_eq!(body["tasks"][0]["result"], json!({"n": -7}));
    assert_eq!(body["tasks"][1]["result"], json!({"$bytes": "c1"}));
}

#[test]
fn the_same_id_again_is_the_same_task() {
    let _turn = shared();
    let (_cluster, mut web) = with_worker(&[]);
    let task = json!({"kind": "echo", "id": "0197a0b2-9d2c-7cc1-8f5a-2f6d1f0a9b77", "payload": "once"});
    let twice = json!([task, task]);
    assert_eq!(web.post("/v1/tasks?wait=30s", &twice).json()["accepted"], 2);
    for _ in 0..3 {
        let body = web.post("/v1/tasks?wait=30s", &task).json();
        assert_eq!((&body["attempt"], &body["result"]), (&json!(1), &json!("once")));
    }
    let counters = &web.get("/v1/status").json()["counters"];
    assert_eq!((&counters["tasks_accepted"], &counters["attempts_given"]), (&json!(1), &json!(1)));
}

#[test]
fn a_wait_that_is_over_leaves_the_task_as_it_is() {
    let _turn = shared();
    let (_cluster, mut web) = with_worker(&[]);
    let answer = web.post("/v1/tasks?wait=1ms", &json!({"kind": "sleep", "payload": "1s"}));
    let body = answer.json();
    assert_eq!((answer.status, body.get("outcome")), (202, None));
    assert_eq!(outcome(&mut web, body["id"].as_str().unwrap())["outcome"], "succeeded");
}

#[test]
fn what_fails_says_why() {
    let _turn = shared();
    let (_cluster, mut web) = with_worker(&[]);
    let body = web.post("/v1/tasks?wait=30s", &json!({"kind": "fail", "payload": "!no such luck"})).json();
    assert_eq!((&body["outcome"], &body["error"]), (&json!("failed"), &json!("no such luck")));
    assert!(body.get("result").is_none(), "{body}");
}

#[test]
fn of_a_batch_each_is_taken_or_refused_for_itself() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&["--queue-tasks", "2"]);
    let mut web = web(&cluster);
    let tasks = [json!("a"), json!(""), json!("b"), json!("c")].map(|kind| json!({"kind": kind}));
    let answer = web.post("/v1/tasks", &json!(tasks));
    let body = answer.json();
    assert_eq!((answer.status, &body["accepted"]), (202, &json!(2)), "{body}");
    let places = |rows: &Value| -> Vec<u64> {
        rows.as_array().unwrap().iter().map(|row| row["index"].as_u64().unwrap()).collect()
    };
    assert_eq!((places(&body["tasks"]), places(&body["refused"])), (vec![0, 2], vec![1, 3]));
    assert_eq!(body["refused"][0]["code"], "bad_option");
    assert_eq!(body["refused"][1]["code"], "busy");
    assert!(body["refused"][1]["retry_after_ms"].as_u64().unwrap() > 0);
}

#[test]
fn a_full_queue_is_a_429_that_says_when_to_come_back() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&["--queue-tasks", "1"]);
    let mut web = web(&cluster);
    submit(&mut web, &json!({"kind": "nobody"}));
    let answer = web.post("/v1/tasks", &json!({"kind": "nobody"}));
    assert_eq!(answer.refusal(), (429, "busy".to_owned()));
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(web.get("/v1/status").json()["queued"], 1, "what was refused is nowhere kept");
}

/// 100,000 tasks in 1,000 batches at full size; a tenth of that for every commit.
#[tokio::test(flavor = "multi_thread")]
async fn many_batches_settle_all_and_each_once() {
    let _turn = shared();
    let (batches, size) = (Scale::from_env().pick(100, 1_000), 100);
    let cluster = Cluster::start_with_http(&[]).with_diarists(3, 4);
    let customer = Customer::connect(&cluster).await;
    customer.await_workers(3, SOON).await;
    let mut web = web(&cluster);
    let hand_in = tokio::task::spawn_blocking(move || {
        let mut ids = HashSet::new();
        for batch in 0..batches {
            let body = web.send("POST", "/v1/tasks", &PACKED, &diary_tasks(batch, size)).json();
            assert_eq!((&body["accepted"], &body["refused"]), (&json!(size), &json!([])));
            ids.extend(body["tasks"].as_array().unwrap().iter().map(|task| task["id"].to_string()));
        }
        let all = batches * size;
        eventually("all have settled", SOON * 4, || {
            web.get("/v1/status").json()["counters"]["tasks_succeeded"] == all
        });
        ids
    });
    let ids = hand_in.await.unwrap();
    assert_eq!(ids.len(), batches * size, "each has an id of its own");
    let lines = diary::read_all(cluster.directory());
    let starts: Vec<String> = lines
        .iter()
        .filter(|line| line.mark == Mark::Start)
        .map(|line| json!(line.task).to_string())
        .collect();
    assert_eq!(starts.len(), ids.len(), "each ran once");
    assert_eq!(starts.into_iter().collect::<HashSet<_>>(), ids, "and it was they that ran");
}

const PACKED: [(&str, &str); 1] = [("Content-Type", "application/msgpack")];

/// Tasks of the workers that keep a diary, whose payloads are texts without any wrapping.
fn diary_tasks(batch: usize, size: usize) -> Vec<u8> {
    let task = |place| {
        let payload = hex(format!("0\n{batch}.{place}").as_bytes());
        json!({"kind": work::SPIN, "payload_bytes": {"$bytes": payload}})
    };
    to_msgpack(&(0..size).map(task).collect()).unwrap()
}
