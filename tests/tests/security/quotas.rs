//! Quotas, over the end of a broker.

use ganger_common::codec::Blob;
use ganger_common::message::{FromClient, NewTask, Submit, TaskList, ToClient};
use ganger_common::{ErrorCode, TaskId};
use ganger_tests::cluster::Cluster;
use ganger_tests::raw::Raw;
use uuid::Uuid;

use crate::house::{Keys, Person};

async fn client(keys: &Keys, cluster: &Cluster, person: &Person) -> Raw {
    let mut client = Raw::connect_as(keys.of(person), &cluster.clients()).await;
    client.hello_client().await;
    client
}

/// Hands tasks in that nobody serves, and says which places were refused, and why.
async fn submit(client: &mut Raw, seq: u64, ids: &[TaskId]) -> Vec<(u32, ErrorCode)> {
    let task = |id: &TaskId| NewTask { id: *id, kind: "nobody".into(), payload: Blob(b"x"), options: None };
    let tasks: Vec<NewTask<'_>> = ids.iter().map(task).collect();
    client.say(&FromClient::Submit(Submit { seq, again: false, tasks: tasks.into() }));
    client
        .hear(|message| match message {
            ToClient::Accepted(accepted) if accepted.seq == seq => {
                Some(accepted.refused.iter().map(|item| (item.index, item.code)).collect())
            }
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn s19_a_quota_counts_what_the_broker_has_from_its_last_life() {
    let keys = Keys::new();
    let [tenant, other] = ["tenant", "other"].map(|name| keys.person(name));
    keys.authorise(&[(&tenant, "submit tasks=2"), (&other, "submit tasks=2")]);
    let mut cluster = keys.cluster(&["--durability", "journal"]);
    let ids: Vec<TaskId> = (0..5).map(|_| TaskId(Uuid::now_v7())).collect();
    let mut mine = client(&keys, &cluster, &tenant).await;
    assert_eq!(submit(&mut mine, 1, &ids[..3]).await, [(2, ErrorCode::Busy)]);

    cluster.broker().kill();
    cluster.restart_broker();
    let mut mine = client(&keys, &cluster, &tenant).await;
    assert_eq!(submit(&mut mine, 1, &ids[2..3]).await, [(0, ErrorCode::Busy)], "two are still queued");
    assert_eq!(submit(&mut mine, 2, &ids[..2]).await, [], "the same again");
    let mut theirs = client(&keys, &cluster, &other).await;
    assert_eq!(submit(&mut theirs, 1, &ids[3..]).await, [], "everybody has their own");

    mine.say(&FromClient::Cancel(TaskList { req: 9, tasks: vec![ids[0]].into() }));
    mine.hear(|message| matches!(message, ToClient::Verdicts(verdicts) if verdicts.req == 9).then_some(()))
        .await;
    assert_eq!(submit(&mut mine, 3, &ids[2..3]).await, [], "there is room again");
}
