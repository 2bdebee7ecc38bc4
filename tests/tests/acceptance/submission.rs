//! What a submitter may rely on: the same id is the same task, a cancellation is final, a full queue says
//! so, and a drain costs nothing.

use std::collections::HashMap;
use std::time::Duration;

use ganger_client::NewTask;
use ganger_common::{Attempt, Outcome};
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::{Customer, assert_all_succeeded};
use ganger_tests::diary::{self, Mark};
use ganger_tests::process::Ended;
use ganger_tests::scale::{Scale, shared};
use ganger_tests::wait::{Metronome, eventually};
use ganger_tests::work;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn i3_the_same_id_is_the_same_task_whoever_submits_it() {
    let _turn = shared();
    let cluster = Cluster::start(&[]).with_diarists(2, 4);
    let tasks: Vec<NewTask> = (0..300).map(|_| work::sleep(Duration::from_millis(1))).collect();
    let mut submitters = Vec::new();
    for _ in 0..3 {
        let (mut customer, tasks) = (Customer::connect(&cluster).await, tasks.clone());
        submitters.push(tokio::spawn(async move { (customer.run(tasks, SOON).await, customer) }));
    }
    let mut seen = HashMap::new();
    for submitter in submitters {
        let (outcomes, mut customer) = submitter.await.unwrap();
        assert_eq!(outcomes.len(), 300);
        for outcome in outcomes {
            assert_eq!(*seen.entry(outcome.id).or_insert_with(|| outcome.clone()), outcome);
        }
        let findings = customer.judge(cluster.directory()).await;
        assert!(findings.is_clean() && findings.extra_runs == 0, "{findings}");
    }
    // Also once everything has settled.
    let mut late = Customer::connect(&cluster).await;
    for outcome in late.run(tasks, SOON).await {
        assert_eq!(seen[&outcome.id], outcome);
    }
    assert_eq!(
        diary::read_all(cluster.directory()).iter().filter(|line| line.mark == Mark::Start).count(),
        300
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn i18_no_result_is_accepted_after_an_acknowledged_cancellation() {
    let _turn = shared();
    let cluster = Cluster::start(&[]).with_diarists(1, 2);
    let mut customer = Customer::connect(&cluster).await;
    let gate = cluster.file("gate");
    let handles = customer.submit_all((0..20).map(|_| work::gate(&gate))).await;
    eventually("two of them run", SOON, || diary::read_all(cluster.directory()).len() == 2);
    let ids: Vec<_> = handles.iter().map(ganger_client::TaskHandle::id).collect();

    // The gate opens while the cancellations are on their way: some handlers finish all the same.
    cluster.worker(0).stop();
    work::open_gate(&gate);
    let refused = customer.client().cancel(&ids).await.unwrap();
    assert_eq!(refused, []);
    cluster.worker(0).cont();
    let outcomes = customer.wait_all(handles, SOON).await;
    assert!(outcomes.iter().all(|outcome| outcome.outcome == Outcome::Cancelled), "{outcomes:?}");
    eventually("the handlers have come back", SOON, || {
        diary::read_all(cluster.directory()).iter().filter(|line| line.mark != Mark::Start).count() == 2
    });
    customer.run([work::sleep(Duration::ZERO)], SOON).await;
    for id in ids {
        assert_eq!(customer.task(id).await.outcome, Some(Outcome::Cancelled));
        assert_eq!(customer.result(id).await, None);
    }
    let starts = diary::read_all(cluster.directory()).iter().filter(|line| line.mark == Mark::Start).count();
    assert_eq!(starts, 3, "something was started after it was cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn i15_a_full_queue_answers_busy_and_drops_nothing() {
    let _turn = shared();
    let cluster = Cluster::start(&["--queue-tasks", "50"]).with_diarists(2, 4);
    let mut customer = Customer::connect(&cluster).await;
    customer.run((0..1_000).map(|_| work::sleep(Duration::from_millis(1))), SOON).await;
    assert!(customer.counter("tasks_refused_busy").await > 0, "the queue was never full");
    let findings = customer.judge(cluster.directory()).await;
    assert!(findings.is_clean() && findings.extra_runs == 0, "{findings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_leave_under_load_loses_nothing() {
    let _turn = shared();
    let (tasks, leavers) = Scale::from_env().pick((3_000_u64, 3), (30_000, 8));
    let mut cluster = Cluster::start(&[]).with_diarists(4, 2);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(4, SOON).await;
    let submitting = tokio::spawn(async move {
        let span = |n| Duration::from_micros(n * 37 % 7_000);
        let outcomes = customer.run((0..tasks).map(|n| work::sleep(span(n))), SOON * 10).await;
        (customer, outcomes)
    });
    let mut metronome = Metronome::new(Duration::from_millis(300));
    for leaver in 0..leavers {
        metronome.beat().await;
        assert!(!submitting.is_finished(), "there was too little work");
        cluster.worker(leaver % 4).term();
        assert_eq!(cluster.worker(leaver % 4).wait(SOON), Ended::Code(0));
        cluster.replace(leaver % 4, &WorkerSpec::diarist(format!("next{leaver}")).slots(2));
    }
    let (mut customer, outcomes) = submitting.await.unwrap();
    assert_all_succeeded(&outcomes);
    assert!(outcomes.iter().all(|outcome| outcome.attempt >= Attempt(1)));
    let findings = customer.judge(cluster.directory()).await;
    println!("{leavers} workers left under load: {findings}");
    assert!(findings.is_clean() && findings.extra_runs == 0, "{findings}");
    let status = customer.status().await;
    for counter in ["attempts_crashed", "attempts_lost", "workers_lost_connection", "workers_lost_silent"] {
        assert_eq!(status.counters[counter], 0, "{counter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i12_clients_finish_their_batch_over_any_number_of_broker_deaths() {
    let _turn = shared();
    let (tasks, deaths) = Scale::from_env().pick((2_000_u64, 2), (20_000, 8));
    let mut cluster = Cluster::start(&[]).with_diarists(4, 2);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(4, SOON).await;
    let submitting = tokio::spawn(async move {
        let handles = (0..tasks).map(|n| work::sleep(Duration::from_micros(n * 37 % 8_000)));
        let outcomes = customer.run(handles, SOON * 10).await;
        (customer, outcomes)
    });
    let mut metronome = Metronome::new(Duration::from_millis(700));
    for _ in 0..deaths {
        metronome.beat().await;
        assert!(!submitting.is_finished(), "there was too little work");
        cluster.broker().kill();
        cluster.restart_broker();
    }
    let (mut customer, outcomes) = submitting.await.unwrap();
    assert_eq!(outcomes.len() as u64, tasks);
    // This broker forgets what has settled: such tasks may run again. Nothing may be lost or made up.
    let findings = customer.judge(cluster.directory()).await;
    println!("{deaths} deaths of the broker: {findings}");
    assert!(
        findings.lost.is_empty() && findings.phantom.is_empty() && findings.altered.is_empty(),
        "{findings}"
    );
    assert!(findings.settled_twice.is_empty() && findings.never_ran.is_empty(), "{findings}");
}
