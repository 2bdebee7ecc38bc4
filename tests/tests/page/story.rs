//! What an operator does with it.

use ganger_tests::browser::{Browser, keep_picture};
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::scale::shared;
use ganger_tests::wait::eventually;
use serde_json::{Value, json};

use crate::house::{SOON, asked, figure, opened, row, rows, says, text, web};

/// Hands in a task that runs for a minute and may not take a worker down; returns its id and who runs it.
fn long_task(cluster: &Cluster) -> (String, String) {
    let mut web = web(cluster);
    let task = json!({"kind": "sleep", "payload": 60_000, "options": {"crash_limit": 1}});
    let id = web.post("/v1/tasks", &task).json()["id"].as_str().unwrap().to_owned();
    let mut runs_at = Value::Null;
    eventually("it runs", SOON, || {
        let task = web.get(&format!("/v1/tasks/{id}")).json();
        runs_at = task["worker_name"].clone();
        task["state"] == "running"
    });
    (id, runs_at.as_str().unwrap().to_owned())
}

fn kill(cluster: &Cluster, name: &str) {
    cluster.workers().iter().find(|worker| worker.name() == name).unwrap().kill();
}

/// A whole number as the page writes it.
fn grouped(number: &Value) -> Value {
    let digits = number.as_u64().unwrap().to_string();
    let from_end = digits.bytes().rev().enumerate();
    let mut text: Vec<u8> = from_end
        .flat_map(|(place, digit)| (place > 0 && place % 3 == 0).then_some(b',').into_iter().chain([digit]))
        .collect();
    text.reverse();
    json!(String::from_utf8(text).unwrap())
}

#[test]
fn each_number_of_the_overview_is_that_of_the_command_line() {
    let _turn = shared();
    let Some((cluster, mut browser)) = opened() else { return };
    let mut web = web(&cluster);
    let many: Vec<Value> = (0..1_200).map(|_| json!({"kind": "nobody.serves.this"})).collect();
    web.post("/v1/tasks", &json!(many));
    let done: Vec<Value> = (0..50).map(|_| json!({"kind": "noop"})).collect();
    web.post("/v1/tasks?wait=30s", &json!(done));
    web.post("/v1/tasks?wait=30s", &json!({"kind": "fail", "payload": "!no paper"}));
    for _ in 0..3 {
        long_task(&cluster);
    }
    let status = asked(&mut cluster.command_line(&["status", "--json"]));
    assert_eq!((&status["queued"], &status["running"]), (&json!(1_200), &json!(3)));
    for (name, value) in
        [("queued", "queued"), ("running", "running"), ("workers", "workers"), ("dead", "dead_set")]
    {
        browser.await_value(&figure(name), &grouped(&status[value]));
    }
    for kind in status["kinds"].as_array().unwrap() {
        let shown = format!("{}?.slice(1, 4) ?? null", row("Queues by kind", kind["kind"].as_str().unwrap()));
        let told = [&kind["queued"], &kind["leased"], &kind["workers"]].map(grouped);
        browser.await_value(&shown, &json!(told));
    }
    browser
        .await_true(&says("1,200 tasks of nobody.serves.this wait: no connected worker serves that kind."));
    // A share of the slots that is known, of the three that are busy all the time.
    browser.await_true(&format!("/7[3-7] % busy/.test({})", text("[data-figure=workers] ~ small")));
    browser.await_value(&text("#dead-count"), &json!("1"));
    assert_eq!(browser.complaints(), [""; 0]);
    for (width, height) in [(400, 900), (1_600, 1_000), (3_840, 2_160)] {
        for is_dark in [false, true] {
            browser.look(width, height, is_dark);
            let colours = if is_dark { "dark" } else { "light" };
            keep_picture(&mut browser, &format!("overview-{width}-{colours}.png"));
            let wide = browser.value("document.documentElement.scrollWidth");
            assert!(wide.as_u64().unwrap() <= u64::from(width), "{wide} on a screen of {width}");
        }
    }
}

