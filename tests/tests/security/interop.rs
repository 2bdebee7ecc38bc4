//! libzmq with CURVE and heartbeats, through pyzmq, in all four places: client, worker, subscriber, and as
//! the ROUTER that a client of ours connects to.

use std::path::Path;
use std::process::Command;

use ganger_client::NewTask;
use ganger_tests::binaries::repository;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::process::{Ended, Proc};
use ganger_tests::wait::eventually;
use ganger_transport::door::{ClientKeys, SecretKey};
use ganger_transport::zmq::ZmqConnector;
use ganger_transport::{Connection, Connector, Limits};

use crate::house::{Keys, Person, SOON, python};

fn script(python: &Path, keys: &Keys, who: &Person, name: &str, args: &[&str], cluster: &Cluster) -> Proc {
    let mut command = Command::new(python);
    command.arg("-u").arg(repository().join("examples/python").join(name)).args(args);
    keys.environment(&mut command, who);
    Proc::spawn(name, command, cluster.directory())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_a_worker_and_a_subscriber_on_libzmq_are_served_encrypted() {
    let Some(python) = python() else { return };
    let keys = Keys::new();
    let [ours, theirs] = ["ours", "theirs"].map(|name| keys.person(name));
    let all = "submit,work,knowledge-read,knowledge-write,admin";
    keys.authorise(&[(&ours, all), (&theirs, all)]);
    let mut cluster = keys.cluster(&[]);
    cluster.add(&keys.worker("rust", &ours).args(&["--kinds", "echo"]));
    let at = cluster.endpoints().clone();
    let worker = script(&python, &keys, &theirs, "ganger_worker.py", &["--broker", &at.workers], &cluster);

    // Their client, our worker.
    let args = ["--broker", &at.clients, "echo", "from python"];
    let client = script(&python, &keys, &theirs, "ganger_client.py", &args, &cluster);
    assert_eq!(client.wait(SOON), Ended::Code(0), "{}", client.stderr());
    assert!(client.stdout().contains("from python"), "{}", client.stdout());

    // Our client, their worker.
    let mine = keys.client(&cluster, &ours).await;
    let mut handle = mine.submit(NewTask::new("py.upper", "from rust")).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap().result, "FROM RUST");

    // Their client, their worker, which hears of the change by its subscription.
    let args = [
        "--broker",
        &at.clients,
        "py.know",
        "--tasks",
        "10",
        "--put",
        "app/colour=green",
        "--get",
        "app/colour",
    ];
    let client = script(&python, &keys, &theirs, "ganger_client.py", &args, &cluster);
    assert_eq!(client.wait(SOON), Ended::Code(0), "{}", client.stderr());
    assert!(client.stdout().contains("green"), "{}", client.stdout());
    worker.term();
    assert_eq!(worker.wait(SOON), Ended::Code(0), "{}", worker.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_listed_key_or_trusts_another_broker_is_refused_with_a_reason() {
    let Some(python) = python() else { return };
    let keys = Keys::new();
    let [listed, stranger] = ["listed", "stranger"].map(|name| keys.person(name));
    keys.authorise(&[(&listed, "submit")]);
    let cluster = keys.cluster(&[]);
    let at = cluster.endpoints().clone();
    let args = ["--broker", &at.clients, "--timeout", "3", "echo", "x"];
    let other = Keys::new();
    let cases = [
        ("a key that is not listed", Some((&keys, &stranger)), "key_not_allowed"),
        ("the key of another broker", Some((&other, &listed)), "bad_curve"),
        // libzmq hangs up by itself when it sees that CURVE is asked for.
        ("no key", None, "here one speaks CURVE"),
    ];
    for (what, keys, reason) in cases {
        let refused = match keys {
            Some((keys, who)) => script(&python, keys, who, "ganger_client.py", &args, &cluster),
            None => {
                let mut command = Command::new(&python);
                command.arg(repository().join("examples/python/ganger_client.py")).args(args);
                Proc::spawn("plain", command, cluster.directory())
            }
        };
        assert_eq!(refused.wait(SOON), Ended::Code(3), "{what}: {}", refused.stdout());
        eventually(what, SOON, || cluster.broker().stderr().contains(reason));
    }
    let mine = keys.client(&cluster, &listed).await;
    assert!(mine.status().await.is_ok(), "who is listed is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_ours_talks_to_a_router_of_libzmq() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (server, ours) = (SecretKey::generate(), SecretKey::generate());
    let path = folder.path().join("router.key");
    server.save(&path, "router").unwrap();
    let mut command = Command::new(python);
    command.arg("-u").arg(repository().join("tests/tests/security/router.py")).arg(&path);
    let router = Proc::spawn("router", command, folder.path());
    let port = || router.stdout().trim().parse::<u16>().ok();
    eventually("it listens", SOON, || port().is_some());
    let port = port().unwrap();
    let endpoint = format!("tcp://127.0.0.1:{port}").parse().unwrap();
    let keys = ClientKeys { secret: ours.clone(), broker: server.public() };
    let connector = ZmqConnector::with_keys(keys);
    let mut connection = connector.connect(&endpoint, &Limits::default()).await.unwrap();
    // It answers after several of its heartbeats, so those were answered.
    for text in ["one", "two"] {
        connection.try_send(text.into()).unwrap();
        let answer = tokio::time::timeout(SOON, connection.recv()).await.unwrap().unwrap();
        assert_eq!(answer, format!("heard {text}"));
    }
    let wrong = ClientKeys { secret: ours.clone(), broker: ours.public() };
    let refused = ZmqConnector::with_keys(wrong).connect(&endpoint, &Limits::default()).await;
    assert!(refused.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_worker_without_keys_gets_nothing() {
    let keys = Keys::new();
    let listed = keys.person("listed");
    keys.authorise(&[(&listed, "submit,admin")]);
    let mut cluster = keys.cluster(&[]);
    cluster.add(&WorkerSpec::stock("stranger"));
    cluster.add(&keys.worker("submitter", &listed));
    for reason in ["wrong_mechanism", "key_not_allowed"] {
        eventually(reason, SOON, || cluster.broker().stderr().contains(reason));
    }
    let status = keys.client(&cluster, &listed).await.status().await.unwrap();
    assert_eq!(status.workers, 0);
}
