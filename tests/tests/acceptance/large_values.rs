//! Large payloads and results are in the journal and not in memory, and come back byte for byte: through kills,
//! restarts and the carrying of the state.

use std::time::Duration;

use bytes::Bytes;
use ganger_client::{NewTask, TaskHandle};
use ganger_common::TaskId;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::{Customer, assert_all_succeeded};
use ganger_tests::procfs;
use ganger_tests::scale::{Scale, alone};
use ganger_tests::wait::until;
use ganger_tests::work::fresh_id;

const MIB: u64 = 1 << 20;
/// Tasks that are handed in at a time: what is on its way is not what is held.
const AT_A_TIME: usize = 8;
/// What the broker may need beside what it needs when it is idle, however much it holds: messages on their way,
/// a batch that is written, what is read ahead, and what the allocator keeps for later.
const GROWTH: u64 = 64 * MIB;
const SOON: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn large_payloads_and_results_do_not_live_in_memory_and_come_back_byte_for_byte() {
    let _turn = alone();
    let count = Scale::from_env().pick(200, 2_000) as usize;
    let mut cluster = Cluster::start(&["--durability", "journal", "--retain-bytes", "4GiB"]);
    let mut customer = Customer::connect(&cluster).await;
    let idle = cluster.broker().rss_bytes();

    let handles = hand_in(&mut customer, count).await;
    let ids: Vec<TaskId> = handles.iter().map(TaskHandle::id).collect();
    let queued = cluster.broker().rss_bytes();
    println!("idle: {} MiB; with {count} tasks of 1 MiB: {} MiB", idle / MIB, queued / MIB);
    assert!(queued < idle + GROWTH, "{} MiB for {count} MiB of payloads", queued / MIB);
    assert_eq!(customer.status().await.payload_bytes, count as u64 * MIB, "what is stored counts");

    cluster.broker().kill();
    cluster.restart_broker();
    let recovered = procfs::peak_rss_bytes(cluster.broker().pid()).unwrap_or(u64::MAX);
    println!("at most, while they were read again: {} MiB", recovered / MIB);
    assert!(recovered < idle + GROWTH, "{} MiB after a restart", recovered / MIB);

    cluster.add(&WorkerSpec::stock("echo").slots(4).args(&["--kinds", "echo"]));
    let outcomes = customer.wait_all(handles, SOON).await;
    assert_all_succeeded(&outcomes);
    for outcome in &outcomes {
        let place = ids.iter().position(|id| *id == outcome.id).unwrap();
        assert!(outcome.result == payload(place), "task {place} came back changed");
    }
    drop(outcomes);
    let done = cluster.broker().rss_bytes();
    println!("with {count} results of 1 MiB: {} MiB", done / MIB);
    assert!(done < idle + GROWTH, "{} MiB for {count} MiB of results", done / MIB);

    // The payloads are not needed any more, so that the journal is longer than what is alive.
    let carried = async || (customer.counter("journal_carried").await > 0).then_some(());
    until("the state is carried", SOON, carried).await;
    check_results(&customer, &ids).await;
    let carried = cluster.broker().rss_bytes();
    println!("after the state was carried and every result was fetched: {} MiB", carried / MIB);
    assert!(carried < idle + GROWTH, "{} MiB after carrying", carried / MIB);

    cluster.broker().kill();
    cluster.restart_broker();
    let other = Customer::connect(&cluster).await;
    check_results(&other, &ids).await;
}

async fn hand_in(customer: &mut Customer, count: usize) -> Vec<TaskHandle> {
    let mut handles = Vec::with_capacity(count);
    let places: Vec<usize> = (0..count).collect();
    for places in places.chunks(AT_A_TIME) {
        let tasks = places.iter().map(|place| NewTask::new("echo", payload(*place)).id(fresh_id()));
        handles.extend(customer.submit_all(tasks).await);
    }
    handles
}

async fn check_results(customer: &Customer, ids: &[TaskId]) {
    for (place, id) in ids.iter().enumerate() {
        assert!(customer.result(*id).await == Some(payload(place)), "result {place} is not what it was");
    }
}

/// A mebibyte that only this task has.
fn payload(place: usize) -> Bytes {
    let words = (0..MIB / 8).map(|n| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (place as u64) << 7));
    words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>().into()
}
