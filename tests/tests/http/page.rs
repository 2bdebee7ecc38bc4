//! The page for people, as a server sees to it. What it does in a browser is in `tests/tests/page`.

use ganger_tests::cluster::Cluster;
use ganger_tests::scale::shared;
use serde_json::json;

use crate::house::web;

#[test]
fn the_page_is_served_with_a_policy_that_runs_nothing_but_its_own_files() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    let page = web.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let text = page.text();
    let named: Vec<&str> =
        text.split("\"/assets/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(named.contains(&"main.js") && named.contains(&"style.css"), "{named:?}");
    for name in named {
        assert_eq!(web.get(&format!("/assets/{name}")).status, 200, "{name}");
    }
    assert_eq!(web.send("HEAD", "/", &[], b"").status, 200);
}

#[test]
fn the_page_comes_from_a_link_anywhere_but_its_questions_do_not() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    let foreign = [("Sec-Fetch-Site", "cross-site"), ("Host", "broker.example")];
    assert_eq!(web.send("GET", "/", &foreign, b"").status, 200);
    assert_eq!(web.send("GET", "/v1/status", &foreign, b"").refusal(), (403, "foreign".to_owned()));
    let missing = web.get("/assets/nothing.js");
    assert_eq!(missing.refusal(), (404, "no_route".to_owned()));
    assert_eq!(web.post("/", &json!({})).refusal(), (405, "wrong_method".to_owned()));
    assert_eq!(web.get("/assets/../Cargo.toml").status, 404);
}
