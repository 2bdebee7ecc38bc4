//! The programs as an operator meets them: flags, files, ports, signals, exit codes.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use ganger_tests::binaries;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::process::{Ended, Proc};
use ganger_tests::scale::shared;

const BAD_SETTING: i32 = 2;
const FAILED: i32 = 1;
/// A program that refuses its arguments has nothing to wait for.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn a_bad_flag_is_one_line_that_names_it_and_exit_code_2() {
    let _turn = shared();
    for (program, args, named) in [
        (binaries::BROKER, &["--heart-beat", "1s"][..], "--heart-beat"),
        (binaries::BROKER, &["--heartbeat", "soon"], "--heartbeat"),
        (binaries::BROKER, &["--heartbeat", "1ms"], "--heartbeat"),
        (binaries::BROKER, &["--liveness", "0"], "--liveness"),
        (binaries::BROKER, &["--clients", "http://127.0.0.1:1"], "--clients"),
        (binaries::BROKER, &["--clients", "tcp://*:1"], "--clients"),
        (binaries::BROKER, &["--workers", "tcp://0.0.0.0:0"], "--workers"),
        (binaries::BROKER, &["--queue-bytes", "64MB"], "--queue-bytes"),
        (binaries::WORKER, &["--slots", "0"], "--slots"),
        (binaries::WORKER, &["--slots", "many"], "--slots"),
        (binaries::WORKER, &["--broker", "nowhere"], "--broker"),
        (binaries::CLIENT, &["--broker", "nowhere", "status"], "--broker"),
        (binaries::CLIENT, &["submit", "echo", "--priority", "high"], "--priority"),
    ] {
        let (code, line) = refusal(program, args);
        assert_eq!(code, BAD_SETTING, "{program} {args:?}: {line}");
        assert!(line.contains(named), "{program} {args:?} does not name {named}: {line}");
    }
}

#[test]
fn a_bad_file_is_one_line_that_names_file_and_line_and_exit_code_2() {
    let _turn = shared();
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    for (program, flag, file, line) in [
        (binaries::BROKER, "--config", write("word.toml", "liveness = 3\nheart-beat = \"1s\"\n"), ":2"),
        (binaries::BROKER, "--config", write("value.toml", "\n\nheartbeat = \"soon\"\n"), ":3"),
        (binaries::BROKER, "--config", write("syntax.toml", "liveness = = 3\n"), ":1"),
        (
            binaries::BROKER,
            "--config",
            directory.path().join("absent.toml").display().to_string(),
            "absent.toml",
        ),
        (binaries::WORKER, "--exec", write("exec.toml", "[kinds.upper]\nargs = [\"tr\"]\n"), "exec.toml"),
        (binaries::WORKER, "--exec", write("empty.toml", "[kinds.upper]\nargv = []\n"), "empty.toml"),
        (binaries::WORKER, "--exec", directory.path().join("none.toml").display().to_string(), "none.toml"),
    ] {
        let (code, said) = refusal(program, &[flag, &file]);
        assert_eq!(code, BAD_SETTING, "{program} {flag} {file}: {said}");
        assert!(said.contains(&file) && said.contains(line), "{program} {flag} {file}: {said}");
    }
}

#[test]
fn a_port_in_use_is_named_with_the_flag_that_changes_it_and_exit_code_1() {
    let _turn = shared();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", holder.local_addr().unwrap());
    let flags = ["--clients", "--workers", "--knowledge"];
    for flag in flags {
        let of = |other| if other == flag { &*taken } else { "tcp://127.0.0.1:0" };
        let mut args: Vec<&str> = flags.into_iter().flat_map(|other| [other, of(other)]).collect();
        args.extend(["--http", "none"]);
        let (code, line) = refusal(binaries::BROKER, &args);
        assert_eq!(code, FAILED, "{line}");
        assert!(line.contains(&taken) && line.contains(flag), "{flag}: {line}");
    }
}

#[test]
fn a_broker_that_is_asked_to_end_ends() {
    let _turn = shared();
    let cluster = Cluster::start(&[]);
    cluster.broker().term();
    assert_eq!(cluster.broker().wait(Duration::from_secs(20)), Ended::Code(0));
}

#[test]
fn a_worker_that_is_asked_to_end_leaves() {
    let _turn = shared();
    let mut cluster = Cluster::start(&[]);
    let index = cluster.add(&WorkerSpec::stock("leaver"));
    ganger_tests::wait::eventually("it has joined", Duration::from_secs(10), || listed(&cluster, "leaver"));
    cluster.worker(index).term();
    assert_eq!(cluster.worker(index).wait(Duration::from_secs(20)), Ended::Code(0));
    // It has said goodbye: nobody waits for its grace.
    assert!(!listed(&cluster, "leaver"));
}

#[test]
fn a_client_without_a_broker_says_so_and_fails() {
    let _turn = shared();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("tcp://{unused}");
    let (code, line) = refusal(binaries::CLIENT, &["status", "--timeout", "1s", "--broker", &nobody]);
    assert_eq!(code, FAILED, "{line}");
    assert!(line.contains(&nobody), "{line}");
}

fn listed(cluster: &Cluster, name: &str) -> bool {
    let output = cluster.command_line(&["workers", "--json"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains(name)
}

/// How a program refuses: its exit code and the one line that it says.
fn refusal(program: &str, args: &[&str]) -> (i32, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(binaries::path(program));
    command.args(args);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GANGER_") {
            command.env_remove(name);
        }
    }
    let proc = Proc::spawn("refusal", command, directory.path());
    let ended = proc.wait(REFUSAL_DEADLINE);
    let said = proc.stderr();
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.len(), 1, "{program} {args:?} says more than one line, or nothing: {said:?}");
    match ended {
        Ended::Code(code) => (code, lines[0].to_owned()),
        Ended::Signal(signal) => panic!("{program} {args:?} died of signal {signal}: {said}"),
    }
}
