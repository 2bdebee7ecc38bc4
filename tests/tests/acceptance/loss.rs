//! Processes that die or freeze, one at a time, and what must have happened by when.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ganger_common::{Attempt, AttemptEnd, Outcome, TaskId};
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::Customer;
use ganger_tests::diary::{self, Line, Mark, now_ns};
use ganger_tests::scale::{Scale, alone};
use ganger_tests::wait::{Metronome, eventually, within};
use ganger_tests::work;

/// Anything that needs no fault to be noticed happens within this.
const SOON: Duration = Duration::from_secs(20);
/// The grace of a broken connection and a second for the rest.
const AFTER_KILL: Duration = Duration::from_secs(3);
/// Three heartbeats of silence and a half second more than one heartbeat.
const AFTER_STOP: Duration = Duration::from_millis(4_500);
/// From the moment that a restarted broker listens.
const REATTACHED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_a_killed_worker_run_elsewhere_within_3_s() {
    let _turn = alone();
    let mut scene = Scene::with_two_tasks_on_the_victim().await;
    let at = now_ns();
    scene.cluster.worker(VICTIM).kill();
    let took = scene.taken_over_since(at);
    println!("SIGKILL: its tasks ran elsewhere after {took:?}");
    assert!(took <= AFTER_KILL, "{took:?}");

    work::open_gate(&scene.gate);
    let outcomes = scene.finish().await;
    assert!(outcomes.iter().all(|attempt| *attempt == Attempt(2)), "{outcomes:?}");
    scene.assert_ended_before(AttemptEnd::Crashed).await;
    let findings = scene.customer.judge(scene.cluster.directory()).await;
    assert!(findings.is_clean() && findings.extra_runs == 2, "{findings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_is_given_up_within_4_5_s_and_its_late_reports_change_nothing() {
    let _turn = alone();
    let mut scene = Scene::with_two_tasks_on_the_victim().await;
    let at = now_ns();
    scene.cluster.worker(VICTIM).stop();
    let took = scene.taken_over_since(at);
    println!("SIGSTOP: its tasks ran elsewhere after {took:?}");
    assert!(took <= AFTER_STOP, "{took:?}");

    work::open_gate(&scene.gate);
    let tasks = scene.tasks();
    assert!(scene.finish().await.iter().all(|attempt| *attempt == Attempt(2)));
    let mut before = Vec::new();
    for task in &tasks {
        before.push(scene.customer.result(*task).await);
    }
    let stale = scene.customer.counter("reports_stale").await;

    // It wakes, finds its gate open, and reports what it was told to do long ago.
    scene.cluster.worker(VICTIM).cont();
    scene.await_lines("the frozen worker has finished", |line| {
        line.worker == VICTIM_NAME && line.mark != Mark::Start
    });
    scene.customer.await_workers(2, SOON).await;
    let victim_serves = work::task(work::replica_kind(VICTIM_NAME), "");
    scene.customer.run([victim_serves], SOON).await;
    println!("reports that changed nothing: {}", scene.customer.counter("reports_stale").await - stale);
    for (task, before) in tasks.iter().zip(before) {
        let now = scene.customer.task(*task).await;
        assert_eq!((now.outcome, now.attempt), (Some(Outcome::Succeeded), Attempt(2)));
        assert_eq!(scene.customer.result(*task).await, before);
    }
    scene.assert_ended_before(AttemptEnd::Crashed).await;
    let findings = scene.customer.judge(scene.cluster.directory()).await;
    assert!(findings.is_clean() && findings.extra_runs == 2, "{findings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_success_counts_while_the_task_is_not_settled() {
    let _turn = alone();
    let mut scene = Scene::with_two_tasks_on_the_victim().await;
    let at = now_ns();
    scene.cluster.worker(VICTIM).stop();
    scene.taken_over_since(at);

    // Only the one that was given up gets through its gate.
    work::open_gate_for(&scene.gate, VICTIM_NAME);
    scene.cluster.worker(VICTIM).cont();
    let attempts = scene.finish().await;
    assert!(attempts.iter().all(|attempt| *attempt == Attempt(1)), "{attempts:?}");
    assert_eq!(scene.customer.counter("late_successes").await, 2);
    // The newer attempts are recalled: their handlers are told, and stop.
    scene.await_count("the newer attempts have stopped", 2, |line| {
        line.worker == "heir" && line.mark == Mark::GiveUp
    });
    let findings = scene.customer.judge(scene.cluster.directory()).await;
    assert!(findings.is_clean() && findings.extra_runs == 2, "{findings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_declares_nobody_dead() {
    let _turn = alone();
    let frozen = Duration::from_secs(10);
    let cluster = Cluster::start(&[]).with_diarists(4, 2);
    let mut customer = Customer::connect(&cluster).await;
    let before = customer.await_workers(4, SOON).await;
    let gate = cluster.file("gate");
    let mut handles = customer.submit_all((0..8).map(|_| work::gate(&gate))).await;
    handles.extend(customer.submit_all((0..40).map(|_| work::sleep(Duration::from_millis(20)))).await);
    await_starts(cluster.directory(), 8);

    cluster.broker().stop();
    Metronome::once(frozen).await;
    cluster.broker().cont();
    work::open_gate(&gate);

    let outcomes = customer.wait_all(handles, SOON).await;
    ganger_tests::customer::assert_all_succeeded(&outcomes);
    assert!(outcomes.iter().all(|outcome| outcome.attempt == Attempt(1)), "something ran again");
    let status = customer.status().await;
    for counter in ["workers_lost_silent", "workers_lost_connection", "attempts_crashed", "attempts_lost"] {
        assert_eq!(status.counters[counter], 0, "{counter}");
    }
    let mut ids = [before, customer.await_workers(4, SOON).await]
        .map(|workers| workers.into_iter().map(|worker| worker.id).collect::<Vec<_>>());
    ids.iter_mut().for_each(|ids| ids.sort());
    assert_eq!(ids[0], ids[1], "a worker is another one now");
    let findings = customer.judge(cluster.directory()).await;
    assert!(findings.is_clean() && findings.extra_runs == 0, "{findings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_broker_finds_its_workers_again_and_running_tasks_run_on() {
    let _turn = alone();
    let small = Scale::from_env().pick(200, 2_000);
    let mut cluster = Cluster::start(&[]).with_diarists(4, 2);
    let mut customer = Customer::connect(&cluster).await;
    let mut before: Vec<_> = customer.await_workers(4, SOON).await.iter().map(|worker| worker.id).collect();
    let gate = cluster.file("gate");
    let gated = customer.submit_all((0..8).map(|_| work::gate(&gate))).await;
    let running: Vec<TaskId> = gated.iter().map(ganger_client::TaskHandle::id).collect();
    await_starts(cluster.directory(), 8);
    // These wait behind them, in the memory of the broker that is about to die.
    let waiting = customer.submit_all((0..small).map(|_| work::sleep(Duration::from_millis(5)))).await;

    cluster.broker().kill();
    cluster.restart_broker();
    let start = std::time::Instant::now();
    let again = Customer::connect(&cluster).await;
    let mut after: Vec<_> = again.await_workers(4, REATTACHED).await.iter().map(|worker| worker.id).collect();
    println!("restart: 4 workers were back {:?} after the broker listened", start.elapsed());
    before.sort();
    after.sort();
    assert_eq!(before, after, "a worker is another one now");

    work::open_gate(&gate);
    let outcomes = customer.wait_all(gated, SOON).await;
    ganger_tests::customer::assert_all_succeeded(&outcomes);
    let outcomes = customer.wait_all(waiting, SOON).await;
    ganger_tests::customer::assert_all_succeeded(&outcomes);
    println!("restart: the client's batch of {} tasks was complete after {:?}", small + 8, start.elapsed());

    let lines = diary::read_all(cluster.directory());
    for task in &running {
        let starts = lines.iter().filter(|line| line.task == *task && line.mark == Mark::Start).count();
        assert_eq!(starts, 1, "{task} was running and has run again");
    }
    let findings = customer.judge(cluster.directory()).await;
    assert!(findings.lost.is_empty() && findings.settled_twice.is_empty(), "{findings}");
    assert!(findings.phantom.is_empty() && findings.attempt_ran_twice.is_empty(), "{findings}");
}

const VICTIM: usize = 0;
const VICTIM_NAME: &str = "victim";

/// Two tasks that run on one worker until a gate opens, and another worker that has nothing to do.
struct Scene {
    cluster: Cluster,
    customer: Customer,
    gate: PathBuf,
    handles: Vec<ganger_client::TaskHandle>,
}

impl Scene {
    async fn with_two_tasks_on_the_victim() -> Self {
        let mut cluster = Cluster::start(&[]);
        cluster.add(&WorkerSpec::diarist(VICTIM_NAME).slots(2));
        let mut customer = Customer::connect(&cluster).await;
        let gate = cluster.file("gate");
        let handles = customer.submit_all([work::gate(&gate), work::gate(&gate)]).await;
        await_starts(cluster.directory(), 2);
        cluster.add(&WorkerSpec::diarist("heir").slots(2));
        customer.await_workers(2, SOON).await;
        // The starts are on the broker's record, too: what is lost from now on has crashed.
        let running = async || (customer.status().await.running == 2).then_some(());
        ganger_tests::wait::until("both are known to run", SOON, running).await;
        Self { cluster, customer, gate, handles }
    }

    fn tasks(&self) -> Vec<TaskId> {
        self.handles.iter().map(ganger_client::TaskHandle::id).collect()
    }

    /// Waits until the heir has started both tasks, and tells how long after a moment that was.
    fn taken_over_since(&self, at: u64) -> Duration {
        let is_start = |line: &Line| line.worker == "heir" && line.mark == Mark::Start;
        let starts = self.await_count("both tasks run elsewhere", 2, is_start);
        let last = starts.iter().map(|line| line.at_ns).max().unwrap_or(0);
        Duration::from_nanos(last.saturating_sub(at))
    }

    fn await_lines(&self, what: &str, pick: impl Fn(&Line) -> bool) {
        self.await_count(what, 2, pick);
    }

    fn await_count(&self, what: &str, count: usize, pick: impl Fn(&Line) -> bool) -> Vec<Line> {
        let mut found = Vec::new();
        eventually(what, SOON, || {
            found = diary::read_all(self.cluster.directory());
            found.retain(&pick);
            found.len() >= count
        });
        found
    }

    /// Waits for both outcomes and returns the attempts that settled them.
    async fn finish(&mut self) -> Vec<Attempt> {
        let outcomes = self.customer.wait_all(std::mem::take(&mut self.handles), SOON).await;
        ganger_tests::customer::assert_all_succeeded(&outcomes);
        outcomes.iter().map(|outcome| outcome.attempt).collect()
    }

    /// The first attempt of every task stands in its history, with this end.
    async fn assert_ended_before(&self, end: AttemptEnd) {
        let lines = diary::read_all(self.cluster.directory());
        let tasks: std::collections::BTreeSet<TaskId> =
            lines.iter().filter(|line| line.attempt == Attempt(2)).map(|line| line.task).collect();
        assert_eq!(tasks.len(), 2);
        for task in tasks {
            let view = within("its record", SOON, self.customer.task(task)).await;
            let first = view.attempts.first().map(|attempt| (attempt.attempt, attempt.end));
            assert_eq!(first, Some((Attempt(1), end)), "{view:?}");
        }
    }
}

fn await_starts(diaries: &Path, count: usize) {
    eventually(&format!("{count} tasks run"), SOON, || {
        diary::read_all(diaries).iter().filter(|line| line.mark == Mark::Start).count() >= count
    });
}
