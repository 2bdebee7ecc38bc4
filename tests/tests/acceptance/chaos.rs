//! Everything that happens to processes, at once, in an order that a seed decides.

use std::time::{Duration, Instant};

use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::{Customer, assert_all_succeeded};
use ganger_tests::scale::{Scale, alone};
use ganger_tests::wait::Metronome;
use ganger_tests::work;

const WORKERS: usize = 6;
const BEAT: Duration = Duration::from_millis(250);

/// Something that happens to a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    Kill,
    Leave,
    /// Shorter than anybody notices.
    Hiccup,
    /// Longer than a silence may be.
    Freeze,
    /// The broker stands still.
    Stall,
    Calm,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_task_settles_once_whatever_happens_to_the_workers() {
    let _turn = alone();
    let (tasks, beats) = Scale::from_env().pick((8_000_u64, 24), (80_000, 240));
    let seed = seed();
    println!("seed: GANGER_SEED={seed}");
    let mut dice = Dice(seed);
    let mut cluster = Cluster::start(&[]).with_diarists(WORKERS, 2);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(WORKERS, Duration::from_secs(20)).await;
    let start = Instant::now();
    let submitting = tokio::spawn(async move {
        let spans = (0..tasks).map(|n| Duration::from_micros(n * 7_919 % 20_000));
        // Workers die faster here than any task deserves to be blamed for.
        let options = ganger_common::TaskOptions { crash_limit: Some(100), ..Default::default() };
        let tasks = spans.map(|span| work::sleep(span).options(options.clone()));
        let handles = customer.submit_all(tasks).await;
        (customer.wait_all(handles, Duration::from_secs(240)).await, customer)
    });

    let mut metronome = Metronome::new(BEAT);
    let mut asleep: Vec<(usize, usize)> = Vec::new();
    let mut stalled_until = None;
    let mut told = Vec::new();
    for beat in 0..beats {
        metronome.beat().await;
        asleep.retain(|(wakes_at, worker)| {
            let sleeps_on = beat < *wakes_at;
            if !sleeps_on {
                cluster.worker(*worker).cont();
            }
            sleeps_on
        });
        if stalled_until.is_some_and(|until| beat >= until) {
            cluster.broker().cont();
            stalled_until = None;
        }
        let (fault, worker) = (dice.fault(), dice.below(WORKERS as u64) as usize);
        // One thing at a time to one process; any number of processes at a time.
        if asleep.iter().any(|(_, sleeper)| *sleeper == worker) {
            continue;
        }
        told.push((fault, worker));
        match fault {
            Fault::Kill => {
                cluster.worker(worker).kill();
                cluster.replace(worker, &WorkerSpec::diarist(format!("w{worker}-{beat}")).slots(2));
            }
            Fault::Leave => {
                cluster.worker(worker).term();
                cluster.replace(worker, &WorkerSpec::diarist(format!("w{worker}-{beat}")).slots(2));
            }
            Fault::Hiccup => {
                cluster.worker(worker).stop();
                asleep.push((beat + 4, worker));
            }
            Fault::Freeze => {
                cluster.worker(worker).stop();
                asleep.push((beat + 20, worker));
            }
            Fault::Stall if stalled_until.is_none() => {
                cluster.broker().stop();
                stalled_until = Some(beat + 6);
            }
            Fault::Stall | Fault::Calm => {}
        }
    }
    // Faults that nobody was busy for would prove nothing.
    assert!(!submitting.is_finished(), "there was too little work");
    cluster.broker().cont();
    asleep.iter().for_each(|(_, worker)| cluster.worker(*worker).cont());

    let (outcomes, mut customer) = submitting.await.unwrap();
    assert_all_succeeded(&outcomes);
    let findings = customer.judge(cluster.directory()).await;
    let count = |fault| told.iter().filter(|(other, _)| *other == fault).count();
    println!(
        "{tasks} tasks in {:?}; {} killed, {} left, {} hiccups, {} freezes, {} stalls of the broker: {findings}",
        start.elapsed(),
        count(Fault::Kill),
        count(Fault::Leave),
        count(Fault::Hiccup),
        count(Fault::Freeze),
        count(Fault::Stall)
    );
    assert!(findings.is_clean(), "GANGER_SEED={seed}: {findings}\n{told:?}");
}

/// From the environment, to replay a run; else another one each time.
fn seed() -> u64 {
    match std::env::var("GANGER_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("GANGER_SEED={text}: {error}")),
        Err(_) => ganger_tests::diary::now_ns(),
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn fault(&mut self) -> Fault {
        match self.below(12) {
            0..3 => Fault::Kill,
            3..5 => Fault::Leave,
            5..8 => Fault::Hiccup,
            8 => Fault::Freeze,
            9 => Fault::Stall,
            _ => Fault::Calm,
        }
    }
}
