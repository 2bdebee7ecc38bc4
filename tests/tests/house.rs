//! The rules of the house that a machine can check: who may depend on whom, how long a file may be, and
//! that what a newcomer is told to run is what is run for every commit.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ganger_tests::binaries::repository;

/// Crates that open databases, speak SQL or store logs.
const DATABASES: &[&str] = &[
    "rusqlite",
    "libsqlite3-sys",
    "sqlx",
    "diesel",
    "postgres",
    "tokio-postgres",
    "redb",
    "fjall",
    "sled",
    "rocksdb",
    "heed",
    "lmdb",
    "mongodb",
    "redis",
];
/// Crates that speak ZeroMQ.
const ZEROMQ: &[&str] = &["zeromq", "zmq", "tmq", "rzmq", "omq-proto", "omq-tokio"];
/// Crates that run futures, touch sockets, read clocks or roll dice.
const THE_WORLD: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "mio",
    "futures-util",
    "socket2",
    "libc",
    "nix",
    "rustix",
    "rand",
    "getrandom",
    "chrono",
    "time",
    "humantime",
    "tracing",
    "hyper",
    "axum",
    "reqwest",
];
/// Formats, which the scheduler must not know.
const FORMATS: &[&str] = &["serde", "serde_json", "rmp", "rmp-serde", "toml", "uuid"];

#[test]
fn only_transport_names_zeromq() {
    for krate in crates() {
        let allowed = krate.folder == "transport";
        assert!(allowed || krate.names_none_of(ZEROMQ), "{}: {:?}", krate.folder, krate.dependencies);
    }
}

#[test]
fn only_broker_names_a_database() {
    for krate in crates() {
        let allowed = krate.folder == "broker";
        assert!(allowed || krate.names_none_of(DATABASES), "{}: {:?}", krate.folder, krate.dependencies);
    }
}

#[test]
fn common_waits_for_nothing_and_knows_nobody() {
    let common = named("common");
    assert!(common.names_none_of(THE_WORLD), "{:?}", common.dependencies);
    assert_eq!(common.own(), BTreeSet::new());
}

#[test]
fn the_scheduler_knows_no_runtime_no_socket_no_format_and_no_clock() {
    let scheduler = named("scheduler");
    assert!(scheduler.names_none_of(THE_WORLD), "{:?}", scheduler.dependencies);
    assert!(scheduler.names_none_of(FORMATS), "{:?}", scheduler.dependencies);
    // What is left is data structures. A new name here is a decision, so it is written down here, too.
    let known = ["bytes", "foldhash", "ganger-common", "hashbrown", "slab"];
    let known: BTreeSet<String> = known.map(str::to_owned).into();
    assert!(scheduler.dependencies.is_subset(&known), "{:?}", scheduler.dependencies);
}

#[test]
fn the_scheduler_asks_no_clock_no_file_and_no_dice() {
    for file in rust_files(&repository().join("scheduler/src")) {
        let text = product_code(&read(&file));
        for name in ["Instant::now", "SystemTime::now", "std::fs", "std::net", "std::thread", "std::env"] {
            assert!(!text.contains(name), "{} names {name}", file.display());
        }
    }
}

#[test]
fn every_crate_knows_only_what_its_place_allows() {
    let allowed: &[(&str, &[&str])] = &[
        ("common", &[]),
        ("scheduler", &["ganger-common"]),
        ("transport", &["ganger-common"]),
        ("otlp", &["ganger-common"]),
        (
            "broker",
            &[
                "ganger-client",
                "ganger-common",
                "ganger-http",
                "ganger-otlp",
                "ganger-scheduler",
                "ganger-transport",
            ],
        ),
        // Through what a client may do, and no other way.
        ("http", &["ganger-client", "ganger-common"]),
        ("worker", &["ganger-common", "ganger-otlp", "ganger-transport"]),
        ("client", &["ganger-common", "ganger-transport"]),
        ("examples", &["ganger-broker", "ganger-client", "ganger-common", "ganger-worker"]),
    ];
    for (folder, names) in allowed {
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let own = named(folder).own();
        assert!(own.is_subset(&names), "{folder} depends on {own:?}, allowed are {names:?}");
    }
}

#[test]
fn every_dependency_takes_its_version_from_the_workspace() {
    for krate in crates() {
        for table in krate.tables() {
            for (name, value) in table {
                let is_shared = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(is_shared, "{}: {name} has a version of its own", krate.folder);
            }
        }
    }
}

#[test]
fn zeromq_is_pinned_exactly() {
    let root: toml::Table =
        read(&repository().join("Cargo.toml")).parse().expect("the root manifest is TOML");
    let zeromq = &root["workspace"]["dependencies"]["zeromq"];
    assert_eq!(zeromq["version"].as_str(), Some("=0.7.0"));
}

#[test]
fn no_file_holds_more_code_than_a_reader_does() {
    let too_long: Vec<String> = crates()
        .iter()
        .flat_map(|krate| rust_files(&krate.path.join("src")))
        .filter(|file| !is_test_module(file))
        .map(|file| (product_code(&read(&file)).lines().count(), file))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, file)| format!("{}: {lines}", file.display()))
        .collect();
    assert_eq!(too_long, Vec::<String>::new(), "at most {FILE_LINES_MAX} lines of code a file");
}

