//! The simulator holds still while it is looked at.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::log::{Event, Fault};
use super::runner::{known_seeds, run_all};
use super::*;

fn trace(seed: u64, profile: Profile) -> String {
    let mut text = String::new();
    for entry in run(seed, profile).log.entries() {
        writeln!(text, "{entry}").unwrap();
    }
    text
}

#[test]
fn the_same_seed_is_the_same_story_to_the_byte() {
    for profile in [Profile::Network, Profile::Broker, Profile::All] {
        for seed in 1..4 {
            let first = trace(seed, profile);
            // On another thread, too: nothing of this one may show.
            let again = std::thread::spawn(move || trace(seed, profile)).join().unwrap();
            assert!(first.lines().count() > 100, "{profile} {seed} is a story");
            assert_eq!(first, again, "{profile} {seed}");
        }
    }
}

#[test]
fn another_seed_or_profile_is_another_story() {
    let story = trace(1, Profile::All);
    assert_ne!(story, trace(2, Profile::All));
    assert_ne!(story, trace(1, Profile::Network));
}

#[test]
fn every_profile_runs_to_its_end_and_its_faults_happen() {
    let stories: Vec<_> =
        Profile::ALL.iter().flat_map(|profile| (1..5).map(|seed| (*profile, seed))).collect();
    let total = run_all(|number| stories.get(number).copied(), 2, |_| ControlFlow::Continue(()));
    assert_eq!(total.failed, Default::default());
    assert_eq!(total.runs, 40);
    for fault in [Fault::WorkerKill, Fault::BrokerKill, Fault::LinkCut, Fault::PubLoss, Fault::Overload] {
        assert!(total.figures.faults.contains_key(&fault), "{fault:?} never happened");
    }
}

#[test]
fn runs_that_are_broken_off_are_the_first_ones() {
    let seen = AtomicU64::new(0);
    let enough = |_: &Run| match seen.fetch_add(1, Ordering::Relaxed) {
        4.. => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let begun = Mutex::new(BTreeSet::new());
    let story = |number: usize| {
        begun.lock().unwrap().insert(number as u64);
        Some((Profile::Calm, number as u64))
    };
    let total = run_all(story, 3, enough);
    assert!((5..8).contains(&total.runs), "{} runs", total.runs);
    assert_eq!(*begun.lock().unwrap(), (0..total.runs).collect());
    assert_eq!(total.profiles[&Profile::Calm].runs, total.runs);
}

#[test]
fn a_run_ends_quiet_and_after_its_faults() {
    let run = run(3, Profile::All);
    let place = |wanted: Event| run.log.entries().iter().position(|entry| entry.event == wanted);
    let ended = place(Event::FaultsEnded).unwrap();
    let settled = place(Event::Settled).unwrap();
    assert!(ended < settled && settled < run.log.len());
    assert_eq!(run.log.entries().last().unwrap().event, Event::Quiet);
}

#[test]
fn the_list_of_known_seeds_can_be_read() {
    let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/sim-seeds.txt"));
    assert!(known_seeds(path).is_ok());
}
