//! Peers that say what nobody should say: each gets an error with a code, and nothing else happens.

use std::time::Duration;

use bytes::Bytes;
use ganger_common::codec::Blob;
use ganger_common::limits::{BATCH_ITEMS_MAX, KIND_BYTES_MAX, PAYLOAD_BYTES_MAX};
use ganger_common::message::{
    AttemptReport, FromClient, FromWorker, Lease, NewTask, OneTask, Report, Request, Submit, TaskList,
    ToClient, ToWorker,
};
use ganger_common::version::Version;
use ganger_common::{Attempt, AttemptEnd, Epoch, ErrorCode, Outcome, TaskId};
use ganger_tests::cluster::Cluster;
use ganger_tests::raw::{Raw, client_hello, worker_hello};
use ganger_tests::scale::shared;
use uuid::Uuid;

use crate::frames::{nonsense, submit_by_hand};

const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn bytes_that_are_no_message_get_an_error_and_change_nothing() {
    let _turn = shared();
    let cluster = Cluster::start(&[]);
    for endpoint in [cluster.clients(), cluster.workers_endpoint()] {
        for (what, bytes) in nonsense() {
            let mut peer = Raw::connect(&endpoint).await;
            peer.send(bytes);
            let (code, text) = peer.hear(error).await;
            let is_refusal = matches!(
                code,
                ErrorCode::BadMessage
                    | ErrorCode::UnknownMessage
                    | ErrorCode::TooLarge
                    | ErrorCode::TooMany
                    | ErrorCode::HelloFirst
            );
            assert!(is_refusal && !text.is_empty(), "{what}: {code}: {text}");
        }
    }
    assert_serves(&cluster).await;
}

#[tokio::test]
async fn a_session_survives_its_own_nonsense() {
    let _turn = shared();
    let cluster = Cluster::start(&[]);
    let mut client = Raw::connect(&cluster.clients()).await;
    client.hello_client().await;
    for (what, bytes) in nonsense() {
        client.send(bytes);
        let (code, text) = client.hear(error).await;
        let is_refusal = matches!(
            code,
            ErrorCode::BadMessage | ErrorCode::UnknownMessage | ErrorCode::TooLarge | ErrorCode::TooMany
        );
        assert!(is_refusal && !text.is_empty(), "{what}: {code}: {text}");
    }
    assert_eq!(refused_messages(&mut client).await, nonsense().len() as u64);
    assert_serves(&cluster).await;
}

#[tokio::test]
async fn a_peer_of_another_major_version_is_refused_with_both_versions_named() {
    let _turn = shared();
    let cluster = Cluster::start(&[]);
    let foreign = Version { major: 7, minor: 3 };
    let client = Raw::connect(&cluster.clients()).await;
    client.say(&FromClient::Hello({
        let mut hello = client_hello();
        hello.protocol = foreign;
        hello
    }));
    let worker = Raw::connect(&cluster.workers_endpoint()).await;
    worker.report(&FromWorker::Hello({
        let mut hello = worker_hello(&["echo"], 1);
        hello.protocol = foreign;
        hello
    }));
    for mut peer in [client, worker] {
        let (code, text) = peer.hear(error).await;
        assert_eq!(code, ErrorCode::UnsupportedVersion, "{text}");
        assert!(text.contains("7.3") && text.contains("1.0"), "{text}");
        assert!(peer.is_closed_within(CLOSE_DEADLINE).await, "the connection stays open");
    }
    assert_serves(&cluster).await;
}

#[tokio::test]
async fn whoever_has_not_said_hello_is_not_served() {
    let _turn = shared();
    let cluster = Cluster::start(&[]);
    let mut client = Raw::connect(&cluster.clients()).await;
    client.say(&FromClient::Status(Request { req: 1 }));
    assert_eq!(client.hear(error).await.0, ErrorCode::HelloFirst);
    let mut worker = Raw::connect(&cluster.workers_endpoint()).await;
    worker.report(&FromWorker::Report(Report {
        seq: 1,
        started: Vec::new().into(),
        ended: Vec::new().into(),
        waiting: 0,
        recall: None,
    }));
    assert_eq!(worker.hear(error).await.0, ErrorCode::HelloFirst);
    assert_serves(&cluster).await;
}

#[tokio::test]
async fn a_session_cannot_be_taken_without_its_token() {
    let _turn = shared();
    let cluster = Cluster::start(&[]);
    let mut owner = Raw::connect(&cluster.clients()).await;
    let hello = client_hello();
    owner.say(&FromClient::Hello(hello.clone()));
    owner.hear(|message| matches!(message, ToClient::Welcome(_)).then_some(())).await;

    let mut thief = Raw::connect(&cluster.clients()).await;
    thief.say(&FromClient::Hello({
        let mut stolen = client_hello();
        stolen.client = hello.client;
        stolen
    }));
    assert_eq!(thief.hear(error).await.0, ErrorCode::SessionTaken);
    assert!(thief.is_closed_within(CLOSE_DEADLINE).await);
    owner.say(&FromClient::Status(Request { req: 9 }));
    owner.hear(|message| matches!(message, ToClient::Status(body) if body.req == 9).then_some(())).await;
}

