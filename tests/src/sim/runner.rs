//! Many runs, on all the threads there are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::figures::Figures;
use super::profile::Profile;
use super::run::{Run, run};

/// A seed and its profile: what a run is made of.
pub type Story = (Profile, u64);

/// What many runs led to.
#[derive(Clone, Debug, Default)]
pub struct Total {
    /// Runs that were made.
    pub runs: u64,
    /// What they add up to.
    pub figures: Figures,
    /// Those that failed, with what was wrong; the first few of them, by story.
    pub failed: BTreeMap<Story, Vec<String>>,
    /// All that failed.
    pub failures: u64,
}

/// Failures that are kept with their texts.
const KEPT_MAX: usize = 50;

/// Runs stories, several side by side. `done` hears of each. After a failure no new one is begun, unless
/// `goes_on`.
pub fn run_all(stories: &[Story], threads: usize, goes_on: bool, done: &(dyn Fn(&Run) + Sync)) -> Total {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let total = Mutex::new(Total::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                // One thread runs a story from its beginning to its end.
                while !stop.load(Ordering::Relaxed)
                    && let Some((profile, seed)) = stories.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let one = run(*seed, *profile);
                    done(&one);
                    if !one.failures.is_empty() && !goes_on {
                        stop.store(true, Ordering::Relaxed);
                    }
                    let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    total.runs += 1;
                    total.figures.add(&one.figures);
                    if !one.failures.is_empty() {
                        total.failures += 1;
                        if total.failed.len() < KEPT_MAX {
                            total.failed.insert((one.profile, one.seed), one.failures);
                        }
                    }
                }
            });
        }
    });
    total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
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
