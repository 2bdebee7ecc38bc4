//! The simulator holds still while it is looked at.

use std::fmt::Write as _;

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
    let total = run_all(&stories, 2, true, &|_| {});
    assert_eq!(total.failed, Default::default());
    assert_eq!(total.runs, 40);
    for fault in [Fault::WorkerKill, Fault::BrokerKill, Fault::LinkCut, Fault::PubLoss, Fault::Overload] {
        assert!(total.figures.faults.contains_key(&fault), "{fault:?} never happened");
    }
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