#[test]
fn nothing_is_left_to_be_done() {
    // Put together here, so that this file does not find itself.
    let words = ["todo", "unimplemented"].map(|word| format!("{word}!("));
    for file in crates().iter().flat_map(|krate| rust_files(&krate.path)) {
        let text = read(&file);
        for word in &words {
            assert!(!text.contains(word), "{} has {word}", file.display());
        }
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for krate in crates() {
        let takes = krate.manifest.get("lints").and_then(|lints| lints.get("workspace"));
        assert_eq!(takes.and_then(toml::Value::as_bool), Some(true), "{}", krate.folder);
    }
}

#[test]
fn what_the_readme_says_to_run_is_what_is_run() {
    let readme = read(&repository().join("README.md"));
    let gate = read(&repository().join(".ci/run"));
    for command in ["cargo test --workspace", "cargo demo"] {
        assert!(readme.contains(command), "the README does not name {command:?}");
        assert!(gate.contains(command), ".ci/run does not run {command:?}");
    }
}

#[test]
fn a_test_waits_for_conditions_and_not_for_time() {
    let words = ["thread::sleep", "time::sleep("];
    let krates = ["common", "scheduler", "transport", "broker", "worker", "client", "tests", "fuzz"];
    let folders = krates.map(|krate| format!("{krate}/tests")).into_iter();
    for folder in folders.chain(["tests/src".to_owned(), "fuzz/src".to_owned()]) {
        for file in rust_files(&repository().join(folder)) {
            // The one place that may, so that everything else can wait for conditions; and this one.
            if file.ends_with("tests/src/wait.rs") || file.ends_with("house.rs") {
                continue;
            }
            let text = read(&file);
            for word in words {
                assert!(!text.contains(word), "{} has {word}", file.display());
            }
        }
    }
}

/// What a peer does can be an error and never a panic, so whoever is sure of something says why.
#[test]
fn what_cannot_fail_says_why() {
    for krate in ["common", "scheduler", "transport", "broker", "worker", "client", "http", "otlp"] {
        for file in rust_files(&repository().join(krate).join("src")) {
            let text = product_code(&read(&file));
            let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
            for (number, line) in lines.iter().enumerate().filter(|(_, line)| !line.starts_with("//")) {
                let place = format!("{}:{}", file.display(), number + 1);
                assert!(!line.contains(".unwrap()") || is_test_module(&file), "{place}: a bare unwrap");
                let above = &lines[number.saturating_sub(2)..number];
                let says_why = above.iter().any(|line| line.starts_with("// "));
                let expects = line.contains(".expect(\"") && !is_test_module(&file);
                assert!(!expects || says_why, "{place}: no comment says why it cannot fail");
            }
        }
    }
}

/// Lines of one file without its tests: what a reader takes in at one sitting.
const FILE_LINES_MAX: usize = 450;

struct Crate {
    folder: String,
    path: PathBuf,
    manifest: toml::Table,
    /// What it needs to be built, for itself or for its build script; not for its tests.
    dependencies: BTreeSet<String>,
}

impl Crate {
    fn read(folder: &str) -> Self {
        let path = repository().join(folder);
        let manifest: toml::Table =
            read(&path.join("Cargo.toml")).parse().unwrap_or_else(|error| panic!("{folder}: {error}"));
        let mut krate = Self { folder: folder.to_owned(), path, manifest, dependencies: BTreeSet::new() };
        krate.dependencies = krate.tables().flat_map(toml::Table::keys).cloned().collect();
        krate
    }

    /// Every table of dependencies but those for tests, those for one platform included.
    fn tables(&self) -> impl Iterator<Item = &toml::Table> {
        let targets = self.manifest.get("target").and_then(toml::Value::as_table);
        let targets = targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table);
        std::iter::once(&self.manifest)
            .chain(targets)
            .flat_map(|table| [table.get("dependencies"), table.get("build-dependencies")])
            .flatten()
            .filter_map(toml::Value::as_table)
    }

    fn names_none_of(&self, names: &[&str]) -> bool {
        names.iter().all(|name| !self.dependencies.contains(*name))
    }

    fn own(&self) -> BTreeSet<String> {
        self.dependencies.iter().filter(|name| name.starts_with("ganger-")).cloned().collect()
    }
}

fn crates() -> Vec<Crate> {
    let root: toml::Table =
        read(&repository().join("Cargo.toml")).parse().expect("the root manifest is TOML");
    let members = root["workspace"]["members"].as_array().expect("the workspace has members");
    members.iter().filter_map(toml::Value::as_str).map(Crate::read).collect()
}

fn named(folder: &str) -> Crate {
    Crate::read(folder)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a file below `src` is a child module of nothing but tests.
fn is_test_module(file: &Path) -> bool {
    let inside = file.to_string_lossy().rsplit_once("/src/").map(|(_, inside)| inside.to_owned());
    inside.is_some_and(|inside| inside.split('/').any(|part| matches!(part, "tests" | "tests.rs")))
}

/// What comes before the tests of a file, which stand at its end.
fn product_code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].to_owned()
}

/// Rust files below a folder that may be absent.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
