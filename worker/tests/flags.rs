//! The stock binary as an operator meets it.

use std::process::{Command, Output, Stdio};

fn worker(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ganger-worker"));
    command.args(flags).env_clear().stdin(Stdio::null());
    command
}

/// Exit code, and what was said on standard error.
fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_is_wrong_is_said_in_one_line_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("programs.toml");
    std::fs::write(&file, "[kind.a]\nargv = [\"/bin/cat\"]\nshell = true\n").unwrap();
    let twice = folder.path().join("twice.toml");
    std::fs::write(&twice, "[kind.echo]\nargv = [\"/bin/cat\"]\n").unwrap();
    let cases: [(&[&str], &str); 8] = [
        (&["--slots", "0"], "--slots"),
        (&["--kinds", "nope"], "--kinds"),
        (&["--kinds", "none"], "--kinds"),
        (&["--broker", "127.0.0.1:1"], "tcp://"),
        (&["--log", "x=y=z"], "--log"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--exec", file.to_str().unwrap()], "line 3"),
        (&["--exec", twice.to_str().unwrap()], "\"echo\""),
    ];
    for (flags, expected) in cases {
        let (code, text) = said(&worker(flags).output().unwrap());
        assert_eq!((code, text.lines().count()), (Some(2), 1), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    let (code, text) = said(&worker(&[]).env("GANGER_SLOTS", "many").output().unwrap());
    assert!(code == Some(2) && text.contains("--slots"), "{text}");
}

#[test]
fn help_names_defaults_and_exit_codes() {
    let output = worker(&["--help"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for expected in ["tcp://127.0.0.1:7711", "30s", "GANGER_WORKERS", "wordcount", "Exit codes"] {
        assert!(text.contains(expected), "{expected}");
    }
}

#[test]
fn a_worker_without_a_broker_waits_and_leaves_when_it_is_asked() {
    use std::io::{BufRead as _, BufReader};
    // Nothing listens on the port of this socket once it is closed.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let broker = format!("tcp://127.0.0.1:{port}");
    let mut child = worker(&["--broker", &broker, "--instances", "3", "--slots", "1"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // It is ready for signals when it has failed to reach the broker.
    assert!(lines.by_ref().any(|line| line.unwrap().contains("cannot be reached")));
    let id = child.id().to_string();
    assert!(Command::new("/bin/kill").args(["-TERM", &id]).status().unwrap().success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(rest.iter().filter(|line| line.contains("Drained")).count(), 3, "{rest:#?}");
}
