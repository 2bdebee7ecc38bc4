//! Threads end with what they serve. Alone in its process, because it counts them.
#![cfg(target_os = "linux")]

use std::time::Duration;

use ganger_transport::zmq::{ZmqConnector, ZmqPublisher, ZmqServer};
use ganger_transport::{Connection, Connector, Endpoint, Limits, Server};

fn socket_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end between its listing and the reading of its name.
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "ganger-zmq-io").count()
}

async fn socket_threads_become(expected: usize) {
    let become_so = async {
        while socket_threads() != expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), become_so).await.expect("threads that should have ended");
}

#[tokio::test]
async fn threads_end_with_what_they_serve() {
    let anywhere: Endpoint = "tcp://127.0.0.1:0".parse().unwrap();
    let limits = Limits::default();
    let server = ZmqServer::bind(&anywhere, limits.clone()).await.unwrap();
    let publisher = ZmqPublisher::bind(&anywhere, limits.clone()).await.unwrap();
    assert_eq!(socket_threads(), 2);

    let connector = ZmqConnector::default();
    let endpoint = server.endpoint().clone();
    let first = connector.connect(&endpoint, &limits).await.unwrap();
    let second = connector.clone().connect(&endpoint, &limits).await.unwrap();
    assert_eq!(socket_threads(), 3, "one serves all connections of a connector");
    drop((connector, first));
    assert!(second.try_send("still here".into()).is_ok());
    second.close(Duration::from_secs(10)).await;
    socket_threads_become(2).await;

    server.shutdown(Duration::ZERO).await;
    socket_threads_become(1).await;
    drop(publisher);
    socket_threads_become(0).await;
}
