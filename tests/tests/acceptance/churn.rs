//! Workers that die all the time, under load.

use std::time::{Duration, Instant};

use ganger_client::NewTask;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::{Customer, assert_all_succeeded};
use ganger_tests::scale::{Scale, alone};
use ganger_tests::wait::Metronome;
use ganger_tests::work;

const WORKERS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn every_task_settles_once_while_a_worker_is_killed_every_second() {
    let _turn = alone();
    let scale = Scale::from_env();
    let (tasks, kills, slots) = scale.pick((10_000, 4, 1), (100_000, 20, 2));
    let mut cluster = Cluster::start(&[]).with_diarists(WORKERS, slots);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(WORKERS, Duration::from_secs(30)).await;
    let start = Instant::now();

    let submitting = tokio::spawn(async move {
        let handles = customer.submit_all((0..tasks).map(mixed)).await;
        let outcomes = customer.wait_all(handles, Duration::from_secs(300)).await;
        (customer, outcomes)
    });
    let mut metronome = Metronome::new(Duration::from_secs(1));
    for kill in 0..kills {
        metronome.beat().await;
        assert!(!submitting.is_finished(), "there was too little work for {kills} kills");
        let victim = kill % WORKERS;
        cluster.worker(victim).kill();
        let name = format!("w{victim}-{}", kill / WORKERS + 1);
        cluster.replace(victim, &WorkerSpec::diarist(name).slots(slots));
    }
    let (mut customer, outcomes) = submitting.await.unwrap();
    let took = start.elapsed();

    assert_eq!(outcomes.len(), tasks);
    assert_all_succeeded(&outcomes);
    let findings = customer.judge(cluster.directory()).await;
    let status = customer.status().await;
    println!("{tasks} tasks, {kills} workers killed, {took:?}: {findings}");
    println!(
        "on record: {} attempts crashed, {} lost, {} failed",
        status.counters["attempts_crashed"],
        status.counters["attempts_lost"],
        status.counters["attempts_failed"]
    );
    assert!(findings.is_clean(), "{findings}");
    // A run in which no worker died with work in its hands would prove nothing.
    let died = status.counters["attempts_crashed"] + status.counters["attempts_lost"];
    assert!(died >= kills as u64, "only {died} attempts died with {kills} workers");
    assert_eq!(status.counters["workers_lost_silent"], 0, "a live worker was declared dead");
}

/// Mostly short, some long, some that compute, some that fail once.
fn mixed(number: usize) -> NewTask {
    match number % 100 {
        0..5 => work::sleep(Duration::from_millis(20 + number as u64 % 40)),
        5..8 => work::flaky(1),
        8..10 => work::spin(Duration::from_micros(500)),
        _ => work::sleep(Duration::from_micros(number as u64 * 37 % 5_000)),
    }
}
