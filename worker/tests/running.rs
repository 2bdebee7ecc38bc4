//! Workers over the transport in memory, with a broker played by hand.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ganger_common::message::publish::{BeatHeader, ChangeOp, DeltaHeader, encode_header};
use ganger_common::message::{CancelLeases, DispatchDetail, ErrorReply, Lease, ToWorker};
use ganger_common::{Attempt, AttemptEnd, Epoch, ErrorCode, Revision};
use ganger_transport::Publisher;
use ganger_worker::{HandlerError, StopReason, Worker, WorkerError};
use support::{Broker, endpoint, leave, soon, task};
use tokio::sync::Notify;

#[tokio::test]
async fn handlers_run_and_their_results_are_reported() {
    let mut broker = Broker::start();
    let builder = Worker::builder()
        .slots(2)
        .handler("upper", |task, _| async move { Ok(task.payload.to_ascii_uppercase()) })
        .blocking_handler("lower", |task, _| Ok(task.payload.to_ascii_lowercase()));
    let (handle, running) = broker.run(builder);
    broker.open().await;
    broker.dispatch(&[(1, "upper", b"aBc"), (2, "lower", b"aBc"), (3, "lower", b"X"), (4, "upper", b"y")]);
    for (number, expected) in [(1, "ABC"), (2, "abc"), (3, "x"), (4, "Y")] {
        let (end, result, _) = broker.end(number).await;
        assert_eq!((end, &result[..]), (AttemptEnd::Succeeded, expected.as_bytes()));
    }
    let stopped = leave(broker, &handle, running).await;
    assert_eq!((stopped.reason, stopped.unfinished, stopped.unreported), (StopReason::Drained, 0, 0));
}

#[tokio::test]
async fn thousands_of_tasks_keep_all_slots_busy_and_none_is_lost() {
    let mut broker = Broker::start();
    let builder = Worker::builder()
        .slots(4)
        .handler("a", |task, _| async move { Ok(task.payload) })
        .blocking_handler("b", |task, _| Ok(task.payload));
    let (handle, running) = broker.run(builder);
    broker.open().await;
    let batch: Vec<(u8, &str, &[u8])> =
        (0..200).map(|number| (number, if number % 3 == 0 { "b" } else { "a" }, &b"x"[..])).collect();
    for _ in 0..50 {
        broker.dispatch(&batch);
    }
    broker.until(|broker| broker.ends.len() == 10_000).await;
    assert!(broker.ends.iter().all(|(_, end, ..)| *end == AttemptEnd::Succeeded));
    leave(broker, &handle, running).await;
}

#[tokio::test]
async fn errors_and_panics_are_failures_of_their_attempt_alone() {
    let mut broker = Broker::start();
    let builder = Worker::builder()
        .slots(1)
        .handler("error", |_, _| async move {
            let number: u32 = "x".parse()?;
            Ok(number.to_string())
        })
        .handler("early", |_, _| async move {
            if true {
                return Err("no".into());
            }
            Ok("")
        })
        .handler("panic", |task, _| async move {
            assert!(task.payload.is_empty(), "boom {}", task.payload.len());
            Ok("")
        })
        .blocking_handler("panic.blocking", |_, _| -> Result<Bytes, HandlerError> { panic!("bang") })
        .handler("fine", |_, _| async move { Ok("fine") });
    let (handle, running) = broker.run(builder);
    broker.open().await;
    broker.dispatch(&[(1, "error", b""), (2, "early", b""), (3, "panic", b"xx"), (4, "panic.blocking", b"")]);
    broker.dispatch(&[(5, "fine", b"")]);
    let expected = [
        (1, "invalid digit found in string"),
        (2, "no"),
        (3, "the handler panicked: boom 2"),
        (4, "the handler panicked: bang"),
    ];
    for (number, text) in expected {
        let (end, _, error) = broker.end(number).await;
        assert_eq!((end, error.as_str()), (AttemptEnd::Failed, text));
    }
    assert_eq!(broker.end(5).await.0, AttemptEnd::Succeeded);
    leave(broker, &handle, running).await;
}

