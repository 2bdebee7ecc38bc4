//! The simulator held against the oracle: seeds that must pass, bugs that must be found.
//!
//! The ordinary run takes ten seeds of every profile. Many more run in the gate with `cargo sim`.
//! That the planted bugs are caught is shown by
//! `cargo test --profile sim -p ganger-tests --features planted --test sim -- --nocapture`.

#[cfg(feature = "planted")]
mod planted;
mod seeds;
mod trace;

use ganger_tests::oracle;
use ganger_tests::sim::runner::Story;
use ganger_tests::sim::{Profile, Run, run};

/// The n-th story: all profiles in turn.
fn story(n: u64) -> Story {
    let profiles = Profile::ALL.len() as u64;
    (Profile::ALL[(n % profiles) as usize], n / profiles)
}

/// What is wrong with a run: by the oracle first, because it names the rule.
fn wrong_with(run: &Run) -> Vec<String> {
    let found = oracle::check(&run.log, &run.facts);
    found.iter().map(ToString::to_string).chain(run.failures.iter().cloned()).collect()
}

/// Runs a story, and tells what is wrong with it.
fn judge((profile, seed): Story) -> Vec<String> {
    wrong_with(&run(seed, profile))
}
