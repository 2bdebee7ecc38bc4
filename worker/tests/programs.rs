//! Kinds that run programs, with a broker played by hand.

mod support;

use std::path::Path;

use bytes::Bytes;
use ganger_common::AttemptEnd;
use ganger_common::message::{CancelLeases, DispatchDetail, Lease, ToWorker};
use ganger_common::{Attempt, Epoch};
use ganger_worker::exec::Programs;
use ganger_worker::{Worker, WorkerHandle};
use support::{Broker, Running, leave, soon, task};

/// A worker that serves these programs.
async fn serve(file: &str) -> (Broker, WorkerHandle, Running) {
    let mut broker = Broker::start();
    let programs = Programs::parse("test.toml", file).unwrap();
    let (handle, running) = broker.run(programs.serve(Worker::builder().slots(2)));
    broker.open().await;
    (broker, handle, running)
}

/// One task of the kind `it`.
async fn run(file: &str, payload: &[u8]) -> (AttemptEnd, Bytes, String) {
    let (mut broker, handle, running) = serve(file).await;
    broker.dispatch(&[(1, "it", payload)]);
    let end = broker.end(1).await;
    leave(broker, &handle, running).await;
    end
}

/// Waits until a process is gone.
async fn gone(pid: &str) {
    let path = format!("/proc/{pid}/stat");
    soon("the end of the process", async {
        // A zombie has ended; somebody else has yet to notice.
        while std::fs::read_to_string(&path).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn large_input_and_output_flow_at_the_same_time() {
    let payload: Vec<u8> = (0..8 << 20).map(|place: u32| (place % 251) as u8).collect();
    let (end, result, error) = run("[kind.it]\nargv = [\"/bin/cat\"]", &payload).await;
    assert_eq!((end, error.as_str()), (AttemptEnd::Succeeded, ""));
    assert!(result == payload);
}

#[tokio::test]
async fn a_program_need_not_read_its_input() {
    let payload = vec![0; 4 << 20];
    let (end, result, _) = run("[kind.it]\nargv = [\"/bin/echo\", \"hi\"]", &payload).await;
    assert_eq!((end, &result[..]), (AttemptEnd::Succeeded, &b"hi\n"[..]));
}

#[tokio::test]
async fn arguments_arrive_exactly_as_they_were_written() {
    let file = r#"
        [kind.it]
        argv = ["/usr/bin/printf", "%s|", "$HOME", "a b", "'\"", "*;&", "-x={task}.{attempt}", "{kind}{kind}",
                "{nothing} {", ""]
    "#;
    let (end, result, error) = run(file, b"").await;
    assert_eq!((end, error.as_str()), (AttemptEnd::Succeeded, ""));
    let id = task(1);
    let expected = format!("$HOME|a b|'\"|*;&|-x={id}.1|itit|{{nothing}} {{||");
    assert_eq!(String::from_utf8_lossy(&result), expected);
}

#[tokio::test]
async fn the_environment_is_what_the_file_says() {
    let file = "[kind.it]\nargv = [\"/usr/bin/env\"]\nenv = { A = \"b c\" }\nenv_pass = [\"NO_SUCH_NAME\"]";
    let (_, result, _) = run(file, b"").await;
    assert_eq!(&result[..], b"A=b c\n");
}

#[tokio::test]
async fn the_trace_of_a_task_stands_in_the_environment() {
    let file = "[kind.it]\nargv = [\"/usr/bin/env\"]\nenv = { TRACESTATE = \"old=1\" }";
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    for (state, expected) in [
        (Some("new=1"), format!("TRACEPARENT={parent}\nTRACESTATE=new=1\n")),
        (None, format!("TRACEPARENT={parent}\n")),
    ] {
        let (mut broker, handle, running) = serve(file).await;
        let detail = DispatchDetail {
            trace: parent.parse().ok(),
            trace_state: state.and_then(|state| state.parse().ok()),
            ..DispatchDetail::default()
        };
        broker.dispatch_with(&[(1, "it", b"")], &detail);
        let (_, result, _) = broker.end(1).await;
        assert_eq!(String::from_utf8_lossy(&result), expected);
        leave(broker, &handle, running).await;
    }
}

#[tokio::test]
async fn a_program_runs_in_an_empty_directory_that_is_removed() {
    let file = "[kind.it]\nargv = [\"/bin/sh\", \"-c\", \"touch x; pwd; ls -A | wc -l\"]\nenv = { PATH = \"/bin:/usr/bin\" }";
    let (end, result, error) = run(file, b"").await;
    assert_eq!((end, error.as_str()), (AttemptEnd::Succeeded, ""));
    let text = String::from_utf8(result.to_vec()).unwrap();
    let (folder, count) = text.trim().split_once('\n').unwrap();
    assert_eq!(count.trim(), "1");
    assert!(!Path::new(folder).exists(), "{folder}");
}

#[tokio::test]
async fn an_exit_code_is_a_failure_with_the_end_of_standard_error() {
    let file = "[kind.it]\nargv = [\"/bin/sh\", \"-c\", \"echo out; echo no paper >&2; exit 3\"]";
    let (end, result, error) = run(file, b"").await;
    assert_eq!((end, error.as_str()), (AttemptEnd::Failed, "exit code 3: no paper"));
    assert!(result.is_empty());
    let file = "[kind.it]\nargv = [\"/bin/sh\", \"-c\", \"kill -9 $$\"]";
    assert_eq!(run(file, b"").await.2, "killed by signal 9");
}

#[tokio::test]
async fn only_the_end_of_a_long_error_text_is_kept() {
    let script = "i=0; while [ $i -lt 9000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1";
    let file = format!("[kind.it]\nargv = [\"/bin/sh\", \"-c\", \"{script}\"]");
    let (_, _, error) = run(&file, b"").await;
    assert!(error.ends_with("line 8999") && error.len() <= 4_096, "{} bytes", error.len());
}

#[tokio::test]
async fn too_much_output_is_cut_off() {
    let file = "[kind.it]\nargv = [\"/bin/sh\", \"-c\", \"trap '' PIPE; while :; do echo y; done\"]\noutput_max = \"1000\"";
    let (end, _, error) = run(file, b"").await;
    assert_eq!(end, AttemptEnd::Failed);
    assert_eq!(error, "it wrote more than 1000 bytes to standard output");
}

#[tokio::test]
async fn a_timeout_kills_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!(
        "[kind.it]\nargv = [\"/bin/sh\", \"-c\", \"sleep 1000 & echo $! > pid; wait\"]\ntimeout = \"1s\"\n\
         cwd = {:?}\nenv = {{ PATH = \"/bin:/usr/bin\" }}",
        folder.path()
    );
    let (end, _, error) = run(&file, b"").await;
    assert_eq!((end, error.as_str()), (AttemptEnd::Failed, "it ran for longer than its limit of 1s"));
    let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
    gone(pid.trim()).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_killed_and_does_not_hold_up_the_result() {
    let script = "sleep 1000 & echo $!";
    let file = format!(
        "[kind.it]\nargv = [\"/bin/sh\", \"-c\", \"{script}\"]\nenv = {{ PATH = \"/bin:/usr/bin\" }}"
    );
    let (end, result, _) = run(&file, b"").await;
    assert_eq!(end, AttemptEnd::Succeeded);
    gone(std::str::from_utf8(&result).unwrap().trim()).await;
}

#[tokio::test]
async fn a_cancelled_task_and_a_passed_run_limit_kill_the_group() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!(
        "[kind.it]\nargv = [\"/bin/sh\", \"-c\", \"echo $$ > pid.{{task}}.new; mv pid.{{task}}.new pid.{{task}}; \
         sleep 1000; :\"]\ncwd = {:?}\nenv = {{ PATH = \"/bin:/usr/bin\" }}",
        folder.path()
    );
    let (mut broker, handle, running) = serve(&file).await;
    broker.dispatch(&[(1, "it", b"")]);
    let detail = DispatchDetail { run_limit_ms: Some(300), ..DispatchDetail::default() };
    broker.dispatch_with(&[(2, "it", b"")], &detail);
    let pids = [task(1), task(2)].map(|task| folder.path().join(format!("pid.{task}")));
    soon("the start of the program", async {
        while !pids[0].exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let leases = vec![Lease { task: task(1), epoch: Epoch(1), attempt: Attempt(1) }].into();
    broker.send(&ToWorker::Cancel(CancelLeases { leases, code: None }));
    assert_eq!(broker.end(1).await.0, AttemptEnd::Cancelled);
    assert_eq!(broker.end(2).await.0, AttemptEnd::TimedOut);
    for pid in pids {
        // On a busy machine the limit may pass before the program has told its number.
        if let Ok(pid) = std::fs::read_to_string(pid) {
            gone(pid.trim()).await;
        }
    }
    leave(broker, &handle, running).await;
}
