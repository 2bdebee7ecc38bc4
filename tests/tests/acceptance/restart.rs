//! The broker is killed and comes back: what was acknowledged is there, once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use ganger_client::{Client, ClientConfig, TaskHandle, as_completed};
use ganger_common::Outcome;
use ganger_tests::cluster::Cluster;
use ganger_tests::customer::Customer;
use ganger_tests::diary;
use ganger_tests::scale::{Scale, alone};
use ganger_tests::verdict::{self, Account, Findings, Settled};
use ganger_tests::wait::{Metronome, until, within};
use ganger_tests::work;

const WORKERS: usize = 4;
const CUSTOMERS: usize = 4;
/// Tasks that one customer has under way.
const BATCH: usize = 400;
/// From the last restart until everything is settled.
const HEALED: Duration = Duration::from_secs(60);

const JOURNAL: [&str; 2] = ["--durability", "journal"];

/// What the customers know together.
type Books = Arc<Mutex<Account>>;

#[tokio::test(flavor = "multi_thread")]
async fn i1_i7_a_broker_that_is_killed_again_and_again_under_load_loses_nothing_and_settles_nothing_twice() {
    let _turn = alone();
    let kills = Scale::from_env().pick(5, 300);
    let seed = diary::now_ns();
    println!("seed {seed}");
    let mut cluster = Cluster::start(&JOURNAL).with_diarists(WORKERS, 8);
    let watcher = Customer::connect(&cluster).await;
    watcher.await_workers(WORKERS, Duration::from_secs(20)).await;
    let load = Load::begin(&cluster).await;
    let (mut busy, mut down) = (0, Duration::ZERO);
    let begin = Instant::now();
    for kill in 0..kills {
        let pause = 200 + seed.wrapping_mul(kill + 1).rotate_left(17) % 1_300;
        let before = load.settled();
        Metronome::once(Duration::from_millis(pause)).await;
        // A kill of an idle broker proves little: some work must get through between two of them.
        within("work gets through", HEALED, load.until_settled(before + 50)).await;
        busy += usize::from(load.under_way() > 0);
        cluster.broker().kill();
        let killed = Instant::now();
        cluster.restart_broker();
        down += killed.elapsed();
    }
    let tasks = load.settled();
    let findings = load.end(&cluster).await;
    println!(
        "{kills} kills of a broker in {:.0?}, {busy} of them with tasks under way, {:.0?} until it listened \
         again: {} tasks settled before the last kill, {findings}",
        begin.elapsed(),
        down / kills as u32,
        tasks
    );
    assert!(busy == kills as usize, "only {busy} of {kills} kills met work");
    assert!(findings.is_clean(), "seed {seed}: {findings}");
}

/// Customers that hand in tasks and wait for them, over and over.
struct Load {
    books: Books,
    stop: Arc<AtomicBool>,
    submitted: Arc<AtomicU64>,
    settled: Arc<AtomicU64>,
    customers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    async fn begin(cluster: &Cluster) -> Self {
        let mut load = Self {
            books: Books::default(),
            stop: Arc::default(),
            submitted: Arc::default(),
            settled: Arc::default(),
            customers: Vec::new(),
        };
        for _ in 0..CUSTOMERS {
            let client = Client::connect(ClientConfig::new(cluster.clients())).await.unwrap();
            let (books, stop) = (load.books.clone(), load.stop.clone());
            let (submitted, settled) = (load.submitted.clone(), load.settled.clone());
            load.customers.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    one_batch(&client, &books, &submitted, &settled).await;
                }
            }));
        }
        load
    }

    fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    fn under_way(&self) -> u64 {
        self.submitted.load(Ordering::Relaxed) - self.settled()
    }

    async fn until_settled(&self, count: u64) {
        until("tasks settle", HEALED, async || (self.settled() >= count).then_some(())).await;
    }

    /// Lets the last batches end, and holds what the customers saw against what the workers wrote.
    async fn end(self, cluster: &Cluster) -> Findings {
        self.stop.store(true, Ordering::Relaxed);
        for customer in self.customers {
            within("the last batch settles", HEALED, customer).await.unwrap();
        }
        let lines = diary::read_all(cluster.directory());
        let watcher = Customer::connect(cluster).await;
        let mut account = std::mem::take(&mut *self.books.lock().unwrap());
        for task in verdict::ran_again(&lines) {
            account.histories.insert(task, watcher.task(task).await);
        }
        verdict::check(&account, &lines)
    }
}

async fn one_batch(client: &Client, books: &Books, submitted: &AtomicU64, settled: &AtomicU64) {
    let tasks: Vec<_> =
        (0..BATCH as u64).map(|n| work::sleep(Duration::from_micros(n * 7_919 % 3_000))).collect();
    let checksums: Vec<u32> = tasks.iter().map(|task| crc32fast::hash(task.payload())).collect();
    submitted.fetch_add(BATCH as u64, Ordering::Relaxed);
    let handles = client.submit_many(tasks).await.unwrap();
    let ids = handles.iter().map(TaskHandle::id);
    books.lock().unwrap().submitted.extend(ids.zip(checksums));
    let mut outcomes = std::pin::pin!(as_completed(handles));
    while let Some((id, outcome)) = outcomes.next().await {
        let outcome = outcome.unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(outcome.outcome, Outcome::Succeeded, "{outcome:?}");
        settled.fetch_add(1, Ordering::Relaxed);
        books.lock().unwrap().outcomes.push(Settled {
            task: outcome.id,
            outcome: outcome.outcome,
            attempt: outcome.attempt,
            result: outcome.result,
        });
    }
}
