//! The broker is killed and comes back: what was acknowledged is there, once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use ganger_client::{Client, ClientConfig, TaskHandle, as_completed};
use ganger_common::{Outcome, TaskOptions};
use ganger_tests::binaries;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::Customer;
use ganger_tests::diary;
use ganger_tests::process::{Ended, Proc};
use ganger_tests::scale::{Scale, alone, shared};
use ganger_tests::verdict::{self, Account, Findings, Settled};
use ganger_tests::wait::{Metronome, until, within};
use ganger_tests::work;

const WORKERS: usize = 4;
const CUSTOMERS: usize = 4;
/// Tasks that one customer has under way.
const BATCH: usize = 400;
/// Anything that needs nothing but the machine happens within this.
const SOON: Duration = Duration::from_secs(30);
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
    // What is kept is bounded, so that the journal's beginning goes while the broker is killed, too.
    let flags = [&JOURNAL[..], &["--retain-bytes", "8MiB"]].concat();
    let mut cluster = Cluster::start(&flags).with_diarists(WORKERS, 8);
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
        if (kill + 1) % 25 == 0 {
            println!("{} kills, {} tasks settled, {:.0?}", kill + 1, load.settled(), begin.elapsed());
        }
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

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_is_there_after_a_kill() {
    let _turn = shared();
    let mut cluster = Cluster::start(&JOURNAL).with_diarists(1, 2);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(1, SOON).await;
    let done = customer.run([work::sleep(Duration::from_millis(1))], SOON).await.remove(0);
    let dead = customer.submit(work::flaky(9).options(fails_at_once())).await;
    let dead = customer.wait(dead, SOON).await;
    let delay = TaskOptions { delay_ms: 6_000, ..TaskOptions::default() };
    let delayed = customer.submit(work::sleep(Duration::from_millis(1)).options(delay)).await;
    let parked = customer.submit(work::task("nobody.serves", "this")).await;
    let cancelled = customer.submit(work::task("nobody.serves", "that")).await;
    customer.client().cancel(&[cancelled.id()]).await.unwrap();
    let revision = customer.put("topic", "key", b"value".to_vec()).await;
    let accepted = Instant::now();

    for _ in 0..2 {
        cluster.broker().kill();
        cluster.restart_broker();
    }
    let other = Customer::connect(&cluster).await;
    assert_eq!(other.task(done.id).await.outcome, Some(Outcome::Succeeded));
    assert_eq!(other.result(done.id).await, Some(done.result));
    let buried = other.task(dead.id).await;
    assert_eq!((buried.outcome, buried.failures), (Some(Outcome::Failed), 1));
    assert_eq!(other.task(parked.id()).await.outcome, None);
    assert_eq!(other.task(cancelled.id()).await.outcome, Some(Outcome::Cancelled));
    assert_eq!(other.knowledge_status().await.revision, revision);
    assert_eq!(other.status().await.dead_set, 1);
    let outcome = customer.wait(delayed, SOON).await;
    assert_eq!(outcome.outcome, Outcome::Succeeded);
    let took = accepted.elapsed();
    assert!((Duration::from_millis(5_500)..Duration::from_secs(12)).contains(&took), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn i3_a_submission_that_is_repeated_after_a_restart_is_the_same_task() {
    let _turn = shared();
    let mut cluster = Cluster::start(&JOURNAL).with_diarists(1, 2);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(1, SOON).await;
    let task = work::sleep(Duration::from_millis(1));
    let (id, again) = (work::fresh_id(), task.clone());
    let first = customer.run([task.id(id)], SOON).await.remove(0);
    cluster.broker().kill();
    cluster.restart_broker();
    let mut other = Customer::connect(&cluster).await;
    let second = other.run([again.id(id)], SOON).await.remove(0);
    assert_eq!((second.id, second.attempt, &second.result), (id, first.attempt, &first.result));
    let starts =
        diary::read_all(cluster.directory()).into_iter().filter(|line| line.mark == diary::Mark::Start);
    assert_eq!(starts.count(), 1, "it ran once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_broker_on_the_same_directory_is_refused_and_told_what_to_do() {
    let _turn = shared();
    let cluster = Cluster::start(&JOURNAL);
    let data = cluster.file("data");
    let free = "tcp://127.0.0.1:0";
    let mut command = std::process::Command::new(binaries::path(binaries::BROKER));
    command
        .args(["--clients", free, "--workers", free, "--knowledge", free, "--http", "none", "--data"])
        .arg(&data);
    let second = Proc::spawn("second", command, cluster.directory());
    assert_eq!(second.wait(SOON), Ended::Code(1));
    let text = second.stderr();
    assert!(text.contains("in use by another process") && text.contains("data"), "{text}");
    let customer = Customer::connect(&cluster).await;
    assert_eq!(customer.status().await.durability, "journal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_directory_is_refused_with_its_own_exit_code() {
    let _turn = shared();
    let cluster = Cluster::start(&JOURNAL);
    let customer = Customer::connect(&cluster).await;
    customer.put("topic", "key", b"value".to_vec()).await;
    cluster.broker().kill();
    std::fs::remove_file(cluster.file("data").join("journal.db")).unwrap();
    let free = "tcp://127.0.0.1:0";
    let mut command = std::process::Command::new(binaries::path(binaries::BROKER));
    command.args(["--clients", free, "--workers", free, "--knowledge", free, "--http", "none", "--data"]);
    command.arg(cluster.file("data"));
    let again = Proc::spawn("again", command, cluster.directory());
    assert_eq!(again.wait(SOON), Ended::Code(3));
    assert!(again.stderr().contains("journal.db"), "{}", again.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tells_which_durability_was_reached() {
    let _turn = shared();
    for (flags, level) in [(&JOURNAL[..], "journal"), (&[], "memory")] {
        let mut cluster = Cluster::start(flags);
        cluster.add(&WorkerSpec::stock("stock"));
        let output = cluster.command_line(&["submit", "noop", "--wait"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && text.contains(&format!("durability: {level}")), "{text}");
        let output = cluster.command_line(&["submit", "noop", "--wait", "--json"]).output().unwrap();
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&object["durability"], &object["outcome"]), (&level.into(), &"succeeded".into()));
    }
}

fn fails_at_once() -> TaskOptions {
    TaskOptions { max_attempts: Some(1), ..TaskOptions::default() }
}
