//! Seeds that must pass.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ganger_tests::sim::runner::{Story, known_seeds};

use crate::{judge, story};

/// Runs stories on all processors; the first that fails, with what is wrong.
pub(crate) fn first_wrong(stories: &[Story]) -> Option<(usize, Vec<String>)> {
    let next = AtomicUsize::new(0);
    let first: Mutex<Option<(usize, Vec<String>)>> = Mutex::new(None);
    let is_over = |at: usize| first.lock().expect("no panic inside").as_ref().is_some_and(|(n, _)| *n < at);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(story) = stories.get(at).filter(|_| !is_over(at)) else { return };
                    let wrong = judge(*story);
                    if !wrong.is_empty() && !is_over(at) {
                        *first.lock().expect("no panic inside") = Some((at, wrong));
                    }
                }
            });
        }
    });
    first.into_inner().expect("no panic inside")
}

#[track_caller]
fn all_pass(stories: &[Story]) {
    if let Some((at, wrong)) = first_wrong(stories) {
        let (profile, seed) = stories[at];
        let shown = wrong.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
        panic!("{shown}\nreplay: cargo sim --profile {profile} --seed {seed} --trace");
    }
}

/// Ten of each profile: a dev build is not optimised and checks every index after every step.
const STORIES: u64 = 100;

#[test]
fn ten_seeds_of_every_profile_pass() {
    let stories: Vec<Story> = (0..STORIES).map(story).collect();
    all_pass(&stories);
}

#[test]
fn seeds_that_once_failed_pass() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sim-seeds.txt");
    let stories = known_seeds(&path).expect("the list of seeds");
    all_pass(&stories);
}
