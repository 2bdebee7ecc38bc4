//! A worker and a client in Python, written from the protocol page alone, against the real broker.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ganger_client::NewTask;
use ganger_tests::binaries::repository;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::Customer;
use ganger_tests::process::{Ended, Proc};
use ganger_tests::scale::shared;
use ganger_tests::work::fresh_id;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_python_serves_clients_in_rust() {
    let _turn = shared();
    let Some(python) = python() else { return };
    let cluster = Cluster::start(&[]);
    let worker = program(&python, "ganger_worker.py", &["--broker", &cluster.endpoints().workers], &cluster);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(1, SOON).await;
    let tasks = (0..200).map(|n| NewTask::new("echo", format!("from rust {n}")).id(fresh_id()));
    let outcomes = customer.run(tasks, SOON).await;
    let mut results: Vec<_> = outcomes.iter().map(|outcome| outcome.result.clone()).collect();
    let mut expected: Vec<_> = (0..200).map(|n| format!("from rust {n}")).collect();
    results.sort();
    expected.sort();
    assert_eq!(results, expected);

    // It drains like any other.
    worker.term();
    assert_eq!(worker.wait(SOON), Ended::Code(0), "{}", worker.stderr());
    let status = customer.status().await;
    assert_eq!((status.workers, status.counters["workers_left"]), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_python_is_served_by_workers_in_rust() {
    let _turn = shared();
    let Some(python) = python() else { return };
    let mut cluster = Cluster::start(&[]);
    cluster.add(&WorkerSpec::stock("rust").slots(4).args(&["--kinds", "echo"]));
    let broker = cluster.endpoints().clients.clone();
    let client =
        program(&python, "ganger_client.py", &["--broker", &broker, "echo", "from python"], &cluster);
    let ended = client.wait(SOON);
    assert_eq!(ended, Ended::Code(0), "{}", client.stderr());
    assert!(client.stdout().contains("from python"), "{}", client.stdout());
}

#[tokio::test(flavor = "multi_thread")]
async fn python_serves_python() {
    let _turn = shared();
    let Some(python) = python() else { return };
    let cluster = Cluster::start(&[]);
    let at = cluster.endpoints();
    let _worker = program(&python, "ganger_worker.py", &["--broker", &at.workers], &cluster);
    let client = program(&python, "ganger_client.py", &["--broker", &at.clients, "echo", "hola"], &cluster);
    assert_eq!(client.wait(SOON), Ended::Code(0), "{}", client.stderr());
    assert!(client.stdout().contains("hola"), "{}", client.stdout());
}

fn program(python: &Path, script: &str, args: &[&str], cluster: &Cluster) -> Proc {
    let mut command = Command::new(python);
    command.arg("-u").arg(repository().join("examples/python").join(script)).args(args);
    Proc::spawn(script, command, cluster.directory())
}

fn python() -> Option<PathBuf> {
    ganger_tests::python::python(Path::new(env!("CARGO_TARGET_TMPDIR")))
}
