//! What strangers say, and who may not see anything.

use std::process::Command;

use ganger_tests::binaries;
use ganger_tests::browser::Browser;
use ganger_tests::cluster::Cluster;
use ganger_tests::scale::shared;
use ganger_transport::door::SecretKey;
use serde_json::json;

use crate::house::{address, figure, opened, says, text, web};

const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\">";

#[test]
fn what_tasks_and_keys_say_stays_text() {
    let _turn = shared();
    let Some((cluster, mut browser)) = opened() else { return };
    let mut web = web(&cluster);
    web.post("/v1/tasks", &json!({"kind": HOSTILE, "payload": HOSTILE}));
    let failing = json!({"kind": "fail", "payload": format!("!{HOSTILE}")});
    let id = web.post("/v1/tasks?wait=30s", &failing).json()["id"].as_str().unwrap().to_owned();
    let put = json!(HOSTILE).to_string();
    let json_type = [("Content-Type", "application/json")];
    web.send("PUT", "/v1/knowledge/t/%3Cb%3Ekey%3C%2Fb%3E", &json_type, put.as_bytes());
    for view in ["", "tasks", &format!("tasks/{id}"), "dead", "knowledge"] {
        browser.value(&format!("location.hash = '#/{view}'"));
        browser.await_true(&says(if view == "knowledge" { "<b>key</b>" } else { HOSTILE }));
        let made =
            "document.querySelectorAll('main img, main b:not(.value):not(.legend b), main script').length";
        assert_eq!(browser.value(made), 0, "{view}");
    }
    assert_ne!(browser.value("document.title"), "owned");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn with_keys_a_token_is_asked_for_and_kept_in_the_tab_alone() {
    let _turn = shared();
    let Some(mut browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    SecretKey::generate().save(folder.path().join("broker.key").as_path(), "broker").unwrap();
    let mut keygen = Command::new(binaries::path(binaries::CLIENT));
    let output = keygen.args(["keygen", "--token", "me", "--out", &file("me.token")]).output().unwrap();
    let fingerprint = String::from_utf8(output.stdout).unwrap();
    std::fs::write(file("keys"), format!("{} submit,admin,knowledge-read\n", fingerprint.trim())).unwrap();
    let (secret, keys) = (file("broker.key"), file("keys"));
    let cluster = Cluster::start_with_http(&["--secret-key", &secret, "--authorised-keys", &keys]);
    let token = std::fs::read_to_string(file("me.token")).unwrap().trim().to_owned();

    browser.open(&address(&cluster));
    browser.await_true(&says("A token, please"));
    browser.write("dialog input", "not-the-token");
    browser.press("Enter");
    browser.await_true(&says("nobody knows this token"));
    assert_eq!(browser.value(&figure("workers")), json!("–"));
    browser.write("dialog input", &token);
    browser.press("Enter");
    browser.await_value(&figure("workers"), &json!("0"));
    browser.await_value(&text("#pulse"), &json!("ready"));
    assert_eq!(browser.value("sessionStorage.getItem('ganger-token')"), json!(token));
    let kept = browser.value("Object.values(localStorage).join()");
    assert!(!kept.as_str().unwrap().contains(&token));
    assert_eq!(browser.value("document.cookie"), json!(""));
    assert_eq!(browser.value(&text("dialog")), json!(null));
}
