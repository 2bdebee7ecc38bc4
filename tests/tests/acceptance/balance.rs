//! Tasks of very different lengths, spread so that nobody waits.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ganger_tests::cluster::Cluster;
use ganger_tests::customer::Customer;
use ganger_tests::diary::{self, Line, Mark};
use ganger_tests::scale::{Scale, alone};
use ganger_tests::work;

const WORKERS: usize = 4;
const SLOTS: usize = 2;
/// How far the makespan may be above what no order of the tasks can beat.
const OVER_BOUND_MAX: f64 = 1.10;
/// How long a slot may be empty while something has not started.
const IDLE_MAX: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn mixed_durations_are_spread_within_a_tenth_of_the_best_possible() {
    let _turn = alone();
    let (count, longest) = Scale::from_env().pick((400, 250), (1_000, 1_000));
    let cluster = Cluster::start(&[]).with_diarists(WORKERS, SLOTS as u32);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(WORKERS, Duration::from_secs(20)).await;
    let spans: Vec<Duration> = (0..count).map(|n| Duration::from_millis(1 + scatter(n) % longest)).collect();

    customer.run(spans.iter().map(|span| work::sleep(*span)), Duration::from_secs(180)).await;

    let lines = diary::read_all(cluster.directory());
    let (first, last) = (lines[0].at_ns, lines[lines.len() - 1].at_ns);
    let makespan = Duration::from_nanos(last - first);
    // What the handlers really took: the bound is about the order, not about a machine that is slow.
    let spans = spans_run(&lines);
    let total: Duration = spans.iter().sum();
    let bound = (total / (WORKERS * SLOTS) as u32).max(spans.iter().max().copied().unwrap_or_default());
    let ratio = makespan.as_secs_f64() / bound.as_secs_f64();
    let (gap, place) = longest_gap(&lines);
    println!("{count} tasks of up to {longest} ms: makespan {makespan:?}, bound {bound:?}, ratio {ratio:.3}");
    println!("longest empty slot while something had not started: {gap:?} at {place}");
    assert!(ratio <= OVER_BOUND_MAX, "{ratio:.3}");
    assert!(gap <= IDLE_MAX, "{place} had an empty slot for {gap:?} while something had not started");
    let findings = customer.judge(cluster.directory()).await;
    assert!(findings.is_clean() && findings.extra_runs == 0, "{findings}");
}

/// Numbers that look random and are the same in every run.
fn scatter(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

/// How long each run took, by the diaries.
fn spans_run(lines: &[Line]) -> Vec<Duration> {
    let mut open = HashMap::new();
    let mut spans = Vec::new();
    for line in lines {
        match line.mark {
            Mark::Start => {
                open.insert((line.task, line.attempt), line.at_ns);
            }
            Mark::Finish | Mark::GiveUp => {
                let start = open.remove(&(line.task, line.attempt)).unwrap_or(line.at_ns);
                spans.push(Duration::from_nanos(line.at_ns - start));
            }
        }
    }
    spans
}

/// The longest time that one worker had an empty slot before the last start of any task: until then there
/// was always something that had not started, at the broker or at another worker.
fn longest_gap(lines: &[Line]) -> (Duration, String) {
    let last_start = lines.iter().rfind(|line| line.mark == Mark::Start).map_or(0, |line| line.at_ns);
    let first_start = lines.first().map_or(0, |line| line.at_ns);
    // Running tasks, and since when they have been fewer than the slots.
    let mut workers: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    let mut gaps = Vec::new();
    for line in lines.iter().take_while(|line| line.at_ns <= last_start) {
        let (running, since) = workers.entry(&line.worker).or_insert((0, first_start));
        match line.mark {
            Mark::Start => {
                *running += 1;
                if *running == SLOTS {
                    gaps.push((line.at_ns - *since, line.worker.clone()));
                }
            }
            Mark::Finish | Mark::GiveUp => {
                if *running == SLOTS {
                    *since = line.at_ns;
                }
                *running -= 1;
            }
        }
    }
    let open = workers.iter().filter(|(_, (running, _))| *running < SLOTS);
    gaps.extend(open.map(|(worker, (_, since))| (last_start - since, (*worker).to_owned())));
    let (gap, worker) = gaps.into_iter().max().unwrap_or_default();
    (Duration::from_nanos(gap), worker)
}
