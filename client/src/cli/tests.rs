//! The command line: what is understood, and what is refused in one line with code 2.

use std::ffi::OsString;

use ganger_common::TaskOptions;
use ganger_common::view::StateFilter;
use serde_json::json;

use super::args::{Cli, Command, parse};
use super::exit::Exit;
use super::lines::Reading;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const ID: &str = "01920000-0000-7000-8000-000000000001";

fn read(line: &str) -> Result<Cli, Exit> {
    parse(std::iter::once("ganger").chain(line.split_whitespace()).map(OsString::from))
}

fn understood(line: &str) -> Command {
    read(line).unwrap_or_else(|exit| panic!("{line}: {exit:?}")).command
}

fn refused(line: &str) -> String {
    match read(line) {
        Err(exit @ Exit::Usage(_)) => {
            assert_eq!(exit.code(), 2);
            let Exit::Usage(text) = exit else { unreachable!() };
            assert_eq!(text.lines().count(), 1, "{line}: {text}");
            text
        }
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn every_subcommand_is_understood() {
    for line in [
        "submit echo",
        "submit echo {} --wait --json",
        "submit echo text --raw --priority -5 --delay 5s --ttl 1h --run-limit 30s --max-attempts 2",
        "submit echo --file /dev/null --backoff 100ms --crash-limit 1 --knowledge 7 --detach",
        "submit echo --id 01920000-0000-7000-8000-000000000001",
        "submit echo --count 10 --wait --quiet",
        "submit --lines -",
        "submit --lines tasks.jsonl echo",
        "wait 01920000-0000-7000-8000-000000000001 --within 1m",
        "result 01920000-0000-7000-8000-000000000001 --raw",
        "cancel 01920000-0000-7000-8000-000000000001",
        "retry 01920000-0000-7000-8000-000000000001",
        "retry --dead --kind echo",
        "discard 01920000-0000-7000-8000-000000000001 --yes",
        "discard --dead --failed --kind echo",
        "pause echo",
        "resume echo --json",
        "tasks",
        "tasks --state parked --kind echo --limit 5000",
        "explain 01920000-0000-7000-8000-000000000001",
        "workers",
        "drain --all --deadline 1m",
        "drain w1 w2",
        "drain --itself",
        "status --broker tcp://10.0.0.1:7710 --timeout 1s",
        "top",
        "top --every 5s",
        "knowledge put topic key 1 --if 0",
        "knowledge get topic key --raw",
        "knowledge delete topic key --if 3",
        "knowledge list",
        "knowledge list prefix --keys",
        "knowledge watch prefix --current --count 3 --publications tcp://127.0.0.1:7712",
        "knowledge status",
        "publish topic {}",
        "subscribe topic --count 1",
        "journal inspect ganger-data --json",
        "journal --help",
        "bench --tasks 1000 --payload 0 --window 16 --batch 4 --kind noop",
        "bench --durability both --workers 2 --slots 4 --baseline --repeat 5",
        "bench --durability memory --runs exp:1ms --noisy 1000000",
        "bench --durability memory --backlog --json",
        "bench plot --by workers --out x.svg figures.json",
    ] {
        understood(line);
    }
}

#[test]
fn what_is_wrong_is_named_in_one_line() {
    for (line, named) in [
        ("", "subcommand"),
        ("fly", "fly"),
        ("submit", "<KIND"),
        ("submit echo --priority high", "--priority"),
        ("submit echo --priority 40000", "--priority"),
        ("submit echo --delay soon", "--delay"),
        ("submit echo --wait --detach", "--detach"),
        ("submit echo --within 5s", "--wait"),
        ("submit echo {} --file x", "--file"),
        ("submit echo --count 0", "--count"),
        ("submit echo --id 5", "--id"),
        ("submit --lines a --count 2 echo", "--lines"),
        ("wait", "<ID"),
        ("wait five", "five"),
        ("retry", "<ID"),
        ("retry --kind echo", "--dead"),
        ("retry --dead 01920000-0000-7000-8000-000000000001", "--dead"),
        ("discard", "<ID"),
        ("discard --kind echo", "<ID"),
        ("discard --dead 01920000-0000-7000-8000-000000000001", "--dead"),
        ("pause", "<KIND"),
        ("resume", "<KIND"),
        ("tasks --state lost", "parked"),
        ("tasks --limit 0", "--limit"),
        ("drain", "--all"),
        ("drain w1 --all", "--all"),
        ("status --broker localhost:7710", "--broker"),
        ("status --broker mem://x", "--broker"),
        ("status --timeout 5", "--timeout"),
        ("top --every 1ms", "--every"),
        ("status --color maybe", "--color"),
        ("status --nonsense", "--nonsense"),
        ("knowledge", "subcommand"),
        ("knowledge put topic", "<KEY"),
        ("bench --tasks 0", "--tasks"),
        ("bench --payload 99999999", "--payload"),
        ("bench --workers 2", "--durability"),
        ("bench --durability memory --runs soon", "--runs"),
        ("bench --durability memory --backlog --noisy 5", "--noisy"),
    ] {
        let text = refused(line);
        assert!(text.to_lowercase().contains(&named.to_lowercase()), "{line}: {text}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for line in ["--help", "--version", "submit --help", "knowledge put --help", "bench --help"] {
        assert_eq!(read(line).unwrap_err().code(), 0, "{line}");
    }
}

#[test]
fn the_whole_command_line_is_well_formed() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}

#[test]
fn states_are_read_by_their_words() {
    for state in StateFilter::ALL {
        let Command::Tasks(args) = understood(&format!("tasks --state {}", state.as_str())) else {
            panic!("{state:?}")
        };
        assert_eq!(args.state, Some(state));
    }
}

fn reading(line: &str) -> Reading {
    match understood(line) {
        Command::Submit(args) => Reading::new(&args),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_is_a_task_with_its_options() {
    let line = json!({
        "kind": "echo", "payload": { "a": 1 }, "id": ID, "priority": 3, "delay": "5s", "ttl": "1m",
        "run_limit": "2s", "max_attempts": 5, "crash_limit": 1, "backoff": "100ms", "knowledge": 9,
        "detach": true, "trace": PARENT, "trace_state": "a=1",
    });
    let task = reading("submit --lines -").task(line.to_string().as_bytes()).unwrap();
    let payload = ganger_client::json::to_msgpack(&json!({ "a": 1 })).unwrap();
    assert_eq!((task.kind(), &task.payload()[..]), ("echo", &payload[..]));
    let options = TaskOptions {
        priority: 3,
        delay_ms: 5_000,
        ttl_ms: Some(60_000),
        run_limit_ms: Some(2_000),
        max_attempts: Some(5),
        crash_limit: Some(1),
        backoff_ms: Some(100),
        knowledge: Some(ganger_common::Revision(9)),
        detached: true,
        events: false,
        trace: PARENT.parse().ok(),
        trace_state: "a=1".parse().ok(),
        account: None,
    };
    let expected = ganger_client::NewTask::new("echo", payload).id(ID.parse().unwrap()).options(options);
    assert_eq!(task, expected);
}

#[test]
fn with_a_kind_the_line_is_the_payload() {
    let task = reading("submit echo --lines - --priority 2").task(b"[1, 2]").unwrap();
    assert_eq!(&task.payload()[..], [0x92, 1, 2]);
    let raw = reading("submit echo --lines - --raw").task(b"just text").unwrap();
    assert_eq!(&raw.payload()[..], b"just text");
}

#[test]
fn options_of_the_command_are_the_defaults_of_its_lines() {
    let reading = reading("submit --lines - --priority 2 --ttl 1m");
    let task = reading.task(br#"{"kind": "a", "priority": 5}"#).unwrap();
    let options = TaskOptions { priority: 5, ttl_ms: Some(60_000), ..TaskOptions::default() };
    assert_eq!(task, ganger_client::NewTask::new("a", "").options(options));
}

#[test]
fn the_span_of_the_command_is_that_of_its_lines_and_what_goes_with_it_stays_with_it() {
    let reading = reading(&format!("submit --lines - --traceparent {PARENT} --tracestate a=1"));
    let read = |line: &str| reading.task(line.as_bytes()).unwrap();
    let task = ganger_client::NewTask::new("a", "").trace(PARENT.parse().unwrap());
    assert_eq!(read(r#"{"kind": "a"}"#), task.trace_state("a=1".parse().unwrap()));
    let other = PARENT.replace("-01", "-00");
    let task = ganger_client::NewTask::new("a", "").trace(other.parse().unwrap());
    assert_eq!(read(&format!(r#"{{"kind": "a", "trace": "{other}"}}"#)), task);
}

#[test]
fn a_bad_line_says_why() {
    let reading = reading("submit --lines -");
    for (line, named) in [
        (&b"{"[..], "EOF"),
        (b"{}", "kind"),
        (br#"{"kind": "a", "kid": 1}"#, "kid"),
        (br#"{"kind": "a", "delay": "soon"}"#, "5m"),
        (br#"{"kind": "a", "trace": "00-1"}"#, "55 characters"),
        (br#"{"kind": "a", "payload": 1, "raw": "x"}"#, "exclude"),
        (br#"{"kind": "a", "payload": {"$bytes": "0"}}"#, "hexadecimal"),
        (b"\xff\xfe", "object"),
        (b"[\"echo\", 1]", "object"),
    ] {
        let why = reading.task(line).unwrap_err();
        assert!(why.contains(named), "{why}");
    }
}