#[tokio::test]
async fn what_is_over_a_limit_is_refused_and_its_neighbours_are_not() {
    let _turn = shared();
    let cluster = Cluster::start(&[]);
    let mut client = Raw::connect(&cluster.clients()).await;
    client.hello_client().await;

    let long = "k".repeat(KIND_BYTES_MAX + 1);
    client.send(submit_by_hand(&long, b"", 1));
    assert_eq!(client.hear(error).await.0, ErrorCode::TooLarge);

    client.send(submit_by_hand("echo", &vec![0; PAYLOAD_BYTES_MAX + 1], 1));
    assert_eq!(client.hear(error).await.0, ErrorCode::TooLarge);

    client.send(submit_by_hand("echo", b"", BATCH_ITEMS_MAX + 1));
    assert_eq!(client.hear(error).await.0, ErrorCode::TooMany);

    // One bad option refuses one task of the batch, not the batch.
    let task =
        |options| NewTask { id: TaskId(Uuid::now_v7()), kind: "echo".into(), payload: Blob(b"x"), options };
    let absurd = ganger_common::TaskOptions { delay_ms: u64::MAX, ..Default::default() };
    let tasks = vec![task(None), task(Some(absurd)), task(None)];
    client.say(&FromClient::Submit(Submit { seq: 5, again: false, tasks: tasks.into() }));
    let refused = client
        .hear(|message| match message {
            ToClient::Accepted(accepted) if accepted.seq == 5 => {
                Some(accepted.refused.iter().map(|item| (item.index, item.code)).collect::<Vec<_>>())
            }
            _ => None,
        })
        .await;
    assert_eq!(refused, [(1, ErrorCode::BadOption)]);
    assert_serves(&cluster).await;
}

#[tokio::test]
async fn a_lease_that_is_not_yours_settles_nothing() {
    let _turn = shared();
    let cluster = Cluster::start(&[]);
    let mut client = Raw::connect(&cluster.clients()).await;
    client.hello_client().await;
    let mut holder = Raw::connect(&cluster.workers_endpoint()).await;
    holder.hello_worker(&["i5"], 1).await;
    let mut thief = Raw::connect(&cluster.workers_endpoint()).await;
    thief.hello_worker(&["another"], 1).await;

    let id = TaskId(Uuid::now_v7());
    client.say(&submit(id, "i5"));
    let lease = holder.hear_as_worker(first_lease).await;
    assert_eq!((lease.task, lease.attempt), (id, Attempt(1)));

    // Attempts that are not there, epochs that were never, tasks that nobody knows; and the true lease,
    // with a failure, from somebody else.
    let forged = [
        (Lease { attempt: Attempt(2), ..lease }, AttemptEnd::Failed),
        (Lease { epoch: Epoch(lease.epoch.0 + 1), ..lease }, AttemptEnd::Failed),
        (Lease { task: TaskId(Uuid::now_v7()), ..lease }, AttemptEnd::Failed),
        (lease, AttemptEnd::Failed),
        (lease, AttemptEnd::Succeeded),
        (lease, AttemptEnd::Cancelled),
    ];
    for (seq, (lease, end)) in (1..).zip(forged) {
        thief.report(&end_report(seq, &lease, end, b"forged"));
        let stale = thief.hear_as_worker(|message| stale_upto(message, seq)).await;
        assert_eq!(stale, [lease], "{end:?} of {lease:?}");
    }

    holder.report(&end_report(1, &lease, AttemptEnd::Succeeded, b"true"));
    let (outcome, attempt, result) = client.hear(|message| outcome_of(message, id)).await;
    assert_eq!((outcome, attempt, result.as_ref()), (Outcome::Succeeded, Attempt(1), &b"true"[..]));

    // Once settled, not even its holder changes it.
    holder.report(&end_report(2, &lease, AttemptEnd::Succeeded, b"again"));
    assert_eq!(holder.hear_as_worker(|message| stale_upto(message, 2)).await, [lease]);
    assert_eq!(fetch_result(&mut client, id).await.as_deref(), Some(&b"true"[..]));
}

