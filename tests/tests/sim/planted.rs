//! Every bug that can be planted is found: a checker that never failed proves nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ganger_tests::oracle;
use ganger_tests::planted::Planted;
use ganger_tests::sim::{Event, run};

use crate::story;

/// A bug that no story below this number shows counts as not found.
const STORIES_MAX: u64 = 2_000;

/// How a bug was found.
#[derive(Clone, Debug)]
struct Catch {
    /// The number of the story that showed it.
    story: u64,
    /// The rule that it broke.
    by: String,
    text: String,
}

#[test]
fn every_planted_bug_is_caught_within_2000_seeds() {
    // The message of a panic that a planted bug leads to is part of the verdict, not of the output.
    std::panic::set_hook(Box::new(|_| ()));
    let wanted = std::env::var("PLANTED").unwrap_or_default();
    let mut missed = Vec::new();
    let mut table = format!("{:<38} {:<14} {:>6}  story\n", "bug", "caught by", "seeds");
    for bug in Planted::all().into_iter().filter(|bug| bug.to_string().contains(&wanted)) {
        let line = match first_catch(bug) {
            Some(catch) => {
                let (profile, seed) = story(catch.story);
                // What shows a bug must be right without it.
                if let Some(wrong) = crate::judge((profile, seed)).first() {
                    eprintln!("{profile} {seed} fails without {bug}: {wrong}");
                    missed.push(bug.to_string());
                }
                if !wanted.is_empty() {
                    eprintln!("{}", catch.text);
                }
                format!("{bug:<38} {:<14} {:>6}  {profile} {seed}", catch.by, catch.story + 1)
            }
            None => {
                missed.push(bug.to_string());
                format!("{bug:<38} {:<14}", "not caught")
            }
        };
        eprintln!("{line}");
        table += &line;
        table.push('\n');
    }
    let _ = std::panic::take_hook();
    println!("{table}");
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// Runs stories with a bug, on all processors, until one shows it.
fn first_catch(bug: Planted) -> Option<Catch> {
    let next = AtomicU64::new(0);
    let first: Mutex<Option<Catch>> = Mutex::new(None);
    let is_over = |n: u64| {
        let first = first.lock().expect("no panic while it is held");
        n >= STORIES_MAX || first.as_ref().is_some_and(|catch| catch.story < n)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if is_over(n) {
                        return;
                    }
                    if let Some(catch) = try_story(bug, n)
                        && !is_over(n)
                    {
                        *first.lock().expect("no panic while it is held") = Some(catch);
                    }
                }
            });
        }
    });
    first.into_inner().expect("no panic while it is held")
}

fn try_story(bug: Planted, n: u64) -> Option<Catch> {
    let (profile, seed) = story(n);
    let run = bug.during(|| run(seed, profile));
    // Of a run that broke off under faults it is no news that they never ended: what broke it off is.
    let faults_ended = run.log.iter().any(|(_, entry)| entry.event == Event::FaultsEnded);
    let found = oracle::check(&run.log, &run.facts);
    if let Some(violation) = found.iter().find(|violation| faults_ended || violation.invariant != "I12") {
        return Some(Catch { story: n, by: violation.invariant.to_owned(), text: violation.to_string() });
    }
    let failure = run.failures.first()?;
    let by = if failure.starts_with("panic") { "assertion" } else { "simulator" };
    Some(Catch { story: n, by: by.to_owned(), text: failure.clone() })
}
