//! What a journal takes on the disk, and how fast it is read.

use std::path::Path;
use std::time::{Duration, Instant};

use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::Customer;
use ganger_tests::scale::{Scale, alone};

const SOON: Duration = Duration::from_secs(30);
/// What a directory may take beside three times of what is alive.
const SLACK_BYTES: u64 = 64 << 20;
/// What one queued task of these scenarios takes in memory and on the disk, at the least.
const TASK_BYTES: u64 = 64;

#[tokio::test(flavor = "multi_thread")]
async fn i17_under_steady_load_the_directory_stays_within_three_times_what_is_alive_and_64_mib() {
    let _turn = alone();
    let (rounds, tasks) = Scale::from_env().pick((3, "100000"), (60, "500000"));
    // Little is alive, so nearly all that is written must go again.
    let flags = ["--durability", "journal", "--retain-bytes", "2MiB"];
    let mut cluster = Cluster::start(&flags);
    cluster.add(&WorkerSpec::stock("stock").slots(8));
    let customer = Customer::connect(&cluster).await;
    customer.await_workers(1, SOON).await;
    let mut largest = 0;
    for _ in 0..rounds {
        let output = cluster.command_line(&["bench", "--tasks", tasks, "--payload", "100"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        largest = largest.max(directory_bytes(&cluster.file("data")));
    }
    let status = customer.status().await;
    let live = status.retained_bytes + status.payload_bytes;
    let count = |name: &str| status.counters[name];
    println!(
        "{} tasks, {} records in {} syncs, carried {} times; the directory was never over {} KiB, {} KiB alive",
        count("tasks_accepted"),
        count("journal_records"),
        count("journal_syncs"),
        count("journal_carried"),
        largest >> 10,
        live >> 10
    );
    assert!(count("journal_carried") > 0, "the journal's beginning never went");
    assert!(largest <= 3 * live + SLACK_BYTES, "{largest} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_queue_is_back_soon_after_a_kill() {
    let _turn = alone();
    let tasks = Scale::from_env().pick(100_000_u64, 1_000_000);
    let mut cluster = Cluster::start(&["--durability", "journal"]);
    let (payload, count) = ("x".repeat(64), tasks.to_string());
    let args = ["submit", "nobody.serves", "--raw", &payload, "--count", &count];
    let output = cluster.command_line(&args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let customer = Customer::connect(&cluster).await;
    let before = customer.status().await;
    assert_eq!(before.parked, tasks);
    let resident = cluster.broker().rss_bytes();
    cluster.broker().kill();
    let begin = Instant::now();
    cluster.restart_broker();
    let listens = begin.elapsed();
    let again = Customer::connect(&cluster).await;
    let answers = begin.elapsed();
    let status = again.status().await;
    assert_eq!(status.queued + status.delayed, tasks);
    let peak = ganger_tests::procfs::peak_rss_bytes(cluster.broker().pid()).unwrap_or(0);
    println!(
        "{tasks} queued tasks: the broker listened after {listens:.2?} and answered after {answers:.2?}; \
         {} MiB at most while it read them, {} MiB before it was killed, {} MiB on the disk",
        peak >> 20,
        resident >> 20,
        directory_bytes(&cluster.file("data")) >> 20
    );
    assert!(listens <= Duration::from_secs(5), "{listens:?}");
    assert!(resident > tasks * TASK_BYTES);
}

fn directory_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    // A file may go between the two questions.
    entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}
