//! Many batches, from programs that nobody here wrote: each task settles, and runs once.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ganger_tests::cluster::Cluster;
use ganger_tests::diary::{self, Mark};
use ganger_tests::python::{plain, script};
use ganger_tests::scale::{Scale, shared};
use ganger_tests::wait::eventually;
use ganger_tests::web::Web;
use ganger_tests::work;
use serde_json::{Value, json};

use crate::house::{SOON, web};

/// Tasks in a batch.
const SIZE: usize = 100;

/// 1,000 batches at full size.
fn batches() -> usize {
    Scale::from_env().pick(50, 1_000)
}

fn gang() -> Cluster {
    let cluster = Cluster::start_with_http(&[]).with_diarists(3, 4);
    let mut web = web(&cluster);
    eventually("the workers are there", SOON, || web.get("/v1/status").json()["workers"] == 3);
    cluster
}

#[test]
fn batches_from_curl_settle_all_and_each_once() {
    let _turn = shared();
    let curl = |args: &[&str]| Command::new("curl").args(args).output();
    if curl(&["--version"]).is_err() {
        return eprintln!("SKIPPED: there is no curl here");
    }
    let cluster = gang();
    let at = cluster.endpoints().http.clone().unwrap();
    // One curl for all of them, which keeps its connection.
    let mut requests = String::new();
    for batch in 0..batches() {
        let body = cluster.directory().join(format!("batch-{batch}.json"));
        std::fs::write(&body, tasks(batch).to_string()).unwrap();
        let next = if batch == 0 { "" } else { "next\n" };
        let body = body.display();
        let header = "header = \"Content-Type: application/json\"";
        writeln!(
            requests,
            "{next}silent\nurl = \"http://{at}/v1/tasks\"\n{header}\ndata-binary = \"@{body}\""
        )
        .unwrap();
    }
    let list = cluster.directory().join("requests");
    std::fs::write(&list, requests).unwrap();
    let output = curl(&["--config", &list.display().to_string()]).unwrap();
    assert!(output.status.success(), "{output:?}");
    each_once(&cluster, &output.stdout);
}

#[test]
fn batches_from_python_settle_all_and_each_once() {
    let _turn = shared();
    let Some(python) = plain() else { return };
    let cluster = gang();
    let at = cluster.endpoints().http.clone().unwrap();
    let batches = batches().to_string();
    let args = [at.as_str(), work::SPIN, batches.as_str(), &SIZE.to_string()];
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http/batches.py");
    let output = script(&python, &program, &args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    each_once(&cluster, &output.stdout);
}

fn tasks(batch: usize) -> Value {
    let task = |place| {
        // What the workers that keep a diary read is text without any wrapping.
        json!({"kind": work::SPIN, "payload_base64": STANDARD.encode(format!("0\n{batch}.{place}"))})
    };
    (0..SIZE).map(task).collect()
}

/// Every task of these answers settles, and ran once; and nothing else did.
fn each_once(cluster: &Cluster, answers: &[u8]) {
    let mut ids = HashSet::new();
    for answer in serde_json::Deserializer::from_slice(answers).into_iter::<Value>() {
        let answer = answer.unwrap();
        assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(SIZE), &json!([])), "{answer}");
        ids.extend(answer["tasks"].as_array().unwrap().iter().map(|task| task["id"].to_string()));
    }
    assert_eq!(ids.len(), batches() * SIZE, "each has an id of its own");
    await_all(&mut web(cluster), ids.len());
    let lines = diary::read_all(cluster.directory());
    let starts = lines.iter().filter(|line| line.mark == Mark::Start);
    let starts: Vec<String> = starts.map(|line| json!(line.task).to_string()).collect();
    assert_eq!(starts.len(), ids.len(), "each ran once");
    assert_eq!(starts.into_iter().collect::<HashSet<_>>(), ids, "and it was they that ran");
}

fn await_all(web: &mut Web, all: usize) {
    eventually("all have settled", SOON * 4, || {
        web.get("/v1/status").json()["counters"]["tasks_succeeded"] == all
    });
}
