//! The client against a broker that is played by hand, over the in-process transport.

mod script;

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use ganger_client::{
    Client, Error, Followed, Learned, LinkState, NewTask, PipeConfig, PipeItem, TaskEvent, as_completed,
};
use ganger_common::message::{FromClient, ToClient};
use ganger_common::{ErrorCode, Outcome, Revision, TaskId};
use script::{Broker, ID, within};

#[tokio::test]
async fn a_task_goes_there_and_its_outcome_comes_back() {
    let (mut broker, client) = Broker::with_client().await;
    let submitting = tokio::spawn({
        let client = client.clone();
        async move { client.submit(NewTask::new("echo", "hello")).await }
    });
    let (seq, ids) = within(broker.submitted()).await;
    broker.accept(seq);
    let mut handle = within(submitting).await.unwrap().unwrap();
    assert_eq!(ids, [handle.id()]);
    broker.settle(1, &ids, b"olleh");
    let outcome = within(handle.outcome()).await.unwrap();
    assert_eq!((outcome.outcome, &outcome.result[..]), (Outcome::Succeeded, &b"olleh"[..]));
    assert_eq!(within(handle.outcome()).await.unwrap(), outcome, "it can be asked for again");
    within(client.close()).await;
    assert!(within(broker.said_goodbye()).await);
}

#[tokio::test]
async fn dropping_the_last_clone_says_goodbye() {
    let (mut broker, client) = Broker::with_client().await;
    drop(client.clone());
    drop(client);
    assert!(within(broker.said_goodbye()).await);
}

#[tokio::test]
async fn a_refused_task_is_an_error_with_its_code() {
    let (mut broker, client) = Broker::with_client().await;
    let mut handle = within(client.send(NewTask::new("echo", ""))).await.unwrap();
    let (seq, _) = within(broker.submitted()).await;
    broker.refuse(seq, ErrorCode::TooMany);
    let error = within(handle.accepted()).await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (Some(ErrorCode::TooMany), false));
    assert_eq!(within(handle.outcome()).await, Err(error));
}

#[tokio::test]
async fn sending_waits_for_room_in_the_window() {
    let (mut broker, client) = Broker::with_config(|config| config.window_tasks = 2).await;
    let _first = within(client.send(NewTask::new("a", ""))).await.unwrap();
    let _second = within(client.send(NewTask::new("b", ""))).await.unwrap();
    let third = client.send(NewTask::new("c", ""));
    tokio::pin!(third);
    assert!(futures_util::poll!(third.as_mut()).is_pending());
    let (seq, _) = within(broker.submitted()).await;
    broker.accept(seq);
    within(third).await.unwrap();
}

