//! Seeing to tasks, workers and the dead set.

use std::collections::HashSet;

use ganger_tests::cluster::Cluster;
use ganger_tests::scale::shared;
use ganger_tests::wait::eventually;
use ganger_tests::web::Web;
use serde_json::{Value, json};

use crate::house::{SOON, outcome, submit, web, with_worker};

/// All rows of a listing, page by page.
fn rows(web: &mut Web, path: &str) -> Vec<Value> {
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let page = web.get(&format!("{path}{after}")).json();
        rows.extend(page["rows"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { return rows };
        after = format!("&after={next}");
    }
}

#[test]
fn a_listing_shows_what_fits_page_by_page() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    let tasks: Vec<Value> = (0..250).map(|n| json!({"kind": if n % 5 == 0 { "a" } else { "b" }})).collect();
    let answer = web.post("/v1/tasks", &json!(tasks)).json();
    let all: HashSet<&str> =
        answer["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect();
    let listed = rows(&mut web, "/v1/tasks?limit=100");
    let ids: HashSet<&str> = listed.iter().map(|task| task["id"].as_str().unwrap()).collect();
    assert_eq!((listed.len(), ids), (250, all));
    assert_eq!(rows(&mut web, "/v1/tasks?kind=a&limit=7").len(), 50);
    assert_eq!(rows(&mut web, "/v1/tasks?state=parked&kind=b").len(), 200);
    assert_eq!(rows(&mut web, "/v1/tasks?state=running").len(), 0);
    let kinds = web.get("/v1/kinds").json();
    let of = |name: &str| kinds["rows"].as_array().unwrap().iter().find(|row| row["kind"] == name).cloned();
    assert_eq!(of("a").unwrap()["queued"], 50);
}

#[test]
fn a_task_that_waits_says_why_and_can_be_cancelled() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    let path = format!("/v1/tasks/{}", submit(&mut web, &json!({"kind": "nobody"})));
    let explanation = web.get(&format!("{path}/explain")).json();
    assert_eq!(explanation["reasons"][0]["code"], "no_worker_for_kind");
    assert_eq!(web.get(&format!("{path}/result")).status, 202);
    assert_eq!(web.call("DELETE", &path).status, 204);
    let answer = web.get(&format!("{path}/result"));
    assert_eq!((answer.status, &answer.json()["outcome"]), (200, &json!("cancelled")));
    let raw = web.send("GET", &format!("{path}/result"), &[("Accept", "application/octet-stream")], b"");
    assert_eq!(raw.refusal(), (404, "not_found".to_owned()));
    assert_eq!(web.call("DELETE", &path).status, 204, "once more is the same");
    assert_eq!(web.call("POST", &format!("{path}/retry")).refusal(), (409, "not_retryable".to_owned()));
    assert_eq!(web.get(&path).json()["state"], "settled");
}

#[test]
fn a_payload_is_shown_as_long_as_its_task_may_run() {
    let _turn = shared();
    let (_cluster, mut web) = with_worker(&[]);
    let payload = json!({"n": 18_446_744_073_709_551_615_u64, "raw": {"$bytes": "00ff"}});
    let waiting = submit(&mut web, &json!({"kind": "nobody", "payload": payload}));
    let shown = web.get(&format!("/v1/tasks/{waiting}/payload")).json();
    assert_eq!((&shown["payload"], &shown["left_out"]), (&payload, &json!(null)));
    let as_bytes = [("Accept", "application/octet-stream")];
    let bytes = web.send("GET", &format!("/v1/tasks/{waiting}/payload"), &as_bytes, b"").body;
    assert_eq!(shown["bytes"], bytes.len());
    let failed = submit(&mut web, &json!({"kind": "fail", "payload": "!out of paper"}));
    let done = submit(&mut web, &json!({"kind": "echo", "payload": "x"}));
    outcome(&mut web, &failed);
    outcome(&mut web, &done);
    let kept = web.get(&format!("/v1/tasks/{failed}/payload")).json();
    assert_eq!(kept["payload"], "!out of paper");
    assert_eq!(web.get(&format!("/v1/tasks/{done}/payload")).refusal(), (404, "not_found".to_owned()));
    let unknown = "0197a0b2-9d2c-7cc1-8f5a-2f6d1f0a9b77";
    assert_eq!(web.get(&format!("/v1/tasks/{unknown}/payload")).refusal(), (404, "unknown_task".to_owned()));
    let large = submit(&mut web, &json!({"kind": "nobody", "payload": "x".repeat(2 << 20)}));
    let shown = web.get(&format!("/v1/tasks/{large}/payload")).json();
    assert_eq!((&shown["left_out"], &shown["payload"]), (&json!(true), &json!(null)));
}

