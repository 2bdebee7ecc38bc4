//! Knowledge: what was put is known to every worker, soon, whatever happened to it meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ganger_common::Revision;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::Customer;
use ganger_tests::scale::{Scale, alone, shared};
use ganger_tests::wait::{Metronome, until};
use ganger_tests::work::{self, Replica};

const SOON: Duration = Duration::from_secs(20);
const WORKERS: usize = 8;
const KEYS: usize = 500;
const TOPICS: [&str; 3] = ["colours", "limits", "models"];
/// Every worker is up to date this long after the last put.
const CONVERGED: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn every_worker_knows_everything_2_s_after_the_last_put() {
    let _turn = alone();
    let (puts, frozen) =
        Scale::from_env().pick((3_000, Duration::from_secs(1)), (10_000, Duration::from_secs(5)));
    let mut cluster = Cluster::start(&[]).with_diarists(WORKERS - 1, 1);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(WORKERS - 1, SOON).await;

    let mut expected = BTreeMap::new();
    let start = Instant::now();
    let mut metronome = Metronome::new(Duration::from_millis(1));
    let mut wakes_at = None;
    let mut last = Revision(0);
    let mut written = Vec::new();
    for number in 0..puts {
        metronome.beat().await;
        let (topic, key, value) = entry(number);
        expected.insert(format!("{topic}/{key}"), crc32fast::hash(&value));
        // Asked one after the other, not waited for: a put every millisecond leaves no time for answers.
        let knowledge = customer.client().knowledge();
        written.push(tokio::spawn(async move { knowledge.put(&topic, &key, value).await }));
        if number == puts / 4 {
            cluster.worker(0).stop();
            wakes_at = Some(Instant::now() + frozen);
        }
        if wakes_at.is_some_and(|at| Instant::now() >= at) {
            cluster.worker(0).cont();
            wakes_at = None;
        }
        if number == puts * 3 / 4 {
            cluster.add(&WorkerSpec::diarist("late").slots(1));
        }
    }
    assert!(wakes_at.is_none(), "the puts ended before the frozen worker woke");
    for put in written {
        last = last.max(put.await.unwrap().unwrap_or_else(|error| panic!("{error}")));
    }
    let rate = puts as f64 / start.elapsed().as_secs_f64();
    assert_eq!(last, Revision(puts as u64), "every put is one revision");

    let end = Instant::now();
    await_everybody_at(&customer, last, WORKERS).await;
    let took = end.elapsed();
    println!("{puts} puts at {rate:.0}/s: {WORKERS} workers were up to date {took:?} after the last");

    let names = (0..WORKERS - 1).map(|n| format!("w{n}")).chain(["late".to_owned()]);
    for name in names {
        let replica = replica(&mut customer, &name).await;
        assert_eq!(replica.revision, last.0, "{name}");
        assert_eq!(replica.entries.len(), expected.len(), "{name}");
        for (key, checksum) in &expected {
            assert_eq!(replica.entries.get(key), Some(checksum), "{name} has another value of {key}");
        }
    }
    assert!(took <= CONVERGED, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_never_starts_on_a_worker_that_knows_less_than_it_asks_for() {
    let _turn = shared();
    let rounds = Scale::from_env().pick(200, 2_000);
    let cluster = Cluster::start(&[]).with_diarists(4, 2);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(4, SOON).await;
    let mut handles = Vec::new();
    let mut asked = BTreeMap::new();
    for round in 0..rounds {
        // Too large to be published: every worker has to fetch it, so that for a moment none has it.
        let value = vec![round as u8; if round % 5 == 0 { 8_000 } else { 10 }];
        let revision = customer.put("gate", &format!("k{}", round % 7), value).await;
        let handle = customer.submit(work::task(work::REVISION, "").knowledge(revision)).await;
        asked.insert(handle.id(), revision);
        handles.push(handle);
    }
    for outcome in customer.wait_all(handles, SOON).await {
        let known: u64 = std::str::from_utf8(&outcome.result).unwrap().parse().unwrap();
        let asked = asked[&outcome.id];
        assert!(known >= asked.0, "{} asked for {asked} and started at {known}", outcome.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_asks_for_what_is_not_yet_known_waits_for_it() {
    let _turn = shared();
    let cluster = Cluster::start(&[]).with_diarists(2, 1);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(2, SOON).await;
    let now = customer.put("t", "k", b"1".to_vec()).await;
    let next = now.next();
    let handle = customer.submit(work::task(work::REVISION, "").knowledge(next)).await;
    // Others of its kind overtake it.
    customer.run((0..20).map(|_| work::task(work::REVISION, "")), SOON).await;
    assert_eq!(customer.task(handle.id()).await.attempt.0, 0, "it was given to somebody");
    assert_eq!(customer.put("t", "k", b"2".to_vec()).await, next);
    let outcome = customer.wait(handle, SOON).await;
    assert_eq!(outcome.result.as_ref(), next.0.to_string().as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_follow_a_broker_that_has_forgotten_everything() {
    let _turn = shared();
    let mut cluster = Cluster::start(&[]).with_diarists(2, 1);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(2, SOON).await;
    for number in 0..20 {
        customer.put("models", &format!("old{number}"), b"old".to_vec()).await;
    }
    await_everybody_at(&customer, Revision(20), 2).await;

    // This broker keeps its map in memory: its next life begins with an empty one.
    cluster.broker().kill();
    cluster.restart_broker();
    customer.await_workers(2, SOON).await;
    for number in 0..3 {
        customer.put("models", &format!("new{number}"), b"new".to_vec()).await;
    }
    await_everybody_at(&customer, Revision(3), 2).await;
    for worker in ["w0", "w1"] {
        let replica = replica(&mut customer, worker).await;
        let keys: Vec<_> = replica.entries.keys().map(String::as_str).collect();
        assert_eq!(keys, ["models/new0", "models/new1", "models/new2"], "{worker}");
    }
}

async fn await_everybody_at(customer: &Customer, revision: Revision, workers: usize) {
    until(&format!("{workers} workers report revision {revision}"), SOON, async || {
        let status = customer.knowledge_status().await;
        let up_to_date = status.workers.iter().filter(|worker| worker.revision == revision).count();
        (up_to_date == workers && status.workers.len() == workers).then_some(())
    })
    .await;
}

fn entry(number: usize) -> (String, String, Vec<u8>) {
    let key = number * 7_919 % KEYS;
    // Every hundredth is too large for the publication itself.
    let bytes = if number.is_multiple_of(100) { 6_000 } else { 20 + number % 50 };
    let mut value = vec![b'.'; bytes];
    value[..8].copy_from_slice(&(number as u64).to_le_bytes());
    (TOPICS[key % TOPICS.len()].to_owned(), format!("key{key}"), value)
}

async fn replica(customer: &mut Customer, worker: &str) -> Replica {
    let outcome =
        customer.run([work::task(work::replica_kind(worker), TOPICS.join(","))], SOON).await.remove(0);
    serde_json::from_slice(&outcome.result).unwrap_or_else(|error| panic!("{worker}: {error}"))
}