#[tokio::test]
async fn a_handler_that_blocks_does_not_stop_heartbeats() {
    let mut broker = Broker::start();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = parking_lot::Mutex::new(released);
    // As many as there are threads, each blocking one of them for good.
    let slots = std::thread::available_parallelism().unwrap().get() as u32 + 1;
    let builder = Worker::builder().slots(slots).handler("block", move |_, _| {
        let _ = released.lock().recv();
        async { Ok("") }
    });
    let (handle, running) = broker.run(builder);
    broker.open().await;
    let batch: Vec<(u8, &str, &[u8])> = (0..slots as u8).map(|number| (number, "block", &b""[..])).collect();
    broker.dispatch(&batch);
    broker.until(|broker| !broker.started.is_empty()).await;
    let before = broker.heartbeats;
    broker.until(|broker| broker.heartbeats >= before + 10).await;
    drop(release);
    broker.until(|broker| broker.ends.len() == slots as usize).await;
    leave(broker, &handle, running).await;
}

fn thread_name() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

/// Has tasks of a quick kind run one at a time until one ran on the thread of the connection.
async fn until_run_there(broker: &mut Broker) {
    for round in 0..10_000 {
        let number = (round % 200) as u8;
        broker.ends.clear();
        broker.dispatch(&[(number, "quick", b"")]);
        if broker.end(number).await.1 == "ganger-worker" {
            return;
        }
    }
    panic!("lone tasks of a quick kind are run by executors");
}

#[tokio::test]
async fn a_quick_kind_that_begins_to_block_does_not_stop_heartbeats_or_other_tasks() {
    let mut broker = Broker::start();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = parking_lot::Mutex::new(released);
    let (told, mut began) = tokio::sync::mpsc::unbounded_channel();
    let builder = Worker::builder().slots(2).handler("quick", move |task, _| {
        let name = thread_name();
        if task.payload == "block" {
            told.send(name.clone()).unwrap();
            let _ = released.lock().recv();
        }
        async move { Ok(name) }
    });
    let (handle, running) = broker.run(builder);
    broker.open().await;
    // Where a task runs is decided anew for each; it may take some tries until one blocks that thread.
    loop {
        until_run_there(&mut broker).await;
        broker.ends.clear();
        broker.dispatch(&[(201, "quick", b"block")]);
        if soon("a start", began.recv()).await.as_deref() == Some("ganger-worker") {
            break;
        }
        release.send(()).unwrap();
        broker.end(201).await;
    }
    let before = broker.heartbeats;
    broker.until(|broker| broker.heartbeats >= before + 2 && broker.started.contains(&201)).await;
    broker.dispatch(&[(202, "quick", b"")]);
    assert_eq!(&broker.end(202).await.1[..], b"ganger-executor");
    assert!(broker.end_of(201).is_none());
    release.send(()).unwrap();
    assert_eq!(&broker.end(201).await.1[..], b"ganger-worker");
    leave(broker, &handle, running).await;
}

#[tokio::test]
async fn a_quick_kind_that_begins_to_wait_goes_on_at_an_executor() {
    let mut broker = Broker::start();
    let builder = Worker::builder().slots(1).handler("quick", |task, _| async move {
        let name = thread_name();
        if task.payload == "wait" {
            // What it begins belongs to the runtime of the executors, wherever it is polled.
            tokio::spawn(async {}).await?;
            tokio::task::yield_now().await;
            return Ok(format!("{name} {}", thread_name()));
        }
        Ok(name)
    });
    let (handle, running) = broker.run(builder);
    broker.open().await;
    loop {
        until_run_there(&mut broker).await;
        broker.ends.clear();
        broker.dispatch(&[(201, "quick", b"wait")]);
        let (end, names, _) = broker.end(201).await;
        assert_eq!(end, AttemptEnd::Succeeded);
        if names == "ganger-worker ganger-executor" {
            break;
        }
        assert_eq!(names, "ganger-executor ganger-executor");
    }
    leave(broker, &handle, running).await;
}

#[tokio::test]
async fn a_lost_connection_costs_nothing() {
    let mut broker = Broker::start();
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let builder = Worker::builder().slots(1).handler("wait", move |_, _| {
        let (opened, counted) = (opened.clone(), counted.clone());
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            opened.notified().await;
            Ok("done")
        }
    });
    let (handle, running) = broker.run(builder);
    broker.open().await;
    broker.dispatch(&[(1, "wait", b""), (2, "wait", b"")]);
    broker.until(|broker| broker.started == [1]).await;
    broker.net.cut(broker.conn);
    gate.notify_one();
    let holding = soon("a hello", broker.hello()).await;
    let is_first_done = holding == [(2, true)];
    assert!(is_first_done || holding == [(1, true), (2, false)], "{holding:?}");
    broker.welcome();
    gate.notify_one();
    assert_eq!(broker.end(1).await.0, AttemptEnd::Succeeded);
    gate.notify_one();
    assert_eq!(broker.end(2).await.0, AttemptEnd::Succeeded);
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    leave(broker, &handle, running).await;
}

