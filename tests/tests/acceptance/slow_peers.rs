//! Peers that do not read, or do not stop: the broker's memory keeps within what it was given, and the
//! others do not feel it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ganger_client::NewTask;
use ganger_common::codec::Blob;
use ganger_common::message::{
    ClientHeartbeat, FromClient, FromWorker, NewTask as WireTask, Submit, WorkerHeartbeat,
};
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::Customer;
use ganger_tests::procfs;
use ganger_tests::raw::Raw;
use ganger_tests::scale::{Scale, alone};
use ganger_tests::wait::{Metronome, until};
use ganger_tests::work::fresh_id;
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
const RSS_MAX: u64 = QUEUE_BYTES + RETAIN_BYTES + UNREAD_BYTES + REST_BYTES;

/// Payload of each task of a bad peer, and how many stand in one message.
const PAYLOAD: usize = 16 << 10;
const BATCH: usize = 100;

#[tokio::test(flavor = "multi_thread")]
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
            RSS_MAX / MIB,
            ratio * 100.0
        );
        assert!(peak <= RSS_MAX, "{} MiB", peak / MIB);
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
            let deaf = tokio::spawn(be_a_deaf_worker(workers, progress.clone()));
            flood(&clients, "deaf", true, &progress).await;
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
            let task =
                |_| WireTask { id: fresh_id(), kind: kind.into(), payload: Blob(&payload), options: None };
            let tasks = (0..BATCH).map(task).collect();
            let sent = raw.try_say(&FromClient::Submit(Submit { seq, again: false, tasks }));
            if sent.is_ok() {
                progress.offered.fetch_add((BATCH * PAYLOAD) as u64, Ordering::Relaxed);
            }
            let beat = raw.try_say(&FromClient::Heartbeat(ClientHeartbeat { mark: 0 }));
            let is_gone = |result| matches!(result, Err(SendError::Gone(_)));
            if is_gone(sent) || is_gone(beat) || !progress.goes_on() {
                break;
            }
            if reads {
                raw.skip_what_is_there();
            }
            pace.beat().await;
        }
    }
}

async fn be_a_deaf_worker(to: Endpoint, progress: Arc<Progress>) {
    while progress.goes_on() {
        let mut raw = Raw::connect_deaf(&to).await;
        raw.hello_worker(&["deaf"], 4_096).await;
        progress.connections.fetch_add(1, Ordering::Relaxed);
        let mut pace = Metronome::new(Duration::from_millis(200));
        let beat = FromWorker::Heartbeat(WorkerHeartbeat { mark: 0, revision: ganger_common::Revision(0) });
        while progress.goes_on() && raw.try_report(&beat).is_ok() {
            pace.beat().await;
        }
    }
}
