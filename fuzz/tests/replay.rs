//! The seeds, and every input that once failed, run through their targets on a stable compiler.

use std::fs;
use std::path::{Path, PathBuf};

use ganger_fuzz::TARGETS;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name)
}

#[test]
fn no_seed_fails() {
    for (target, run) in TARGETS {
        let entries = fs::read_dir(folder(target)).expect("every target has seeds");
        let paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
        assert!(!paths.is_empty(), "{target} has no seeds");
        for path in paths {
            println!("{}", path.display());
            run(&fs::read(&path).expect("it can be read"));
        }
    }
}

#[test]
fn the_seeds_are_those_of_the_examples() {
    for seed in ganger_fuzz::seeds::all() {
        let found = fs::read(folder(&seed.path)).unwrap_or_default();
        assert!(found == seed.bytes, "{} is out of date: see examples/seeds.rs", seed.path);
    }
}

/// Not a search, only a sign that the targets get anywhere: a target that fails its first assertion on
/// everything would look like one that finds nothing.
#[test]
fn simple_inputs_run_through() {
    for (_, run) in TARGETS {
        for length in [0, 1, 10, 100, 1_000] {
            for byte in [0, 1, 5, 17, 255] {
                run(&vec![byte; length]);
            }
        }
    }
}
