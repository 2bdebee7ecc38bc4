//! Peers that do not read, or do not stop: the broker's memory keeps within what it was given, and the
//! others do not feel it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ganger_client::NewTask;
use ganger_common::codec::Blob;
use ganger_common::message::{
    FromClient, FromWorker, NewTask as WireTask, Submit, TaskList, ToClient, WorkerHeartbeat,
};
use ganger_common::{TaskId, TaskOptions};
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::{Customer, assert_all_succeeded};
use ganger_tests::procfs;
use ganger_tests::raw::Raw;
use ganger_tests::scale::{Scale, alone, shared};
use ganger_tests::wait::{Metronome, until};
use ganger_tests::work::{self, fresh_id};
use ganger_transport::{Endpoint, SendError};

const MIB: u64 = 1 << 20;
/// Payloads of tasks without an outcome, and kept results: what this broker is given.
const QUEUE_BYTES: u64 = 64 * MIB;
const RETAIN_BYTES: u64 = 16 * MIB;
/// What one peer may leave unread before it is cut (protocol, §5.4), once for what is being built and once
/// for what is on its way.
const UNREAD_BYTES: u64 = 2 * 32 * MIB;
/// The program itself, its other peers, and what the allocator keeps for later.
const REST_BYTES: u64 = 96 * MIB;

/// All of that, what is on its way to a worker, and what the transport may hold on either side of the broker:
/// received on one of two sockets and not looked at, or accepted for one connection that does not take it.
/// What is received keeps the buffer that it was read into, which may be twice as large.
fn rss_max(attack: Attack) -> u64 {
    let limits = ganger_transport::Limits::default();
    let to_a_worker = ganger_scheduler::Config::default().worker_bytes_max;
    let outbox = if attack == Attack::DeafWorker { limits.outbox_bytes } else { 0 };
    let in_transit = (2 * 2 * limits.inbox_bytes + to_a_worker + outbox) as u64;
    QUEUE_BYTES + RETAIN_BYTES + UNREAD_BYTES + REST_BYTES + in_transit
}

