//! The command as scripts see it: exit codes, standard output, standard error.

#[path = "script/welcome.rs"]
mod welcome;

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use ganger_common::codec::{Blob, List};
use ganger_common::message::{
    Accepted, Body, Durability, ErrorReply, FromClient, OutcomeItem, Outcomes, ToClient,
};
use ganger_common::view::StatusView;
use ganger_common::{Attempt, ConnId, ErrorCode, Outcome, decode, encode};
use ganger_transport::zmq::ZmqServer;
use ganger_transport::{Limits, Server, ServerEvent};

/// A broker on a free port: tasks of kind `bad` fail, all others succeed with their payload; tasks that are
/// asked about are not known.
async fn broker() -> String {
    let any = "tcp://127.0.0.1:0".parse().unwrap();
    let mut server = ZmqServer::bind(&any, Limits::default()).await.unwrap();
    let endpoint = server.endpoint().to_string();
    tokio::spawn(async move {
        let mut events = Vec::new();
        while server.recv(&mut events, 64).await > 0 {
            for event in events.drain(..) {
                if let ServerEvent::Message { conn, body } = event {
                    answer(&server, conn, &body);
                }
            }
        }
    });
    endpoint
}

fn answer(server: &ZmqServer, conn: ConnId, body: &Bytes) {
    let say = |message: &ToClient<'_>| server.try_send(conn, encode(message)).unwrap();
    match decode::<FromClient<'_>>(body).unwrap() {
        FromClient::Hello(_) => say(&ToClient::Welcome(welcome::welcome())),
        FromClient::Submit(submit) => {
            let (durability, refused) = (Durability::Memory, List::default());
            say(&ToClient::Accepted(Accepted { seq: submit.seq, durability, refused }));
            let items = submit.tasks.iter().map(|task| {
                let outcome = if &*task.kind == "bad" { Outcome::Failed } else { Outcome::Succeeded };
                let result = if outcome == Outcome::Failed { Blob(b"") } else { task.payload };
                let (task, attempt) = (task.id, Attempt(1));
                OutcomeItem { task, outcome: outcome.code(), attempt, result, detail: None }
            });
            say(&ToClient::Outcomes(Outcomes { upto: submit.seq, items: items.collect() }));
        }
        FromClient::Status(asked) => {
            say(&ToClient::Status(Body { req: asked.req, body: StatusView::default() }));
        }
        FromClient::Explain(asked) => {
            let (code, text) = (ErrorCode::UnknownTask, "no such task".into());
            say(&ToClient::Error(ErrorReply { req: Some(asked.req), code, text, retry_after_ms: None }));
        }
        _ => {}
    }
}

/// Runs the command in an environment of its own.
async fn ganger(broker: &str, args: &[&str], input: &'static str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ganger"));
    command.args(args).env("GANGER_BROKER", broker).env_remove("GANGER_LOG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    });
    tokio::time::timeout(Duration::from_secs(30), running)
        .await
        .expect("it should have ended by now")
        .unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_flags_are_one_line_and_code_2() {
    for args in [&["status", "--timeout", "5"][..], &["submit"], &["drain"], &["--nonsense"], &[]] {
        let output = ganger("tcp://127.0.0.1:1", args, "").await;
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!((err(&output).lines().count(), out(&output)), (1, ""), "{args:?}: {}", err(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_code_1_and_says_what_to_do() {
    let output = ganger("tcp://127.0.0.1:1", &["status", "--timeout", "200ms"], "").await;
    assert_eq!(output.status.code(), Some(1));
    let text = err(&output);
    assert!(text.contains("tcp://127.0.0.1:1") && text.contains("ganger-broker"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_printed_for_people_and_for_programs() {
    let broker = broker().await;
    let output = ganger(&broker, &["submit", "echo", r#"{"a": [1, 2]}"#, "--wait"], "").await;
    assert_eq!((output.status.code(), out(&output)), (Some(0), "{\"a\":[1,2]}\n"));
    let output = ganger(&broker, &["submit", "echo", "-", "--raw", "--wait"], "as it is").await;
    assert_eq!((output.status.code(), out(&output)), (Some(0), "as it is\n"));
    let output = ganger(&broker, &["submit", "echo", "1", "--wait", "--json"], "").await;
    let object: serde_json::Value = serde_json::from_str(out(&output)).unwrap();
    assert_eq!((&object["outcome"], &object["result"]), (&"succeeded".into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_failed_is_code_3_and_one_that_is_unknown_code_4() {
    let broker = broker().await;
    let output = ganger(&broker, &["submit", "bad", "--wait"], "").await;
    assert_eq!((output.status.code(), out(&output)), (Some(3), "failed\n"));
    let output = ganger(&broker, &["explain", "01920000-0000-7000-8000-000000000001"], "").await;
    assert_eq!(output.status.code(), Some(4));
    assert!(err(&output).contains("unknown_task"), "{}", err(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_in_is_a_line_out() {
    let broker = broker().await;
    let input =
        "{\"kind\":\"echo\",\"payload\":{\"n\":1}}\n\n{\"kind\":\"bad\"}\nnonsense\n{\"kind\":\"echo\"}";
    let output = ganger(&broker, &["submit", "--lines", "-"], input).await;
    assert_eq!(output.status.code(), Some(3));
    let mut lines: Vec<serde_json::Value> =
        out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["line"].as_u64());
    let outcomes: Vec<_> =
        lines.iter().map(|line| (line["line"].as_u64(), line["outcome"].as_str())).collect();
    let expected = [
        (Some(1), Some("succeeded")),
        (Some(3), Some("failed")),
        (Some(4), None),
        (Some(5), Some("succeeded")),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(lines[0]["result"], serde_json::json!({ "n": 1 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_task_many_times_prints_an_id_each() {
    let broker = broker().await;
    let output = ganger(&broker, &["submit", "echo", "--count", "5000", "--wait"], "").await;
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let ids: std::collections::BTreeSet<&str> = out(&output).lines().collect();
    assert_eq!(ids.len(), 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_closes_the_pipe_has_seen_enough() {
    let broker = broker().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_ganger"));
    command.args(["submit", "echo", "--count", "20000", "--wait", "--broker", &broker]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        child.wait_with_output().unwrap()
    });
    let output = tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap().unwrap();
    assert_eq!((output.status.code(), err(&output)), (Some(0), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bench_ends_with_its_figures() {
    let broker = broker().await;
    let args = ["bench", "--tasks", "1000", "--window", "64", "--json"];
    let output = ganger(&broker, &args, "").await;
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let figures: serde_json::Value = serde_json::from_str(out(&output)).unwrap();
    assert_eq!((&figures["succeeded"], &figures["unsuccessful"]), (&1_000.into(), &0.into()));
    assert!(figures["settled_us"]["p99"].as_u64() >= figures["settled_us"]["p50"].as_u64());
}
