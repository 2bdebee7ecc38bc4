//! Keys that are taken away while they are in use.

use std::time::{Duration, Instant};

use ganger_client::NewTask;
use ganger_common::ErrorCode;
use ganger_tests::wait::eventually;

use crate::house::{Keys, SOON, reread};

#[tokio::test(flavor = "multi_thread")]
async fn s25_a_revoked_worker_is_cut_within_a_second_and_its_tasks_move() {
    let keys = Keys::new();
    let [client, goes, stays] = ["client", "goes", "stays"].map(|name| keys.person(name));
    let work = "work,knowledge-read";
    keys.authorise(&[(&client, "submit,admin"), (&goes, work)]);
    let mut cluster = keys.cluster(&["--grace", "500ms"]);
    cluster.add(&keys.worker("goes", &goes).slots(4));
    let mine = keys.client(&cluster, &client).await;
    let tasks = (0..4).map(|_| NewTask::new("sleep", "3s"));
    let handles = mine.submit_many(tasks).await.unwrap();
    let running = || async { mine.status().await.unwrap().running };
    tokio::time::timeout(SOON, async { while running().await < 4 {} }).await.unwrap();

    keys.authorise(&[(&client, "submit,admin"), (&stays, work)]);
    reread(&cluster);
    let revoked = Instant::now();
    eventually("it is cut", SOON, || cluster.broker().stderr().contains("key_revoked"));
    assert!(revoked.elapsed() < Duration::from_secs(1));
    cluster.add(&keys.worker("stays", &stays).slots(4));
    for mut handle in handles {
        let outcome = tokio::time::timeout(SOON, handle.outcome()).await.unwrap().unwrap();
        assert!(outcome.attempt.0 >= 2, "the other worker ran it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_change_hold_for_the_next_message_and_a_bad_file_changes_nothing() {
    let keys = Keys::new();
    let [client, other] = ["client", "other"].map(|name| keys.person(name));
    keys.authorise(&[(&client, "submit,admin kinds=a."), (&other, "admin")]);
    let cluster = keys.cluster(&[]);
    let mine = keys.client(&cluster, &client).await;
    assert!(mine.submit(NewTask::new("a.one", "")).await.is_ok());
    let denied = mine.submit(NewTask::new("b.one", "")).await.unwrap_err();
    assert!(denied.to_string().contains("kind"), "{denied}");

    keys.authorise(&[(&client, "sumbit"), (&other, "admin")]);
    reread(&cluster);
    eventually("the mistake is told", SOON, || cluster.broker().stderr().contains("stay as they were"));
    assert!(mine.submit(NewTask::new("a.two", "")).await.is_ok());

    keys.authorise(&[(&client, "admin"), (&other, "admin")]);
    reread(&cluster);
    eventually("it is read", SOON, || cluster.broker().stderr().contains("were read again"));
    let denied = mine.submit(NewTask::new("a.three", "")).await.unwrap_err();
    assert!(
        denied.to_string().contains(ErrorCode::Denied.as_str()) || denied.to_string().contains("role"),
        "{denied}"
    );
    let status = keys.client(&cluster, &other).await.status().await.unwrap();
    assert!(status.counters["denied"] >= 2, "{:?}", status.counters);
}
