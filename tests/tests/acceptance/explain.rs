//! `ganger explain` names the true reason.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use ganger_common::TaskOptions;
use ganger_common::view::{Explanation, Reason, ReasonCode};
use ganger_common::{Revision, TaskId};
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::Customer;
use ganger_tests::diary::{self, Mark};
use ganger_tests::scale::shared;
use ganger_tests::wait::{eventually, until};
use ganger_tests::work;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_the_reason_of_everything_that_waits() {
    let _turn = shared();
    let cluster = Cluster::start(&[]).with_diarists(1, 1);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(1, SOON).await;

    let nobody = customer.submit(work::task("painting", "")).await;
    says(&cluster, nobody.id(), ReasonCode::NoWorkerForKind, &["painting", "parked"]);

    let delayed = customer.submit(work::task(work::SLEEP, 1).delay(Duration::from_secs(3_600))).await;
    says(&cluster, delayed.id(), ReasonCode::Delayed, &["60 min"]);

    let options = TaskOptions { backoff_ms: Some(600_000), max_attempts: Some(9), ..TaskOptions::default() };
    let failing = customer.submit(work::task(work::FLAKY, 9).options(options)).await;
    await_code(&customer, failing.id(), ReasonCode::Backoff).await;
    says(&cluster, failing.id(), ReasonCode::Backoff, &["attempt 1", "failed", "flaky"]);

    let ahead = Revision(customer.status().await.revision.0 + 5);
    let unknowing = customer.submit(work::task(work::SLEEP, 1).knowledge(ahead)).await;
    says(&cluster, unknowing.id(), ReasonCode::WaitingForKnowledge, &[&ahead.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_the_reason_of_everything_that_runs_or_has_ended() {
    let _turn = shared();
    let mut cluster = Cluster::start(&[]).with_diarists(1, 1);
    let mut customer = Customer::connect(&cluster).await;
    let worker = customer.await_workers(1, SOON).await.remove(0);
    let gate = cluster.file("gate");

    let running = customer.submit(work::gate(&gate)).await;
    await_code(&customer, running.id(), ReasonCode::Running).await;
    says(&cluster, running.id(), ReasonCode::Running, &["w0", &worker.id.to_string(), "for "]);

    // The one slot is taken, and so is what may wait behind it.
    let behind = customer.submit_all((0..200).map(|_| work::gate(&gate))).await;
    let last = behind[behind.len() - 1].id();
    says(&cluster, last, ReasonCode::NoCredit, &["as much as", "diary.gate"]);

    work::open_gate(&gate);
    let outcome = customer.wait(running, SOON).await;
    says(&cluster, outcome.id, ReasonCode::Succeeded, &["attempt 1"]);
    customer.wait_all(behind, SOON).await;

    let lethal = cluster.file("lethal");
    let deadly = customer.submit(work::crash(9, &lethal)).await;
    for life in 0..3 {
        // Only a task that the broker knows to have started counts as the cause.
        await_running(&customer, deadly.id(), &format!("w{life}")).await;
        work::open_gate_for(&lethal, &format!("w{life}"));
        eventually("the worker has died of it", SOON, || !cluster.worker(0).is_running());
        cluster.replace(0, &WorkerSpec::diarist(format!("w{}", life + 1)).slots(1));
    }
    let outcome = customer.wait(deadly, SOON).await;
    says(&cluster, outcome.id, ReasonCode::CrashLimit, &["3 workers died"]);
    assert_eq!(starts(cluster.directory(), outcome.id), 3);

    let options = TaskOptions { backoff_ms: Some(1), ..TaskOptions::default() };
    let failed = customer.submit(work::task(work::FLAKY, 9).options(options)).await;
    let outcome = customer.wait(failed, SOON).await;
    says(&cluster, outcome.id, ReasonCode::FailuresExhausted, &["all 3", "flaky"]);

    let cancelled = customer.submit(work::task("nobody.serves.it", "")).await;
    let output = run(&cluster, &["cancel", &cancelled.id().to_string()]);
    assert!(output.status.success(), "{output:?}");
    says(&cluster, cancelled.id(), ReasonCode::Cancelled, &["cancelled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_of_a_task_that_nobody_knows_fails_with_the_code() {
    let _turn = shared();
    let cluster = Cluster::start(&[]);
    let output = run(&cluster, &["explain", "01900000-0000-7000-8000-000000000000"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("unknown_task"), "{said}");
}

/// Asks the command line, as a program and as a person.
fn says(cluster: &Cluster, id: TaskId, code: ReasonCode, words: &[&str]) {
    let output = run(cluster, &["explain", &id.to_string(), "--json"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let said: Explanation = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let reason = said.reasons.iter().find(|reason| reason.code == code);
    let Some(reason) = reason else { panic!("{code:?} is not among {:?}", said.reasons) };
    for word in words {
        assert!(reason.text.contains(word), "{word:?} is not in {:?}", reason.text);
    }
    let person = run(cluster, &["explain", &id.to_string()]);
    let text = String::from_utf8_lossy(&person.stdout);
    assert!(person.status.success() && !text.trim_start().starts_with('{'), "{person:?}");
}

fn run(cluster: &Cluster, args: &[&str]) -> Output {
    cluster.command_line(args).output().unwrap_or_else(|error| panic!("ganger {args:?}: {error}"))
}

async fn await_code(customer: &Customer, id: TaskId, code: ReasonCode) {
    until(&format!("{code:?}"), SOON, async || {
        let reasons = customer.explain(id).await.reasons;
        reasons.iter().any(|reason| reason.code == code).then_some(())
    })
    .await;
}

/// Waits until a task runs at the worker of this name.
async fn await_running(customer: &Customer, id: TaskId, worker: &str) {
    until(&format!("it runs at {worker}"), SOON, async || {
        let reasons = customer.explain(id).await.reasons;
        let is_it = |reason: &Reason| reason.code == ReasonCode::Running && reason.text.contains(worker);
        reasons.iter().any(is_it).then_some(())
    })
    .await;
}

fn starts(diaries: &Path, task: TaskId) -> usize {
    diary::read_all(diaries).iter().filter(|line| line.task == task && line.mark == Mark::Start).count()
}
