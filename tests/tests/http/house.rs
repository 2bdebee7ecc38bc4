//! A broker that serves HTTP.

use std::time::Duration;

use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::wait::eventually;
use ganger_tests::web::Web;
use serde_json::Value;

pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A client of a cluster's gateway.
pub(crate) fn web(cluster: &Cluster) -> Web {
    Web::new(cluster.endpoints().http.as_deref().unwrap())
}

/// A broker with one stock worker, and a client.
pub(crate) fn with_worker(broker_args: &[&str]) -> (Cluster, Web) {
    let mut cluster = Cluster::start_with_http(broker_args);
    cluster.add(&WorkerSpec::stock("w0").slots(4));
    let mut web = web(&cluster);
    eventually("the worker is there", SOON, || web.get("/v1/status").json()["workers"] == 1);
    (cluster, web)
}

/// Hands in one task, which must be taken.
pub(crate) fn submit(web: &mut Web, task: &Value) -> String {
    let answer = web.post("/v1/tasks", task);
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Waits until a task has its outcome.
pub(crate) fn outcome(web: &mut Web, id: &str) -> Value {
    let answer = web.get(&format!("/v1/tasks/{id}/result?wait=30s"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}