#[tokio::test]
async fn a_batch_survives_the_loss_of_the_connection() {
    let (mut broker, client) = Broker::with_client().await;
    let tasks = (0..100).map(|_| NewTask::new("echo", "x")).collect();
    let mut receiver = within(client.submit_batch(tasks)).await.unwrap();
    let mut wanted: Vec<TaskId> = Vec::new();
    while wanted.len() < 100 {
        wanted.extend(within(broker.submitted()).await.1);
    }
    broker.cut();
    within(broker.greet()).await;
    let mut again = Vec::new();
    while again.len() < 100 {
        let (seq, ids) = within(broker.submitted()).await;
        broker.accept(seq);
        broker.settle(again.len() as u64 + 1, &ids, b"");
        again.extend(ids);
    }
    assert_eq!(again, wanted, "the same tasks in the same order");
    let mut items = Vec::new();
    while within(receiver.recv_many(&mut items)).await > 0 {}
    let mut tags: Vec<u32> = items
        .iter()
        .map(|item| match item {
            PipeItem::Settled { tag, .. } => *tag,
            other => panic!("{other:?}"),
        })
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_pipe_holds_back_who_does_not_take_outcomes() {
    let (mut broker, client) = Broker::with_client().await;
    let (mut sender, mut receiver) = client.pipe(PipeConfig { in_flight: 2, accepted: true });
    within(sender.send(NewTask::new("a", ""))).await.unwrap();
    within(sender.send(NewTask::new("b", ""))).await.unwrap();
    let mut number = 0;
    while number < 2 {
        let (seq, ids) = within(broker.submitted()).await;
        broker.accept(seq);
        number += ids.len() as u64;
        broker.settle(number, &ids, b"");
    }
    within(broker.acknowledged(2)).await;
    {
        let third = sender.send(NewTask::new("c", ""));
        tokio::pin!(third);
        assert!(futures_util::poll!(third.as_mut()).is_pending(), "both are settled, and neither was taken");
    }
    let mut items = Vec::new();
    while items.len() < 4 {
        within(receiver.recv_many(&mut items)).await;
    }
    assert!(items.contains(&PipeItem::Accepted { tag: 1 }));
    assert_eq!(within(sender.send(NewTask::new("c", ""))).await, Ok(2));
    drop(receiver);
    assert_eq!(within(sender.send(NewTask::new("d", ""))).await, Err(Error::Closed));
}

#[tokio::test]
async fn outcomes_come_in_the_order_in_which_tasks_end() {
    let (mut broker, client) = Broker::with_client().await;
    let first = within(client.send(NewTask::new("a", ""))).await.unwrap();
    let second = within(client.send(NewTask::new("b", ""))).await.unwrap();
    let ids = [first.id(), second.id()];
    let mut seen = 0;
    while seen < 2 {
        let (seq, some) = within(broker.submitted()).await;
        broker.accept(seq);
        seen += some.len();
    }
    let mut ends = as_completed([first, second]);
    broker.settle(1, &ids[1..], b"");
    assert_eq!(within(ends.next()).await.unwrap().0, ids[1]);
    broker.settle(2, &ids[..1], b"");
    assert_eq!(within(ends.next()).await.unwrap().0, ids[0]);
    assert!(within(ends.next()).await.is_none());
}

#[tokio::test]
async fn a_task_can_be_followed_to_its_end() {
    let (mut broker, client) = Broker::with_client().await;
    let mut stream = client.events(ID).unwrap();
    within(broker.watched()).await;
    broker.progress(ID, 0.5);
    broker.settle(1, &[ID], b"done");
    let first = within(stream.next()).await.unwrap().unwrap();
    assert!(matches!(first, Followed::Event(TaskEvent::Progress { fraction: Some(0.5), .. })), "{first:?}");
    let last = within(stream.next()).await.unwrap().unwrap();
    assert!(matches!(&last, Followed::Ended(outcome) if outcome.result == "done"), "{last:?}");
    assert!(within(stream.next()).await.is_none());
}

#[tokio::test]
async fn who_follows_too_slowly_is_told_how_much_is_gone() {
    let (mut broker, client) = Broker::with_client().await;
    let mut stream = client.events(ID).unwrap();
    within(broker.watched()).await;
    for _ in 0..ganger_client::EVENTS_MAX + 10 {
        broker.progress(ID, 0.1);
    }
    broker.settle(1, &[ID], b"");
    within(broker.acknowledged(1)).await;
    assert_eq!(within(stream.next()).await, Some(Ok(Followed::Missed(10))));
}

#[tokio::test]
async fn a_question_is_answered_and_one_that_breaks_off_is_interrupted() {
    let (mut broker, client) = Broker::with_client().await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.cancel(&[ID]).await }
    });
    within(broker.asked("cancel")).await;
    broker.cut();
    assert_eq!(within(asking).await.unwrap(), Err(Error::Interrupted));
    within(broker.greet()).await;
    let asking = tokio::spawn(async move { client.status().await });
    let req = within(broker.asked("status")).await;
    let status = ganger_common::view::StatusView { workers: 7, ..Default::default() };
    broker.say(&ToClient::Status(ganger_common::message::Body { req, body: status }));
    assert_eq!(within(asking).await.unwrap().unwrap().workers, 7);
}

