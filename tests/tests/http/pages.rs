//! What is for programs that watch: the description, metrics, health.

use std::collections::{HashMap, HashSet};

use ganger_tests::cluster::Cluster;
use ganger_tests::scale::shared;
use serde_json::{Value, json};

use crate::house::{submit, web, with_worker};

#[test]
fn every_route_of_the_page_is_described_and_every_described_route_is_on_the_page() {
    let described: HashSet<String> = ganger_http_description()["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
            methods.map(move |method| format!("{} {path}", method.to_uppercase())).collect::<Vec<_>>()
        })
        .collect();
    let page = include_str!("../../../docs/http.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let written: HashSet<String> =
        rows.map(|(route, _)| route.to_owned()).filter(|route| route.contains(" /")).collect();
    assert_eq!(described, written);
}

fn ganger_http_description() -> Value {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let page = web(&cluster).get("/v1/openapi.json").json();
    assert_eq!(page["openapi"], "3.1.0");
    page
}

#[test]
fn whatever_the_description_refers_to_is_in_it() {
    let page = ganger_http_description();
    let text = page.to_string();
    let schemas = page["components"]["schemas"].as_object().unwrap();
    let named = text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split_once('"'));
    for (name, _) in named {
        assert!(schemas.contains_key(name), "{name}");
    }
}

#[test]
fn metrics_are_lines_that_a_scraper_reads_and_say_what_the_status_says() {
    let _turn = shared();
    let (_cluster, mut web) = with_worker(&[]);
    web.post(
        "/v1/tasks?wait=30s",
        &json!([{"kind": "noop"}, {"kind": "noop"}, {"kind": "fail", "payload": "!"}]),
    );
    submit(&mut web, &json!({"kind": "nobody \"quoted\"\\"}));
    let open = [("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")];
    let answer = web.send("GET", "/metrics", &open, b"");
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(answer.text().ends_with("# EOF\n"), "{}", answer.text());
    let answer = web.get("/metrics");
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = answer.text();
    let mut values: HashMap<&str, f64> = HashMap::new();
    let mut families = HashSet::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            assert!(families.insert(family.split(' ').next().unwrap()), "twice: {line}");
        }
        if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("ganger_"), "{line}");
            assert!(values.insert(name, value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    let status = web.get("/v1/status").json();
    for (metric, figure) in [
        ("ganger_workers", &status["workers"]),
        ("ganger_slots", &status["slots"]),
        ("ganger_outcomes_retained", &status["retained"]),
        ("ganger_dead_set_tasks", &status["dead_set"]),
        ("ganger_tasks{state=\"parked\"}", &status["parked"]),
        ("ganger_tasks_accepted_total", &status["counters"]["tasks_accepted"]),
        ("ganger_tasks_succeeded_total", &status["counters"]["tasks_succeeded"]),
        ("ganger_kind_tasks{kind=\"nobody \\\"quoted\\\"\\\\\",state=\"queued\"}", &json!(1)),
    ] {
        assert_eq!(values.get(metric).copied(), figure.as_f64(), "{metric} in\n{text}");
    }
    let counted = "ganger_http_requests_total{route=\"/v1/tasks\",status=\"200\"}";
    assert_eq!(values.get(counted), Some(&1.0), "{text}");
}

#[test]
fn a_broker_that_takes_tasks_is_healthy_and_ready() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    for path in ["/health", "/ready"] {
        let answer = web.get(path);
        assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})));
    }
}

#[test]
fn without_http_nobody_listens_and_no_line_says_so() {
    let _turn = shared();
    let cluster = Cluster::start(&[]);
    assert_eq!(cluster.endpoints().http, None);
}
