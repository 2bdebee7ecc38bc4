//! Metrics and alerts, by the tool of those who read them. The gate fetches it; where it cannot be had, this is
//! skipped, loudly.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ganger_tests::binaries::repository;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::scale::shared;
use ganger_tests::wait::eventually;
use ganger_tests::web::Web;
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

/// Runs it with something to read. Nothing: it is not here.
fn promtool(args: &[&str], read: &[u8]) -> Option<Output> {
    let mut command = Command::new("promtool");
    command.args(args).current_dir(repository().join("deploy/prometheus"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("SKIPPED: there is no promtool here; it is in Debian's package prometheus");
        return None;
    };
    child.stdin.take().unwrap().write_all(read).unwrap();
    Some(child.wait_with_output().unwrap())
}

fn is_content(output: Option<Output>) {
    let Some(output) = output else { return };
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn the_alerts_are_as_they_should_be_and_each_fires_when_it_should() {
    is_content(promtool(&["check", "rules", "ganger.rules.yml"], b""));
    is_content(promtool(&["test", "rules", "ganger.rules.test.yml"], b""));
}

#[test]
fn every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_keeps_quiet() {
    let read = |name| std::fs::read_to_string(repository().join("deploy/prometheus").join(name)).unwrap();
    let (rules, tests) = (read("ganger.rules.yml"), read("ganger.rules.test.yml"));
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let mut count = 0;
    for alert in alerts {
        count += 1;
        for end in ["fires", "keeps quiet"] {
            assert!(
                tests.contains(&format!("name: {alert} {end}\n")),
                "{alert} {end}: there is no such test"
            );
        }
    }
    assert!(count > 10, "{count} alerts were found");
}

#[test]
fn metrics_are_named_and_described_by_the_conventions() {
    let _turn = shared();
    let mut cluster = Cluster::start_with_http(&["--durability", "journal"]);
    cluster.add(&WorkerSpec::stock("w0").slots(2));
    let mut web = Web::new(cluster.endpoints().http.as_deref().unwrap());
    eventually("the worker is there", SOON, || web.get("/v1/status").json()["workers"] == 1);
    // So that every family has something to show: an outcome, a refusal, and requests.
    assert_eq!(web.post("/v1/tasks?wait=30s", &json!({"kind": "echo"})).status, 200);
    assert_eq!(web.post("/v1/tasks", &json!({"kind": ""})).status, 400);
    let text = web.get("/metrics").text();
    for line in [
        "ganger_watchdog{check=\"leases_without_owner\"} 0",
        "ganger_queue_wait_seconds_count 1",
        "ganger_attempt_run_seconds_count 1",
        "ganger_submit_to_settle_seconds_bucket{le=\"+Inf\"} 1",
    ] {
        let is_it = |shown: &str| shown == line || shown.strip_suffix(".0") == Some(line);
        assert!(text.lines().any(is_it), "{line} is not in\n{text}");
    }
    is_content(promtool(&["check", "metrics"], text.as_bytes()));
}

#[test]
fn the_configuration_names_the_rules_and_is_one() {
    // It names the file with a token, which is there on the machine where it is used.
    let configuration = repository().join("deploy/prometheus/prometheus.yml");
    assert!(Path::new(&configuration).exists());
    is_content(promtool(&["check", "config", "--syntax-only", "prometheus.yml"], b""));
}