#[test]
fn a_worker_that_is_killed_is_seen_to_die_and_its_task_is_retried_from_the_dead_set() {
    let _turn = shared();
    let Some((cluster, mut browser)) = opened() else { return };
    let (id, name) = long_task(&cluster);
    browser.press("g");
    browser.press("t");
    browser.click(&format!("a[href='#/tasks/{id}']"));
    browser.await_value(&text(".badge.large"), &json!("running"));
    browser.await_true(&says("60000"));
    browser.press("g");
    browser.press("o");
    browser.await_value(&figure("running"), &json!("1"));
    kill(&cluster, &name);
    browser.await_value(&figure("workers"), &json!("1"));
    browser.await_value(&figure("dead"), &json!("1"));
    browser.await_true(&says("1 task failed for good or took workers down."));

    browser.press("g");
    browser.press("d");
    browser.await_value(&rows("Dead set"), &json!(1));
    browser.click(".head button.main");
    // Whoever presses Enter without reading has said no.
    browser.await_true("document.activeElement.textContent === 'No, leave it'");
    browser.press("Escape");
    browser.await_true("document.querySelector('dialog') === null");
    browser.click("td input[type=checkbox]");
    browser.await_value(&text(".head button.main"), &json!("Retry 1 task"));
    browser.click(".head button.main");
    browser.click("dialog [data-answer=yes]");
    browser.await_true(&says("1 put back"));
    browser.await_value(&rows("Dead set"), &json!(0));

    browser.value(&format!("location.hash = '#/tasks/{id}'"));
    browser.await_value(&text(".badge.large"), &json!("running"));
    browser.await_true(&format!("{} !== null", row("Attempts", "1")));
    keep_picture(&mut browser, "task.png");
    browser.click(".head button.danger");
    browser.click("dialog [data-answer=yes]");
    browser.await_value(&text(".badge.large"), &json!("cancelled"));
    let task = web(&cluster).get(&format!("/v1/tasks/{id}")).json();
    assert_eq!((&task["outcome"], &task["attempt"]), (&json!("cancelled"), &json!(2)));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_worker_is_drained_after_a_question_and_the_map_is_there_to_be_read() {
    let _turn = shared();
    let Some((cluster, mut browser)) = opened() else { return };
    web(&cluster).send(
        "PUT",
        "/v1/knowledge/config/paper",
        &[("Content-Type", "application/json")],
        br#"{"format": "A4", "sheets": 18446744073709551615}"#,
    );
    browser.press("g");
    browser.press("k");
    browser.await_true(&says("18446744073709551615"));
    browser.await_value(&format!("{}?.slice(1, 3)", row("Replicas", "first")), &json!(["1", "0"]));
    browser.press("g");
    browser.press("w");
    browser.await_value(&rows("Workers"), &json!(2));
    assert_eq!(browser.value("document.querySelectorAll('td button:not([hidden])').length"), 2);
    keep_picture(&mut browser, "workers.png");
    browser.click("tbody tr td button");
    browser.await_true("document.querySelector('dialog h2').textContent === 'Drain first?'");
    browser.click("dialog [data-answer=yes]");
    cluster.worker(0).wait(SOON);
    browser.await_value(&rows("Workers"), &json!(1));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn keys_colours_and_a_broker_that_goes_and_comes_back() {
    let _turn = shared();
    let Some((mut cluster, mut browser)) = opened() else { return };
    browser.press("?");
    browser.await_true("document.querySelector('dialog h2').textContent === 'Keys'");
    browser.press("Escape");
    browser.await_true("document.querySelector('dialog') === null");
    let ground = |browser: &mut Browser| browser.value("getComputedStyle(document.body).backgroundColor");
    browser.look(800, 600, false);
    let light = ground(&mut browser);
    browser.press("t");
    browser.press("t");
    browser.await_value("document.documentElement.dataset.theme", &json!("dark"));
    assert_ne!(ground(&mut browser), light);
    browser.press("t");
    browser.look(800, 600, true);
    assert_ne!(ground(&mut browser), light, "without a choice it is as the system has it");

    cluster.broker().kill();
    browser.await_value(&text("#pulse"), &json!("no answer"));
    cluster.restart_broker();
    browser.await_value(&text("#pulse"), &json!("ready"));
    cluster.add(&WorkerSpec::stock("third"));
    browser.await_true(&says("third"));
}