#[tokio::test]
async fn a_closed_client_answers_everybody() {
    let (mut broker, client) = Broker::with_client().await;
    let other = client.clone();
    let mut handle = within(client.send(NewTask::new("a", ""))).await.unwrap();
    within(broker.submitted()).await;
    within(client.close()).await;
    assert_eq!(within(handle.outcome()).await, Err(Error::Closed));
    assert_eq!(within(other.status()).await, Err(Error::Closed));
    assert_eq!(within(other.send(NewTask::new("b", ""))).await.map(|_| ()), Err(Error::Closed));
    assert_eq!(other.state(), LinkState::Ended(Error::Closed));
}

#[tokio::test]
async fn nobody_there_is_told_with_the_place() {
    let net = ganger_transport::mem::MemNet::new();
    let mut config = script::config();
    config.connect_timeout = Duration::from_millis(50);
    let error = within(Client::connect_with(net.connector(), config)).await.unwrap_err();
    let Error::Unreachable { endpoint, reason } = &error else { panic!("{error:?}") };
    assert_eq!((&endpoint[..], error.is_retryable()), ("mem://broker", true));
    assert!(reason.contains("nobody listens"), "{reason}");
}

#[tokio::test]
async fn a_refused_client_ends_with_the_reason() {
    let (mut broker, connecting) = Broker::with_stranger();
    within(broker.refuse_hello(ErrorCode::UnsupportedVersion)).await;
    let error = within(connecting).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnsupportedVersion));
}

#[tokio::test]
async fn knowledge_is_followed_across_what_was_not_published() {
    let (mut broker, client) = Broker::with_client().await;
    let watching = tokio::spawn(async move { client.knowledge().watch("t", false).await });
    let req = within(broker.asked("knowledge")).await;
    broker.knowledge_status(req, 5);
    let mut watch = within(watching).await.unwrap().unwrap();
    assert_eq!(watch.revision(), Revision(5));
    broker.publish(6, "other", "key", b"not for us");
    broker.publish(7, "t", "key", b"seven");
    let learned = within(watch.next()).await.unwrap();
    assert!(matches!(&learned, Learned::Changed(change) if change.revision == Revision(7)), "{learned:?}");
    broker.publish(9, "t", "key", b"nine");
    let following = tokio::spawn(async move {
        let eight = watch.next().await;
        (eight, watch.next().await)
    });
    let req = within(broker.asked("knowledge")).await;
    broker.knowledge_changes(req, &[8, 9]);
    let (eight, nine) = within(following).await.unwrap();
    let revision = |learned| match learned {
        Ok(Learned::Changed(change)) => change.revision.0,
        other => panic!("{other:?}"),
    };
    assert_eq!((revision(eight), revision(nine)), (8, 9));
}

#[tokio::test]
async fn broadcasts_of_a_topic_are_heard() {
    let (broker, client) = Broker::with_client().await;
    let mut broadcasts = within(client.subscribe("news/")).await.unwrap();
    broker.broadcast("other", b"no");
    broker.broadcast("news/today", b"yes");
    let heard = within(broadcasts.next()).await.unwrap();
    assert_eq!((&heard.topic[..], &heard.body), ("news/today", &Bytes::from_static(b"yes")));
}

#[test]
fn a_program_without_a_runtime_can_use_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (net, mut broker) = Broker::alone();
    let serving = runtime.spawn(async move {
        broker.greet().await;
        let (seq, ids) = broker.submitted().await;
        broker.accept(seq);
        broker.settle(1, &ids, b"");
        while !matches!(broker.hear().await.map(|frame| is_goodbye(&frame)), None | Some(true)) {}
    });
    let client = runtime.block_on(Client::connect_with(net.connector(), script::config())).unwrap();
    let blocking = ganger_client::blocking::Client::over(client).unwrap();
    let outcomes = blocking.run_all([NewTask::new("a", "")]).unwrap();
    assert!(outcomes[0].is_success());
    blocking.close();
    runtime.block_on(within(serving)).unwrap();
}

fn is_goodbye(frame: &Bytes) -> bool {
    matches!(ganger_common::decode::<FromClient<'_>>(frame), Ok(FromClient::Goodbye(_)))
}
