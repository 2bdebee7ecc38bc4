//! Who may do what over HTTP, with keys.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use ganger_tests::binaries;
use ganger_tests::cluster::Cluster;
use ganger_tests::scale::shared;
use ganger_tests::wait::eventually;
use ganger_tests::web::{Answer, Web};
use ganger_tests::ws::Ws;
use ganger_transport::door::SecretKey;
use serde_json::json;
use tempfile::TempDir;

use crate::house::SOON;

/// A broker with keys, and the file that says who may do what.
pub(crate) struct Keyed {
    folder: TempDir,
    cluster: Option<Cluster>,
}

impl Keyed {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        SecretKey::generate().save(&folder.path().join("broker.key"), "broker").unwrap();
        Self { folder, cluster: None }
    }

    /// Makes a token as an operator does; returns it with its fingerprint.
    pub(crate) fn token(&self, name: &str) -> (String, String) {
        let path = self.folder.path().join(format!("{name}.token"));
        let mut command = Command::new(binaries::path(binaries::CLIENT));
        let output = command.args(["keygen", "--token", name, "--out"]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let token = std::fs::read_to_string(path).unwrap().trim().to_owned();
        (token, String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    pub(crate) fn authorise(&self, lines: &[&str]) {
        std::fs::write(self.folder.path().join("keys"), lines.join("\n")).unwrap();
    }

    pub(crate) fn start(&mut self) {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let (secret, keys) = (file("broker.key"), file("keys"));
        let args = ["--secret-key", &secret, "--authorised-keys", &keys];
        self.cluster = Some(Cluster::start_with_http(&args));
    }

    fn reread(&self) {
        let broker = self.cluster.as_ref().unwrap().broker();
        let seen = broker.stderr().matches("were read again").count();
        let pid = broker.pid().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
        eventually("it is read", SOON, || broker.stderr().matches("were read again").count() > seen);
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().unwrap()
    }

    pub(crate) fn web(&self) -> Web {
        crate::house::web(self.cluster.as_ref().unwrap())
    }
}

fn hand_in(web: &mut Web, kind: &str) -> Answer {
    web.post("/v1/tasks", &json!({"kind": kind}))
}

#[test]
fn i20_whoever_shows_nothing_may_do_nothing_unless_the_file_says_so() {
    let _turn = shared();
    let mut keyed = Keyed::new();
    keyed.authorise(&[]);
    keyed.start();
    let mut web = keyed.web();
    for path in ["/v1/status", "/v1/tasks", "/v1/workers", "/metrics", "/v1/knowledge"] {
        let answer = web.get(path);
        assert_eq!(answer.refusal(), (401, "unauthenticated".to_owned()));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(hand_in(&mut web, "a").refusal().0, 401);
    assert_eq!(keyed.web().with_token("ganger_0").get("/v1/status").refusal().0, 401);
    for path in ["/health", "/ready", "/v1/openapi.json"] {
        assert_eq!(web.get(path).status, 200, "{path}");
    }
    keyed.authorise(&["local submit kinds=a. # whoever is here"]);
    keyed.reread();
    assert_eq!(hand_in(&mut web, "a.1").status, 202);
    assert_eq!(hand_in(&mut web, "b.1").refusal(), (403, "denied".to_owned()));
    assert_eq!(web.get("/v1/workers").refusal(), (403, "denied".to_owned()));
    for forwarded in [("Forwarded", "for=192.0.2.1"), ("X-Forwarded-For", "192.0.2.1")] {
        assert_eq!(web.send("GET", "/v1/status", &[forwarded], b"").refusal().0, 401);
    }
}

#[test]
fn i20_a_token_gives_the_rights_of_its_line_and_no_more() {
    let _turn = shared();
    let mut keyed = Keyed::new();
    let ((shop, shop_line), (boss, boss_line)) = (keyed.token("shop"), keyed.token("boss"));
    let lines =
        [format!("{shop_line} submit kinds=thumb. tasks=2 # the shop"), format!("{boss_line} admin,submit")];
    keyed.authorise(&lines.each_ref().map(String::as_str));
    keyed.start();
    let (mut shop, mut boss) = (keyed.web().with_token(&shop), keyed.web().with_token(&boss));
    let mine = hand_in(&mut shop, "thumb.small").json()["id"].as_str().unwrap().to_owned();
    assert_eq!(hand_in(&mut shop, "mail").refusal(), (403, "denied".to_owned()));
    let theirs = hand_in(&mut boss, "mail").json()["id"].as_str().unwrap().to_owned();
    assert_eq!(shop.get(&format!("/v1/tasks/{theirs}")).refusal(), (403, "denied".to_owned()));
    assert_eq!(shop.call("DELETE", &format!("/v1/tasks/{theirs}")).refusal().0, 403);
    assert_eq!(shop.get(&format!("/v1/tasks/{mine}")).status, 200);
    assert_eq!(shop.get("/v1/knowledge").refusal(), (403, "denied".to_owned()));
    assert_eq!(hand_in(&mut shop, "thumb.two").status, 202);
    assert_eq!(hand_in(&mut shop, "thumb.three").refusal(), (429, "busy".to_owned()));
    for path in ["/v1/kinds/thumb.small/pause", "/v1/kinds/thumb.small/resume"] {
        assert_eq!(shop.call("POST", path).refusal(), (403, "denied".to_owned()));
        assert_eq!(boss.call("POST", path).status, 204);
    }
    let everything = json!({"all": true});
    assert_eq!(shop.post("/v1/dead/discard", &everything).refusal(), (403, "denied".to_owned()));
    assert_eq!(boss.post("/v1/dead/discard", &everything).status, 200);
    assert_eq!(boss.get("/v1/workers").status, 200);
    assert_eq!(boss.call("DELETE", &format!("/v1/tasks/{mine}")).status, 204);
}

#[test]
fn i20_a_token_that_is_taken_away_is_nobodys_from_then_on() {
    let _turn = shared();
    let mut keyed = Keyed::new();
    let (token, line) = keyed.token("gone");
    keyed.authorise(&[&format!("{line} submit,admin")]);
    keyed.start();
    let mut web = keyed.web().with_token(&token);
    assert_eq!(hand_in(&mut web, "a").status, 202);
    keyed.authorise(&[&format!("{line} admin")]);
    keyed.reread();
    assert_eq!(hand_in(&mut web, "a").refusal(), (403, "denied".to_owned()));
    keyed.authorise(&[]);
    keyed.reread();
    assert_eq!(web.get("/v1/status").refusal(), (401, "unauthenticated".to_owned()));
}

#[test]
fn i20_a_watcher_sees_what_its_token_reaches_and_nothing_once_that_is_gone() {
    let _turn = shared();
    let mut keyed = Keyed::new();
    let ((shop, shop_line), (boss, boss_line)) = (keyed.token("shop"), keyed.token("boss"));
    let lines =
        [format!("{shop_line} submit kinds=thumb."), format!("{boss_line} admin,submit,knowledge-read")];
    keyed.authorise(&lines.each_ref().map(String::as_str));
    keyed.start();
    let at = keyed.cluster.as_ref().unwrap().endpoints().http.clone().unwrap();
    assert_eq!(Ws::try_connect(&at, &[]).unwrap_err(), 401);
    assert_eq!(keyed.web().get("/v1/events").refusal().0, 401);
    // As a page does, which cannot set a header.
    let mut watcher =
        Ws::try_connect(&at, &[("Sec-WebSocket-Protocol", &format!("ganger, bearer.{shop}"))]).unwrap();
    watcher.say(&json!({"req": 1, "do": "watch", "types": ["worker_lost"]}));
    assert_eq!(watcher.hear().unwrap()["code"], "denied");
    watcher.say(&json!({"req": 2, "do": "watch"}));
    assert_eq!(watcher.hear().unwrap()["type"], "watching");
    let mut boss = keyed.web().with_token(&boss);
    hand_in(&mut boss, "mail");
    hand_in(&mut boss, "thumb.small");
    assert_eq!(watcher.hear().unwrap()["event"]["kind"], "thumb.small");
    watcher.say(&json!({"req": 3, "do": "submit", "tasks": [{"kind": "mail"}]}));
    assert_eq!(watcher.hear().unwrap()["code"], "denied");
    keyed.authorise(&[&lines[1]]);
    keyed.reread();
    let last = watcher.hear().unwrap();
    assert_eq!((&last["req"], &last["code"]), (&json!(2), &json!("unauthenticated")));
    watcher.say(&json!({"req": 4, "do": "submit", "tasks": [{"kind": "thumb.small"}]}));
    assert_eq!(watcher.hear().unwrap()["type"], "error");
}
