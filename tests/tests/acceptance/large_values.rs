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
/// What peers may have been sent and not have read: tasks of the one worker, outcomes of the one client.
const UNREAD: u64 = (64 + 8) * MIB;
const SOON: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn large_payloads_and_results_do_not_live_in_memory_and_come_back_byte_for_byte() {
    let _turn = alone();
    let count = Scale::from_env().pick(200, 2_000) as usize;
    let mut cluster = Cluster::start(&["--durability", "journal", "--retain-bytes", "4GiB"]);
    let mut customer = Customer::connect(&cluster).await;
    let idle = cluster.broker().rss_bytes();
    let check = |when: &str, bytes: u64, most: u64| {
        println!("{when}: {} MiB, {} MiB when idle", bytes / MIB, idle / MIB);
        assert!(bytes < idle + most, "{when}: {} MiB is more than {} MiB", bytes / MIB, (idle + most) / MIB);
    };

    let handles = hand_in(&mut customer, count).await;
    let ids: Vec<TaskId> = handles.iter().map(TaskHandle::id).collect();
    check(&format!("{count} tasks of 1 MiB wait"), cluster.broker().rss_bytes(), GROWTH);
    assert_eq!(customer.status().await.payload_bytes, count as u64 * MIB, "what is stored counts");

    restart(&mut cluster);
    check("they were read again, at most", peak(&cluster), GROWTH);

    cluster.add(&WorkerSpec::stock("echo").slots(4).args(&["--kinds", "echo"]));
    let outcomes = customer.wait_all(handles, SOON).await;
    assert_all_succeeded(&outcomes);
    for outcome in &outcomes {
        let place = ids.iter().position(|id| *id == outcome.id).unwrap();
        assert!(outcome.result == payload(place), "task {place} came back changed");
    }
    drop(outcomes);
    check(&format!("{count} results of 1 MiB are kept, at most"), peak(&cluster), GROWTH + UNREAD);

    // The payloads are not needed any more, so that the journal is longer than what is alive.
    let carried = async || (customer.counter("journal_carried").await > 0).then_some(());
    until("the state is carried", SOON, carried).await;
    check_results(&customer, &ids, 1).await;
    check("the state was carried and every result was fetched, at most", peak(&cluster), GROWTH + UNREAD);

    restart(&mut cluster);
    let other = Customer::connect(&cluster).await;
    check_results(&other, &ids, 8).await;
    check("results were read again and fetched, at most", peak(&cluster), GROWTH);
}

fn restart(cluster: &mut Cluster) {
    cluster.broker().kill();
    cluster.restart_broker();
}

fn peak(cluster: &Cluster) -> u64 {
    procfs::peak_rss_bytes(cluster.broker().pid()).unwrap_or(u64::MAX)
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

/// Fetches one of so many results.
async fn check_results(customer: &Customer, ids: &[TaskId], of: usize) {
    for (place, id) in ids.iter().enumerate().step_by(of) {
        assert!(customer.result(*id).await == Some(payload(place)), "result {place} is not what it was");
    }
}

/// A mebibyte that only this task has.
fn payload(place: usize) -> Bytes {
    let mut bytes = vec![0; MIB as usize];
    for (word, n) in bytes.chunks_exact_mut(8).zip(1_u64..) {
        word.copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (place as u64) << 7).to_le_bytes());
    }
    bytes.into()
}
