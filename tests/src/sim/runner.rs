//! Many runs, on all the threads there are.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::figures::Figures;
use super::profile::Profile;
use super::run::{Run, run};

/// A seed and its profile: what a run is made of.
pub type Story = (Profile, u64);

/// What many runs led to. It does not grow with their number, only with that of the failures.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// Runs that were made: of the stories from the first on, none left out.
    pub runs: u64,
    /// What they add up to.
    pub figures: Figures,
    /// Those that failed, with what was wrong; of the first few all of it, of the others the beginning.
    pub failed: BTreeMap<Story, Vec<String>>,
    /// Runs by profile.
    pub profiles: BTreeMap<Profile, Pace>,
    /// The run that took longest.
    pub slowest: Option<(Duration, Story)>,
}

/// How the runs of one profile went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// How many.
    pub runs: u64,
    /// How many of them failed.
    pub failed: u64,
    /// What they took together, on their threads.
    pub took: Duration,
}

/// Failures that are kept with their whole text.
const WHOLE_TEXTS_MAX: usize = 50;
/// What is kept of the text of any other.
const SHORT_TEXT: usize = 200;

impl Total {
    /// Runs that failed.
    pub fn failures(&self) -> u64 {
        self.failed.len() as u64
    }

    /// Adds a run, which took so long.
    pub fn add(&mut self, one: Run, took: Duration) {
        let (story, failed) = ((one.profile, one.seed), !one.failures.is_empty());
        self.runs += 1;
        self.figures.add(&one.figures);
        let pace = self.profiles.entry(one.profile).or_default();
        pace.runs += 1;
        pace.failed += u64::from(failed);
        pace.took += took;
        self.slowest = self.slowest.max(Some((took, story)));
        if failed {
            let mut texts = one.failures;
            if self.failed.len() >= WHOLE_TEXTS_MAX {
                texts.truncate(1);
                texts.iter_mut().for_each(|text| *text = text.chars().take(SHORT_TEXT).collect());
            }
            self.failed.insert(story, texts);
        }
    }
}

/// Runs the stories from number 0 on, until there is none of a number, several side by side. `done` hears
/// of each, and no new one is begun after it says so.
pub fn run_all(
    stories: impl Fn(usize) -> Option<Story> + Sync,
    threads: usize,
    done: impl Fn(&Run) -> ControlFlow<()> + Sync,
) -> Total {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let total = Mutex::new(Total::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                // One thread runs a story from its beginning to its end.
                while !stop.load(Ordering::Relaxed)
                    && let Some((profile, seed)) = stories(next.fetch_add(1, Ordering::Relaxed))
                {
                    let begun = Instant::now();
                    let one = run(seed, profile);
                    let took = begun.elapsed();
                    if done(&one).is_break() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    total.lock().unwrap_or_else(PoisonError::into_inner).add(one, took);
                }
            });
        }
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the list of seeds that once failed: `profile seed # what it found`.
///
/// # Errors
/// When the file cannot be read, or a line is none of these.
pub fn known_seeds(path: &Path) -> Result<Vec<Story>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut stories = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let wrong = || format!("{}:{number}: write a profile and a seed", path.display());
        let (profile, seed) = line.split_once(char::is_whitespace).ok_or_else(wrong)?;
        let profile = profile.parse().map_err(|error| format!("{}:{number}: {error}", path.display()))?;
        stories.push((profile, seed.trim().parse().map_err(|_| wrong())?));
    }
    Ok(stories)
}
