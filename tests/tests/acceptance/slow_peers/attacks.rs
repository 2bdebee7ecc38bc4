//! What bad peers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ganger_common::TaskId;
use ganger_common::codec::Blob;
use ganger_common::message::{
    FromClient, FromWorker, NewTask as WireTask, Submit, TaskList, WorkerHeartbeat,
};
use ganger_tests::cluster::Cluster;
use ganger_tests::raw::Raw;
use ganger_tests::wait::Metronome;
use ganger_tests::work::fresh_id;
use ganger_transport::{Endpoint, Limits, SendError};

use super::{MIB, QUEUE_BYTES};

/// Payload of each task of a bad peer, and how many stand in one message.
pub(super) const PAYLOAD: usize = 16 << 10;
pub(super) const BATCH: usize = 100;

/// What an attacker has on its way to the broker by itself: little, so that it can rest at once.
const OUTBOX_BYTES: u64 = 4 * MIB;
/// An attacker that got nothing rid of for so long has been cut off, or might as well have been.
const STUCK_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Attack {
    /// Submits tasks with large results and reads none of what it is told. When the broker takes no more of
    /// it, it comes again, and keeps the old connection.
    DeafClient,
    /// Serves a kind with many slots, is sent large tasks, and reads none.
    DeafWorker,
    /// Submits tasks that nobody serves, and reads that there is no room.
    EndlessClient,
}

/// What the test and the attacker tell each other.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) stop: AtomicBool,
    pub(super) rest: AtomicBool,
    /// Bytes of payload that were handed to the transport.
    pub(super) offered: AtomicU64,
    pub(super) connections: AtomicU64,
}

impl Progress {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn rests(&self) -> bool {
        self.rest.load(Ordering::Relaxed)
    }

    fn offer(&self) {
        self.offered.fetch_add((BATCH * PAYLOAD) as u64, Ordering::Relaxed);
    }
}

/// Starts an attack. A bad peer has a machine of its own; here it takes what the others leave of this one, so
/// that they are slowed by what it does to the broker and by nothing else.
pub(super) fn start(attack: Attack, at: &Cluster, progress: Arc<Progress>) -> JoinHandle<()> {
    let (clients, workers) = (at.clients(), at.workers_endpoint());
    std::thread::spawn(move || {
        give_way();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(attack, clients, workers, progress));
    })
}

/// Lowers the priority of this thread, and of those that it starts.
#[allow(unsafe_code)] // The standard library has no face for priorities.
fn give_way() {
    // SAFETY: changes a number in the kernel; on Linux, that of this thread only.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
    assert_eq!(result, 0, "anybody may lower a priority");
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
    let mut left_behind = Vec::new();
    while progress.goes_on() {
        let mut raw = connect(to, reads).await;
        raw.hello_client().await;
        progress.connections.fetch_add(1, Ordering::Relaxed);
        let mut pace = Metronome::new(Duration::from_millis(2));
        let (mut seq, mut moved) = (0, Instant::now());
        while progress.goes_on() && !is_gone(&raw.beat()) {
            if reads {
                raw.read_on();
            }
            if progress.rests() {
                moved = Instant::now();
            } else {
                seq += 1;
                match raw.try_say(&FromClient::Submit(batch(seq, kind, &payload).0)) {
                    Ok(()) => {
                        progress.offer();
                        moved = Instant::now();
                    }
                    Err(SendError::Full(_)) if moved.elapsed() < STUCK_AFTER => {}
                    Err(_) => break,
                }
            }
            pace.beat().await;
        }
        left_behind.push(raw);
    }
}

async fn connect(to: &Endpoint, reads: bool) -> Raw {
    let limits = Limits { outbox_bytes: OUTBOX_BYTES as usize, ..Limits::default() };
    let deaf = Limits { inbox_messages: 1, inbox_bytes: 1, ..limits.clone() };
    Raw::connect_with(to, if reads { &limits } else { &deaf }).await
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
            while progress.rests() && progress.goes_on() {
                raw.read_on();
                raw.beat().unwrap();
                pace.beat().await;
            }
            let (submit, tasks) = batch(wave * batches_a_wave + number + 1, "deaf", &payload);
            raw.say(&FromClient::Submit(submit));
            ids.push(tasks);
            progress.offer();
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
pub(super) async fn be_a_deaf_worker(to: Endpoint, kind: &'static str, slots: u32, progress: Arc<Progress>) {
    let mut raw = Raw::connect_deaf(&to).await;
    raw.hello_worker(&[kind], slots).await;
    progress.connections.fetch_add(1, Ordering::Relaxed);
    let mut pace = Metronome::new(Duration::from_millis(200));
    let beat = FromWorker::Heartbeat(WorkerHeartbeat {
        mark: 0,
        revision: ganger_common::Revision(0),
        quiet: false,
    });
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
