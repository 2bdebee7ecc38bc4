//! One seed, from its beginning to its verdict.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::facts::Facts;
use super::figures::Figures;
use super::log::{Event, Log};
use super::profile::Profile;
use super::world::World;

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// Its profile.
    pub profile: Profile,
    /// What happened.
    pub log: Log,
    /// The settings.
    pub facts: Facts,
    /// The figures.
    pub figures: Figures,
    /// What was wrong; empty when the run is good.
    pub failures: Vec<String>,
}

/// Runs a seed. A panic inside is its failure, not the caller's.
pub fn run(seed: u64, profile: Profile) -> Run {
    let mut world = World::new(seed, profile);
    let lived = catch_unwind(AssertUnwindSafe(|| world.live()));
    let mut failures = std::mem::take(&mut world.defects);
    if let Err(panic) = lived {
        failures.push(format!("panic: {}", text_of(panic.as_ref())));
    }
    let facts = world.facts();
    let mut figures = std::mem::take(&mut world.figures);
    let log = std::mem::take(&mut world.log);
    figures.read(&log);
    if failures.is_empty() && !matches!(log.entries().last(), Some(last) if last.event == Event::Quiet) {
        failures.push("the run did not come to its end".to_owned());
    }
    // What a run that broke off has not kept yet is no fault of its own.
    if failures.is_empty() {
        failures.extend(crate::oracle::check(&log, &facts).iter().map(ToString::to_string));
    }
    Run { seed, profile, log, facts, figures, failures }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "without a text".to_owned(),
    }
}