#[tokio::test]
async fn cancelled_handlers_notice() {
    let mut broker = Broker::start();
    let builder = Worker::builder()
        .slots(2)
        .handler("wait", |_, context| async move {
            context.cancelled().await;
            assert!(context.is_cancelled());
            Ok("too late")
        })
        .blocking_handler("spin", |_, context| {
            while !context.is_cancelled() {
                std::thread::yield_now();
            }
            Ok("too late")
        });
    let (handle, running) = broker.run(builder);
    broker.open().await;
    broker.dispatch(&[(1, "wait", b""), (2, "spin", b"")]);
    broker.until(|broker| broker.started.len() == 2).await;
    let lease = |number| Lease { task: task(number), epoch: Epoch(1), attempt: Attempt(1) };
    let leases = vec![lease(1), lease(2)].into();
    broker.send(&ToWorker::Cancel(CancelLeases { leases, code: None }));
    assert_eq!(broker.end(1).await.0, AttemptEnd::Cancelled);
    assert_eq!(broker.end(2).await.0, AttemptEnd::Cancelled);
    leave(broker, &handle, running).await;
}

#[tokio::test]
async fn the_context_tells_and_carries() {
    let mut broker = Broker::start();
    let builder = Worker::builder().slots(1).handler("tell", |task, context| async move {
        context.progress(0.5, "half");
        assert!(context.partial("part"));
        let token = context.fencing_token();
        assert_eq!((context.attempt(), context.task_id()), (Attempt(1), task.id));
        Ok(format!("{} {} {}", task.kind, token.epoch, token.attempt))
    });
    let (handle, running) = broker.run(builder);
    broker.open().await;
    let detail = DispatchDetail { events: true, ..DispatchDetail::default() };
    broker.dispatch_with(&[(1, "tell", b"")], &detail);
    assert_eq!(broker.end(1).await.1, "tell 1 1");
    assert_eq!(broker.other, ["progress Some(0.5) half", "partial 0 [112, 97, 114, 116]"]);
    leave(broker, &handle, running).await;
}

#[tokio::test]
async fn a_run_limit_stops_a_handler() {
    let mut broker = Broker::start();
    let builder = Worker::builder().slots(1).handler("wait", |_, context| async move {
        context.cancelled().await;
        Ok("")
    });
    let (handle, running) = broker.run(builder);
    broker.open().await;
    let detail = DispatchDetail { run_limit_ms: Some(20), ..DispatchDetail::default() };
    broker.dispatch_with(&[(1, "wait", b""), (2, "wait", b"")], &detail);
    assert_eq!(broker.end(1).await.0, AttemptEnd::TimedOut);
    assert_eq!(broker.end(2).await.0, AttemptEnd::TimedOut);
    leave(broker, &handle, running).await;
}

#[tokio::test]
async fn handlers_read_what_was_published_and_hooks_hear_broadcasts() {
    let mut broker = Broker::start();
    let publisher = broker.net.bind_publisher(&endpoint()).unwrap();
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let builder = Worker::builder()
        .slots(1)
        .handler("read", |_, context| async move {
            context.knowledge().get("t", "k").ok_or_else(|| HandlerError::from("nothing there"))
        })
        .on_broadcast(move |topic, body| {
            let _ = heard.send((topic.to_owned(), body));
        });
    let (handle, running) = broker.run(builder);
    broker.open().await;
    let header = DeltaHeader {
        epoch: Epoch(1),
        revision: Revision(1),
        previous: Revision(0),
        op: ChangeOp::Put,
        key: "k".into(),
        checksum: crc32fast::hash(b"value"),
    };
    let delta = ["k/t".into(), encode_header(&header).into(), Bytes::from_static(b"value")];
    let beat = BeatHeader { epoch: Epoch(1), revision: Revision(0), number: 1 };
    let news = ["b/news".into(), encode_header(&beat).into(), Bytes::from_static(b"hear")];
    // Nobody can tell when a subscription has taken effect; publishing twice is harmless.
    while broker.revision != Revision(1) {
        publisher.publish(delta.clone()).unwrap();
        let before = broker.heartbeats;
        broker.until(|broker| broker.heartbeats > before).await;
    }
    publisher.publish(news).unwrap();
    let expected = ("news".to_owned(), Bytes::from_static(b"hear"));
    assert_eq!(soon("a broadcast", hears.recv()).await, Some(expected));
    broker.dispatch(&[(1, "read", b"")]);
    assert_eq!(broker.end(1).await.1, "value");
    leave(broker, &handle, running).await;
}

