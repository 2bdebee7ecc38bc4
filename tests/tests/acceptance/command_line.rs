//! The command line with a real broker and real workers, as the README shows it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use ganger_tests::binaries::repository;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::process::{Ended, Proc, adopt_orphans, bury};
use ganger_tests::procfs;
use ganger_tests::scale::shared;
use ganger_tests::wait::{Metronome, eventually, is_true_within};

const SOON: Duration = Duration::from_secs(20);
/// Well below the grace after which the task of a dead worker runs elsewhere.
const AFTER_ITS_WORKER: Duration = Duration::from_millis(1_500);

#[test]
fn work_is_submitted_and_waited_for_by_hand() {
    let _turn = shared();
    let cluster = with_stock_workers(2);
    assert_eq!(
        said(&cluster, &["submit", "sha256", "--raw", "hello", "--wait"]).trim(),
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    );
    assert!(said(&cluster, &["submit", "echo", r#"{"any": "JSON"}"#, "--wait"]).contains("JSON"));
    let id = said(&cluster, &["submit", "sleep", "300"]);
    let id = id.trim();
    assert!(said(&cluster, &["explain", id]).contains("sleep"));
    let outcome: serde_json::Value =
        serde_json::from_str(&said(&cluster, &["wait", id, "--json"])).expect("one JSON value");
    assert_eq!(outcome["outcome"], "succeeded", "{outcome}");
    for listing in [&["status"][..], &["top"], &["workers"], &["tasks"], &["knowledge", "status"]] {
        assert!(!said(&cluster, listing).trim().is_empty(), "{listing:?}");
        let json = said(&cluster, &[listing, &["--json"]].concat());
        for line in json.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{listing:?}: {line}");
        }
    }
}

#[test]
fn what_the_readme_shows_works() {
    let _turn = shared();
    let mut cluster = Cluster::start(&[]);
    let file = cluster.file("kinds.toml");
    std::fs::write(&file, toml_of_the_readme()).unwrap();
    for name in ["first", "second", "third"] {
        cluster.add(&WorkerSpec::stock(name).slots(2).args(&["--exec", &file.to_string_lossy()]));
    }
    let bin = ganger_tests::binaries::path(ganger_tests::binaries::CLIENT);
    let path = format!("{}:{}", bin.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shown = 0;
    for block in readme_blocks("console").iter().filter(|block| is_about_the_command_line(block)) {
        let script =
            format!("set -eu\nalias ganger='ganger --broker {}'\n{block}", cluster.endpoints().clients);
        // What reads the project's own texts needs them; what makes keys must not leave them there.
        let place = if block.contains("keygen") { cluster.directory() } else { repository() };
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("PATH", &path).current_dir(place);
        let proc = Proc::spawn(&format!("readme{shown}"), command, cluster.directory());
        assert_eq!(proc.wait(SOON * 3), Ended::Code(0), "{block}\n{}{}", proc.stdout(), proc.stderr());
        shown += 1;
    }
    assert!(shown >= 5, "the README shows only {shown} commands");
}

/// Whether a block of the README can be run as it stands, with a broker and workers there.
fn is_about_the_command_line(block: &str) -> bool {
    let others = ["ganger-broker", "ganger-worker", "cargo ", "ssh ", "broker-host"];
    block.contains("ganger ") && !others.iter().any(|other| block.contains(other))
}

#[test]
fn tasks_go_in_by_the_line_and_outcomes_come_out_by_the_line() {
    let _turn = shared();
    let cluster = with_stock_workers(2);
    let mut command = cluster.command_line(&["submit", "--lines", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for number in 1..=500 {
        writeln!(stdin, r#"{{"kind": "echo", "payload": {{"number": {number}}}}}"#).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let mut numbers: Vec<i64> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("a line is one JSON value");
            line["result"]["number"].as_i64().unwrap_or_else(|| panic!("{line}"))
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, Vec::from_iter(1..=500));
}

#[tokio::test]
async fn a_client_that_was_frozen_gets_everything_when_it_wakes() {
    let _turn = shared();
    let cluster = with_stock_workers(2);
    let lines = cluster.file("lines");
    let task = |n: u32| format!("{{\"kind\": \"sleep\", \"payload\": {}}}\n", n % 20);
    std::fs::write(&lines, (0..2_000).map(task).collect::<String>()).unwrap();
    let command = cluster.command_line(&["submit", "--lines", &lines.to_string_lossy()]);
    let client = Proc::spawn("client", command, cluster.directory());
    eventually("some outcomes have come", SOON, || client.stdout().lines().count() >= 100);
    client.stop();
    // Longer than a client may be silent: its session is given up, its tasks are not.
    Metronome::once(Duration::from_secs(5)).await;
    client.cont();
    assert_eq!(client.wait(SOON * 2), Ended::Code(0), "{}", client.stderr());
    assert_eq!(client.stdout().lines().count(), 2_000);
}

#[test]
fn the_readmes_program_of_ones_own_runs() {
    let _turn = shared();
    let mut cluster = Cluster::start(&[]);
    let file = cluster.file("kinds.toml");
    std::fs::write(&file, toml_of_the_readme()).unwrap();
    cluster.add(&WorkerSpec::stock("programs").args(&["--exec", &file.to_string_lossy()]));
    assert_eq!(said(&cluster, &["submit", "upper", "--raw", "louder", "--wait"]).trim(), "LOUDER");
}

#[test]
fn an_operator_pauses_a_kind_over_a_restart_and_lets_go_of_what_failed() {
    let _turn = shared();
    let mut cluster = Cluster::start(&["--durability", "journal"]);
    cluster.add(&WorkerSpec::stock("stock").slots(2));
    assert!(said(&cluster, &["pause", "echo"]).contains("paused"));
    let id = said(&cluster, &["submit", "echo", "1"]).trim().to_owned();
    cluster.restart_broker();
    eventually("the worker is back", SOON, || said(&cluster, &["workers"]).contains("stock"));
    assert!(said(&cluster, &["explain", &id]).contains("paused"));
    assert!(said(&cluster, &["status"]).contains("paused"));
    assert_eq!(said(&cluster, &["resume", "echo", "--json"]).trim(), r#"{"done":true,"name":"echo"}"#);
    assert!(said(&cluster, &["wait", &id]).trim().ends_with("succeeded 1"));

    let failed = said(&cluster, &["submit", "fail", "--raw", "!no"]).trim().to_owned();
    let waited = cluster.command_line(&["wait", &failed]).output().unwrap();
    assert_eq!(waited.status.code(), Some(3), "{waited:?}");
    let refused = cluster.command_line(&["discard", &failed]).stdin(Stdio::null()).output().unwrap();
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{why}");
    assert!(why.contains("--yes"), "{why}");
    assert_eq!(said(&cluster, &["discard", "--dead", "--yes", "--json"]).trim(), r#"{"discarded":0}"#);
    assert!(said(&cluster, &["discard", &failed, "--yes"]).contains("discarded"));
    let gone = cluster.command_line(&["explain", &failed]).output().unwrap();
    assert_eq!(gone.status.code(), Some(4), "{gone:?}");
}

#[test]
fn a_program_does_not_outlive_its_worker() {
    let _turn = shared();
    let mut cluster = Cluster::start(&[]);
    let file = cluster.file("kinds.toml");
    let kinds = toml_of_the_readme().replace("upper", "nap");
    let argv = kinds.lines().find(|line| line.starts_with("argv")).unwrap();
    let nap = kinds.replace(argv, r#"argv = ["/bin/sleep", "1000"]"#);
    std::fs::write(&file, nap).unwrap();
    let index = cluster.add(&WorkerSpec::stock("programs").args(&["--exec", &file.to_string_lossy()]));
    said(&cluster, &["submit", "nap"]);
    let worker = cluster.worker(index);
    let mut programs = Vec::new();
    eventually("the program runs", SOON, || {
        programs = procfs::children(worker.pid());
        !programs.is_empty()
    });
    adopt_orphans();
    worker.kill();
    // Its task runs elsewhere soon: then it must not run here any more.
    let has_ended = |pid: &u32| procfs::state(*pid).is_none_or(|state| state == 'Z');
    let ended = is_true_within(AFTER_ITS_WORKER, || programs.iter().all(has_ended));
    programs.into_iter().for_each(bury);
    assert!(ended, "the program runs on without its worker");
}

fn with_stock_workers(count: usize) -> Cluster {
    let mut cluster = Cluster::start(&[]);
    for number in 0..count {
        cluster.add(&WorkerSpec::stock(format!("stock{number}")).slots(4));
    }
    cluster
}

/// What the command line prints when all is well.
fn said(cluster: &Cluster, args: &[&str]) -> String {
    let mut command: Command = cluster.command_line(args);
    let output = command.output().unwrap_or_else(|error| panic!("ganger {args:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "ganger {args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The file of programs that the README shows.
fn toml_of_the_readme() -> String {
    let blocks = readme_blocks("toml");
    blocks.into_iter().find(|block| block.contains("argv")).expect("the README shows one")
}

/// The blocks of one language in the README.
fn readme_blocks(language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let opening = format!("```{language}\n");
    let blocks = readme.split(&opening).skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}
