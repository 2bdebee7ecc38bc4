//! Knowledge and broadcasts.

use std::time::Duration;

use ganger_client::json::from_msgpack;
use ganger_tests::cluster::Cluster;
use ganger_tests::customer::Customer;
use ganger_tests::scale::shared;
use ganger_tests::wait::within;
use ganger_tests::web::Web;
use serde_json::json;

use crate::house::{SOON, web};

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];
const BYTES: [(&str, &str); 1] = [("Content-Type", "application/octet-stream")];

#[test]
fn a_value_is_set_read_listed_and_removed() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    let path = "/v1/knowledge/models/path%2Fto%2Fbest";
    let first = web.send("PUT", path, &JSON, b"{\"version\": 3}").json()["revision"].as_u64().unwrap();
    let entry = web.get(path).json();
    assert_eq!(
        entry,
        json!({"topic": "models", "key": "path/to/best", "revision": first, "value": {"version": 3}})
    );
    let second = web.send("PUT", "/v1/knowledge/models/raw", &BYTES, &[0xc1, 0]).json()["revision"].clone();
    assert_eq!(second, first + 1);
    let raw = web.send("GET", "/v1/knowledge/models/raw", &[("Accept", "application/octet-stream")], b"");
    assert_eq!(raw.body, [0xc1, 0]);

    let page = web.get("/v1/knowledge?prefix=mod&values=true").json();
    assert_eq!((&page["revision"], &page["more"]), (&second, &json!(false)));
    let keys: Vec<_> = page["rows"].as_array().unwrap().iter().map(|row| row["key"].clone()).collect();
    assert_eq!(keys, ["path/to/best", "raw"]);
    assert_eq!(page["rows"][1]["value"], json!({"$bytes": "c100"}));
    let after = web.get("/v1/knowledge?after_topic=models&after_key=path%2Fto%2Fbest").json();
    assert_eq!((after["rows"].as_array().unwrap().len(), after["rows"][0].get("value")), (1, None));

    assert_eq!(web.call("DELETE", path).status, 200);
    assert_eq!(web.get(path).refusal(), (404, "not_found".to_owned()));
    assert_eq!(web.get("/v1/knowledge/status").json()["entries"], 1);
}

#[test]
fn a_change_that_expects_another_revision_is_a_conflict() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    let path = "/v1/knowledge/t/k";
    let revision = web.send("PUT", &format!("{path}?expect=0"), &JSON, b"1").json()["revision"].clone();
    assert_eq!(web.send("PUT", &format!("{path}?expect=0"), &JSON, b"2").refusal().0, 409);
    assert_eq!(web.call("DELETE", &format!("{path}?expect=99")).refusal(), (409, "conflict".to_owned()));
    assert_eq!(web.send("PUT", &format!("{path}?expect={revision}"), &JSON, b"2").status, 200);
    assert_eq!(web.get(path).json()["value"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_reaches_who_listens() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let customer = Customer::connect(&cluster).await;
    let mut heard = customer.client().subscribe("news.").await.unwrap();
    let at = cluster.endpoints().http.clone().unwrap();
    let hear = async {
        loop {
            let mut web = Web::new(&at);
            let body = json!({"topic": "news.today", "body": {"n": 1}});
            let sent = tokio::task::spawn_blocking(move || web.post("/v1/publish", &body).status);
            assert_eq!(sent.await.unwrap(), 202);
            // A subscription takes a moment to reach the broker, and nobody is told when it has.
            if let Ok(broadcast) = tokio::time::timeout(Duration::from_millis(200), heard.next()).await {
                return broadcast.unwrap();
            }
        }
    };
    let broadcast = within("it is heard", SOON, hear).await;
    assert_eq!(broadcast.topic, "news.today");
    assert_eq!(from_msgpack(&broadcast.body), Some(json!({"n": 1})));
}