#[tokio::test]
async fn a_refused_worker_stops_with_the_reason() {
    let mut broker = Broker::start();
    let (_, running) = broker.run(Worker::builder().handler("a", |_, _| async { Ok("") }));
    broker.hello().await;
    broker.send(&ToWorker::Error(ErrorReply {
        req: None,
        code: ErrorCode::UnsupportedVersion,
        text: "too old".into(),
        retry_after_ms: None,
    }));
    let error = soon("the end of the worker", running).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the broker refused this worker: too old (unsupported_version)");
}

#[tokio::test]
async fn a_worker_waits_for_its_broker_and_stops_when_asked() {
    let broker = Broker::start();
    let net = broker.net.clone();
    let builder = Worker::builder().connect("mem://nobody").handler("a", |_, _| async { Ok("") });
    let worker = builder.build_with(net.connector()).unwrap();
    let stopped = soon("the end of the worker", worker.run(std::future::ready(()))).await.unwrap();
    assert_eq!(stopped.reason, StopReason::Drained);
}

#[tokio::test]
async fn a_second_word_stops_at_once() {
    let mut broker = Broker::start();
    let builder = Worker::builder().slots(1).handler("wait", |_, context| async move {
        context.cancelled().await;
        Ok("")
    });
    let (handle, running) = broker.run(builder);
    broker.open().await;
    broker.dispatch(&[(1, "wait", b"")]);
    broker.until(|broker| !broker.started.is_empty()).await;
    handle.drain(None);
    handle.stop();
    broker.until(|broker| broker.goodbye).await;
    let stopped = soon("the end of the worker", running).await.unwrap().unwrap();
    assert_eq!((stopped.reason, stopped.unfinished), (StopReason::Stopped, 0));
}

#[tokio::test]
async fn a_drain_deadline_interrupts_what_runs() {
    let mut broker = Broker::start();
    let builder = Worker::builder().slots(1).handler("wait", |_, context| async move {
        context.cancelled().await;
        Ok("")
    });
    let (handle, running) = broker.run(builder);
    broker.open().await;
    broker.dispatch(&[(1, "wait", b""), (2, "wait", b"")]);
    broker.until(|broker| !broker.started.is_empty()).await;
    handle.drain(Some(Duration::from_millis(10)));
    broker.until(|broker| broker.goodbye).await;
    assert_eq!(broker.end_of(1).unwrap().1, AttemptEnd::Interrupted);
    assert_eq!(broker.end_of(2).unwrap().1, AttemptEnd::Returned);
    let stopped = soon("the end of the worker", running).await.unwrap().unwrap();
    assert_eq!(stopped.reason, StopReason::DrainDeadline);
}

#[test]
fn a_builder_says_what_is_wrong() {
    let with = || Worker::builder().handler("a", |_, _| async { Ok("") });
    assert!(matches!(Worker::builder().build(), Err(WorkerError::NoHandlers)));
    assert!(matches!(with().slots(0).build(), Err(WorkerError::Slots { slots: 0 })));
    assert!(matches!(with().slots(5_000).build(), Err(WorkerError::Slots { .. })));
    assert!(matches!(with().connect("udp://x").build(), Err(WorkerError::Endpoint(_))));
    assert!(matches!(with().knowledge("x").build(), Err(WorkerError::Endpoint(_))));
    assert!(matches!(with().name("n".repeat(129)).build(), Err(WorkerError::Name { bytes: 129 })));
    let twice = with().handler("a", |_, _| async { Ok("") }).build();
    assert!(matches!(twice, Err(WorkerError::Twice { .. })));
    let nameless = with().handler("", |_, _| async { Ok("") }).build();
    assert!(matches!(nameless, Err(WorkerError::Kind { .. })));
}