#[tokio::test]
async fn a_task_that_nobody_knows_is_said_to_be_unknown() {
    let _turn = shared();
    let cluster = Cluster::start(&[]);
    let mut client = Raw::connect(&cluster.clients()).await;
    client.hello_client().await;
    let task = TaskId(Uuid::now_v7());
    for (req, message) in
        [(1, FromClient::Fetch(OneTask { req: 1, task })), (2, FromClient::Explain(OneTask { req: 2, task }))]
    {
        client.say(&message);
        let code = client
            .hear(|message| match message {
                ToClient::Error(error) if error.req == Some(req) => Some(error.code),
                _ => None,
            })
            .await;
        assert_eq!(code, ErrorCode::UnknownTask);
    }
    for (req, message) in [
        (3, FromClient::Cancel(TaskList { req: 3, tasks: vec![task].into() })),
        (4, FromClient::Retry(TaskList { req: 4, tasks: vec![task].into() })),
    ] {
        client.say(&message);
        let codes = client
            .hear(|message| match message {
                ToClient::Verdicts(verdicts) if verdicts.req == req => {
                    Some(verdicts.refused.iter().map(|item| item.code).collect::<Vec<_>>())
                }
                _ => None,
            })
            .await;
        assert_eq!(codes, [ErrorCode::UnknownTask]);
    }
}

fn error(message: &ToClient<'_>) -> Option<(ErrorCode, String)> {
    // Both directions spell an error alike, so this reads what a worker is told, too.
    match message {
        ToClient::Error(error) => Some((error.code, error.text.to_string())),
        _ => None,
    }
}

/// What the broker has counted of messages that are none.
async fn refused_messages(client: &mut Raw) -> u64 {
    client.say(&FromClient::Status(Request { req: 77 }));
    client
        .hear(|message| match message {
            ToClient::Status(body) if body.req == 77 => {
                body.body.counters.get("messages_undecodable").copied()
            }
            _ => None,
        })
        .await
}

fn submit(id: TaskId, kind: &str) -> FromClient<'_> {
    let task = NewTask { id, kind: kind.into(), payload: Blob(b"x"), options: None };
    FromClient::Submit(Submit { seq: 1, again: false, tasks: vec![task].into() })
}

fn first_lease(message: &ToWorker<'_>) -> Option<Lease> {
    match message {
        ToWorker::Tasks(dispatch) => dispatch.tasks.first().map(|item| Lease {
            task: item.task,
            epoch: dispatch.epoch,
            attempt: item.attempt,
        }),
        _ => None,
    }
}

fn end_report<'a>(seq: u64, lease: &Lease, end: AttemptEnd, result: &'a [u8]) -> FromWorker<'a> {
    let report = AttemptReport {
        task: lease.task,
        epoch: lease.epoch,
        attempt: lease.attempt,
        end: end.code(),
        run_us: 1,
        result: Blob(result),
        detail: None,
    };
    let (started, ended) = (Vec::new().into(), vec![report].into());
    FromWorker::Report(Report { seq, started, ended, waiting: 0, recall: None })
}

fn stale_upto(message: &ToWorker<'_>, seq: u64) -> Option<Vec<Lease>> {
    match message {
        ToWorker::Ack(ack) if ack.upto >= seq => Some(ack.stale.to_vec()),
        _ => None,
    }
}

fn outcome_of(message: &ToClient<'_>, id: TaskId) -> Option<(Outcome, Attempt, Bytes)> {
    match message {
        ToClient::Outcomes(outcomes) => {
            let item = outcomes.items.iter().find(|item| item.task == id)?;
            Some((Outcome::from_code(item.outcome)?, item.attempt, Bytes::copy_from_slice(item.result.0)))
        }
        _ => None,
    }
}

async fn fetch_result(client: &mut Raw, task: TaskId) -> Option<Vec<u8>> {
    client.say(&FromClient::Fetch(OneTask { req: 88, task }));
    client
        .hear(|message| match message {
            ToClient::Task(reply) if reply.req == 88 => Some(reply.result.map(|result| result.0.to_vec())),
            _ => None,
        })
        .await
}

/// A task goes its whole way: the broker lives, and serves others as before.
async fn assert_serves(cluster: &Cluster) {
    assert!(cluster.broker().is_running(), "the broker has ended");
    let mut client = Raw::connect(&cluster.clients()).await;
    client.hello_client().await;
    let mut worker = Raw::connect(&cluster.workers_endpoint()).await;
    worker.hello_worker(&["still.there"], 1).await;
    let id = TaskId(Uuid::now_v7());
    client.say(&submit(id, "still.there"));
    let lease = worker.hear_as_worker(first_lease).await;
    worker.report(&end_report(1, &lease, AttemptEnd::Succeeded, b"yes"));
    let (outcome, ..) = client.hear(|message| outcome_of(message, id)).await;
    assert_eq!(outcome, Outcome::Succeeded);
}