/// Payload of each task of a bad peer, and how many stand in one message.
const PAYLOAD: usize = 16 << 10;
const BATCH: usize = 100;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "does not hold in every run: seen 398 MiB at a limit of 368, and others at 64 % of their pace"]
async fn a_client_that_stops_reading_costs_no_more_than_its_limits() {
    let scene = Scene::start("deaf client");
    scene.attack(Attack::DeafClient).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_reading_costs_no_more_than_its_limits() {
    let scene = Scene::start("deaf worker");
    scene.attack(Attack::DeafWorker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_submits_without_end_costs_no_more_than_its_limits() {
    let scene = Scene::start("endless client");
    scene.attack(Attack::EndlessClient).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lives_and_does_not_read_holds_no_task_up_for_good() {
    let _turn = shared();
    let mut cluster = Cluster::start(&[]);
    let mut customer = Customer::connect(&cluster).await;
    let progress = Arc::new(Progress::default());
    let deaf = tokio::spawn(be_a_deaf_worker(cluster.workers_endpoint(), work::SLEEP, 4, progress.clone()));
    customer.await_workers(1, Duration::from_secs(20)).await;
    let handles = customer.submit_all((0..20).map(|_| work::sleep(Duration::from_millis(1)))).await;
    cluster.add(&WorkerSpec::diarist("reader").slots(2));
    let outcomes = customer.wait_all(handles, Duration::from_secs(20)).await;
    assert_all_succeeded(&outcomes);
    progress.stop.store(true, Ordering::Relaxed);
    deaf.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_task_does_not_keep_the_large_message_that_brought_it() {
    let _turn = shared();
    let cluster = Cluster::start(&["--queue-bytes", "64MiB"]);
    let mut client = Raw::connect(&cluster.clients()).await;
    client.hello_client().await;
    let (small, large) = (vec![b's'; 33 << 10], vec![b'l'; 15 << 20]);
    let impossible = TaskOptions { delay_ms: u64::MAX, ..TaskOptions::default() };
    for seq in 1..=60 {
        let task = |payload, options| {
            let (id, kind) = (fresh_id(), "nobody.serves.this".into());
            WireTask { id, kind, payload: Blob(payload), options }
        };
        let tasks = vec![task(&small, None), task(&large, Some(impossible.clone()))].into();
        client.say(&FromClient::Submit(Submit { seq, again: false, tasks }));
        let refused = client.hear(|message| match message {
            ToClient::Accepted(accepted) if accepted.seq == seq => Some(accepted.refused.len()),
            _ => None,
        });
        assert_eq!(refused.await, 1);
    }
    let rss = cluster.broker().rss_bytes();
    println!("60 tasks of 33 KiB, each from a message of 15 MiB: the broker's memory is {} MiB", rss / MIB);
    assert!(rss <= REST_BYTES + QUEUE_BYTES, "{} MiB", rss / MIB);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// Submits tasks with large results and reads none of what it is told.
    DeafClient,
    /// Serves a kind with many slots, is sent large tasks, and reads none.
    DeafWorker,
    /// Submits tasks that nobody serves, and reads that there is no room.
    EndlessClient,
}

struct Scene {
    name: &'static str,
    cluster: Cluster,
    _turn: ganger_tests::scale::Turn,
}

impl Scene {
    fn start(name: &'static str) -> Self {
        let turn = alone();
        let mut cluster = Cluster::start(&[
            "--queue-bytes",
            "64MiB",
            "--retain-bytes",
            "16MiB",
            "--client-backlog",
            "20000",
        ]);
        cluster.add(&WorkerSpec::stock("good").slots(16).args(&["--kinds", "sleep"]));
        cluster.add(&WorkerSpec::stock("echoes").slots(4).args(&["--kinds", "echo"]));
        Self { name, cluster, _turn: turn }
    }

    async fn attack(self, attack: Attack) {
        let scale = Scale::from_env();
        let (rounds, tasks) = scale.pick((3, 1_000), (7, 4_000));
        let offered_min = scale.pick(200 * MIB, 1024 * MIB);
        let mut customer = Customer::connect(&self.cluster).await;
        customer.await_workers(2, Duration::from_secs(20)).await;
        round(&mut customer, tasks).await; // Credit adapts in the first one.
        let mut calm = Vec::new();
        for _ in 0..rounds {
            calm.push(round(&mut customer, tasks).await);
        }

        let progress = Arc::new(Progress::default());
        let attacker = tokio::spawn(run(
            attack,
            self.cluster.clients(),
            self.cluster.workers_endpoint(),
            progress.clone(),
        ));
        until("the attack is under way", Duration::from_secs(60), async || {
            (progress.offered.load(Ordering::Relaxed) >= offered_min / 2).then_some(())
        })
        .await;
        let mut rough = Vec::new();
        for _ in 0..rounds {
            rough.push(round(&mut customer, tasks).await);
        }
        until("the attack was large enough", Duration::from_secs(120), async || {
            (progress.offered.load(Ordering::Relaxed) >= offered_min).then_some(())
        })
        .await;
        progress.stop.store(true, Ordering::Relaxed);
        attacker.await.unwrap();

        let peak = procfs::peak_rss_bytes(self.cluster.broker().pid()).unwrap_or(u64::MAX);
        let ratio = median(&mut calm).as_secs_f64() / median(&mut rough).as_secs_f64();
        println!(
            "{}: {} MiB offered over {} connections; the broker's memory {} MiB at its peak (limit {} MiB); \
             others at {:.0} % of their pace",
            self.name,
            progress.offered.load(Ordering::Relaxed) / MIB,
            progress.connections.load(Ordering::Relaxed),
            peak / MIB,
            rss_max(attack) / MIB,
            ratio * 100.0
        );
        assert!(peak <= rss_max(attack), "{} MiB", peak / MIB);
        // On a machine that does other things meanwhile the pace says little; the full run is strict.
        let least = scale.pick(0.5, 0.9);
        assert!(ratio >= least, "others ran at {ratio:.2} of their pace");
    }
}

/// The ordinary user: short tasks, bound by the slots of a worker and not by the machine.
async fn round(customer: &mut Customer, tasks: usize) -> Duration {
    let start = Instant::now();
    let task = |_| NewTask::new("sleep", "5ms").id(fresh_id());
    customer.run((0..tasks).map(task), Duration::from_secs(60)).await;
    start.elapsed()
}

fn median(spans: &mut [Duration]) -> Duration {
    spans.sort();
    spans[spans.len() / 2]
}

#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    /// Bytes of payload that were handed to the transport.
    offered: AtomicU64,
    connections: AtomicU64,
}

impl Progress {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

async fn run(attack: Attack, clients: Endpoint, workers: Endpoint, progress: Arc<Progress>) {
    match attack {
        Attack::DeafClient => flood(&clients, "echo", false, &progress).await,
        Attack::EndlessClient => flood(&clients, "nobody.serves.this", true, &progress).await,
        Attack::DeafWorker => {
            let stays = progress.clone();
            let deaf = tokio::spawn(async move {
                while stays.goes_on() {
                    be_a_deaf_worker(workers.clone(), "deaf", 4_096, stays.clone()).await;
                }
            });
            feed_the_deaf(&clients, &progress).await;
            deaf.await.unwrap();
        }
    }
}

/// Submits as fast as the connection takes it, and says that it lives. One that reads is told `busy` and
/// does not care.
async fn flood(to: &Endpoint, kind: &str, reads: bool, progress: &Progress) {
    let payload = vec![b'x'; PAYLOAD];
    while progress.goes_on() {
        let mut raw = if reads { Raw::connect(to).await } else { Raw::connect_deaf(to).await };
        raw.hello_client().await;
        progress.connections.fetch_add(1, Ordering::Relaxed);
        let mut pace = Metronome::new(Duration::from_millis(2));
        for seq in 1.. {
            let sent = raw.try_say(&FromClient::Submit(batch(seq, kind, &payload).0));
            if sent.is_ok() {
                progress.offered.fetch_add((BATCH * PAYLOAD) as u64, Ordering::Relaxed);
            }
            if is_gone(&sent) || is_gone(&raw.beat()) || !progress.goes_on() {
                break;
            }
            if reads {
                raw.read_on();
            }
            pace.beat().await;
        }
    }
}

/// A client with good manners: it submits half of what the queue holds, and cancels it again. All of it goes
/// to the deaf worker, which tells nobody that it has not read it.
async fn feed_the_deaf(to: &Endpoint, progress: &Progress) {
    let payload = vec![b'x'; PAYLOAD];
    let mut raw = Raw::connect(to).await;
    raw.hello_client().await;
    let mut pace = Metronome::new(Duration::from_millis(20));
    let batches_a_wave = QUEUE_BYTES / 2 / (BATCH * PAYLOAD) as u64;
    for wave in 0.. {
        let mut ids = Vec::new();
        for number in 0..batches_a_wave {
            let (submit, tasks) = batch(wave * batches_a_wave + number + 1, "deaf", &payload);
            raw.say(&FromClient::Submit(submit));
            ids.push(tasks);
            progress.offered.fetch_add((BATCH * PAYLOAD) as u64, Ordering::Relaxed);
            pace.beat().await;
        }
        for tasks in ids {
            raw.say(&FromClient::Cancel(TaskList { req: wave, tasks: tasks.into() }));
        }
        raw.read_on();
        raw.beat().unwrap();
        pace.beat().await;
        if !progress.goes_on() {
            return;
        }
    }
}

/// Serves a kind, says that it lives, and reads nothing that it is sent, until it is cut off.
async fn be_a_deaf_worker(to: Endpoint, kind: &'static str, slots: u32, progress: Arc<Progress>) {
    let mut raw = Raw::connect_deaf(&to).await;
    raw.hello_worker(&[kind], slots).await;
    progress.connections.fetch_add(1, Ordering::Relaxed);
    let mut pace = Metronome::new(Duration::from_millis(200));
    let beat = FromWorker::Heartbeat(WorkerHeartbeat { mark: 0, revision: ganger_common::Revision(0) });
    while progress.goes_on() && !is_gone(&raw.try_report(&beat)) {
        pace.beat().await;
    }
}

fn batch<'a>(seq: u64, kind: &'a str, payload: &'a [u8]) -> (Submit<'a>, Vec<TaskId>) {
    let ids: Vec<TaskId> = (0..BATCH).map(|_| fresh_id()).collect();
    let task = |id: &TaskId| WireTask { id: *id, kind: kind.into(), payload: Blob(payload), options: None };
    let tasks = ids.iter().map(task).collect();
    (Submit { seq, again: false, tasks }, ids)
}

fn is_gone(result: &Result<(), SendError>) -> bool {
    matches!(result, Err(SendError::Gone(_)))
}