#[test]
fn the_dead_set_is_listed_and_put_back_by_id_and_by_filter() {
    let _turn = shared();
    let (_cluster, mut web) = with_worker(&[]);
    let fail = |n: usize| json!({"kind": "fail", "payload": format!("!{n}")});
    let tasks: Vec<Value> = (0..5).map(fail).collect();
    let body = web.post("/v1/tasks?wait=30s", &json!(tasks)).json();
    let id = body["tasks"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(rows(&mut web, "/v1/dead?limit=2").len(), 5);
    assert_eq!(rows(&mut web, "/v1/dead?outcome=dead").len(), 0);
    assert_eq!(rows(&mut web, "/v1/dead?outcome=failed&kind=fail").len(), 5);
    let dead = web.get("/v1/tasks?state=failed").json();
    assert_eq!(dead["rows"][0]["outcome"], "failed");

    assert_eq!(web.call("POST", &format!("/v1/tasks/{id}/retry")).status, 202);
    assert!(outcome(&mut web, &id)["attempt"].as_u64().unwrap() >= 2);
    let unknown = "0197a0b2-9d2c-7cc1-8f5a-2f6d1f0a9b77";
    let some = web.post("/v1/dead/retry", &json!({"ids": [id, unknown]})).json();
    assert_eq!((&some["retried"], &some["refused"][0]["code"]), (&json!(1), &json!("unknown_task")));
    eventually("it has failed again", SOON, || rows(&mut web, "/v1/dead?").len() == 5);
    let none = web.post("/v1/dead/retry", &json!({"kind": "other"})).json();
    assert_eq!((&none["retried"], &none["more"]), (&json!(0), &json!(false)));
    let all = web.post("/v1/dead/retry", &json!({"outcome": "failed"})).json();
    assert_eq!(all["retried"], 5, "{all}");
    let both = web.post("/v1/dead/retry", &json!({"ids": [id], "kind": "fail"}));
    assert_eq!(both.refusal(), (400, "bad_message".to_owned()));
}

#[test]
fn the_dead_set_is_let_go_by_id_and_by_filter_and_never_by_saying_nothing() {
    let _turn = shared();
    let (_cluster, mut web) = with_worker(&[]);
    let fail = |n: usize| json!({"kind": "fail", "payload": format!("!{n}")});
    let tasks: Vec<Value> = (0..5).map(fail).collect();
    let body = web.post("/v1/tasks?wait=30s", &json!(tasks)).json();
    let id = |n: usize| body["tasks"][n]["id"].as_str().unwrap().to_owned();
    for nothing in [json!({}), json!({"all": false})] {
        assert_eq!(web.post("/v1/dead/discard", &nothing).refusal(), (400, "bad_message".to_owned()));
    }
    let both = web.post("/v1/dead/discard", &json!({"ids": [id(0)], "all": true}));
    assert_eq!(both.refusal(), (400, "bad_message".to_owned()));
    assert_eq!(rows(&mut web, "/v1/dead?").len(), 5);

    let unknown = "0197a0b2-9d2c-7cc1-8f5a-2f6d1f0a9b77";
    let some = web.post("/v1/dead/discard", &json!({"ids": [id(0), unknown, id(1), id(0)]})).json();
    assert_eq!((&some["discarded"], &some["more"]), (&json!(2), &json!(false)), "{some}");
    assert_eq!((&some["refused"][0]["index"], &some["refused"][0]["id"]), (&json!(1), &json!(unknown)));
    assert_eq!(some["refused"][0]["code"], "unknown_task");
    assert_eq!(web.get(&format!("/v1/tasks/{}", id(0))).refusal(), (404, "unknown_task".to_owned()));

    for filter in [json!({"kind": "other"}), json!({"outcome": "dead"})] {
        assert_eq!(web.post("/v1/dead/discard", &filter).json()["discarded"], 0, "{filter}");
    }
    let rest = web.post("/v1/dead/discard", &json!({"kind": "fail", "outcome": "failed"})).json();
    assert_eq!((&rest["discarded"], &rest["more"]), (&json!(3), &json!(false)), "{rest}");
    assert_eq!(web.post("/v1/dead/discard", &json!({"all": true})).json()["discarded"], 0);
    assert_eq!(web.get("/v1/status").json()["dead_set"], 0);
}

#[test]
fn a_kind_is_paused_and_resumed_and_says_so() {
    let _turn = shared();
    let (_cluster, mut web) = with_worker(&[]);
    assert_eq!(web.call("POST", "/v1/kinds/echo/pause").status, 204);
    let id = submit(&mut web, &json!({"kind": "echo", "payload": 7}));
    assert_eq!(web.post("/v1/tasks?wait=30s", &json!({"kind": "noop"})).status, 200, "others go on");
    let explanation = web.get(&format!("/v1/tasks/{id}/explain")).json();
    assert_eq!(explanation["reasons"][0]["code"], "kind_paused");
    let of = |web: &mut Web, name: &str| {
        let rows = web.get("/v1/kinds").json()["rows"].as_array().unwrap().clone();
        let row = rows.into_iter().find(|row| row["kind"] == name).unwrap();
        (row["queued"].as_u64().unwrap(), row["paused"].as_bool().unwrap())
    };
    assert_eq!((of(&mut web, "echo"), of(&mut web, "noop").1), ((1, true), false));
    assert!(web.get("/metrics").text().contains("ganger_kind_paused{kind=\"echo\"} 1"));
    assert_eq!(web.call("POST", "/v1/kinds/echo/resume").status, 204);
    assert_eq!(outcome(&mut web, &id)["outcome"], "succeeded");
    assert_eq!(of(&mut web, "echo"), (0, false));
    assert_eq!(web.call("POST", "/v1/kinds/a%2Fb/pause").status, 204, "a name may have a slash");
    assert_eq!(of(&mut web, "a/b"), (0, true));
}

#[test]
fn a_worker_is_listed_and_drained_by_name() {
    let _turn = shared();
    let (cluster, mut web) = with_worker(&[]);
    let workers = web.get("/v1/workers").json();
    assert_eq!((&workers["rows"][0]["name"], &workers["rows"][0]["slots"]), (&json!("w0"), &json!(4)));
    assert_eq!(web.call("POST", "/v1/workers/w0/drain?deadline=5s").status, 202);
    cluster.worker(0).wait(SOON);
    eventually("it is gone", SOON, || web.get("/v1/workers").json()["rows"] == json!([]));
}

#[test]
fn the_figures_are_those_of_the_command_line() {
    let _turn = shared();
    let (cluster, mut web) = with_worker(&[]);
    web.post("/v1/tasks?wait=30s", &json!([{"kind": "noop"}, {"kind": "echo"}]));
    submit(&mut web, &json!({"kind": "nobody"}));
    let output = cluster.command_line(&["status", "--json"]).output().unwrap();
    let mut theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut ours = web.get("/v1/status").json();
    for shown in [&mut theirs, &mut ours] {
        // What the asking itself changes, and time.
        for name in ["uptime_ms", "clients", "counters"] {
            shown.as_object_mut().unwrap().remove(name);
        }
        shown["kinds"].as_array_mut().unwrap().iter_mut().for_each(|kind| kind["oldest_ms"] = json!(0));
    }
    assert_eq!(ours, theirs);
    assert_eq!((&ours["retained"], &ours["parked"]), (&json!(2), &json!(1)));
}
