//! S24: where secrets are not.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use ganger_tests::binaries;
use ganger_tests::process::Ended;

use crate::house::{Keys, SOON};

fn secret_in(path: &std::path::Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.contains("secret-key")).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_no_log_and_no_process_list_shows_a_secret() {
    let keys = Keys::new();
    let client = keys.person("client");
    keys.authorise(&[(&client, "submit,admin,work,knowledge-read")]);
    let mut cluster = keys.cluster(&["--log", "trace"]);
    cluster.add(&keys.worker("w", &client).args(&["--log", "trace"]));
    let mine = keys.client(&cluster, &client).await;
    let done = mine.submit(ganger_client::NewTask::new("echo", "x")).await.unwrap().outcome().await.unwrap();
    assert_eq!(done.result, "x");
    let broker = secret_in(&client.path.with_file_name("broker.key"));
    for process in [cluster.broker(), cluster.worker(0)] {
        for secret in [secret_in(&client.path), broker.clone()] {
            let (out, err) = (process.stdout(), process.stderr());
            assert!(!out.contains(&secret) && !err.contains(&secret), "{}", process.name());
            for file in ["cmdline", "environ"] {
                let text = std::fs::read(format!("/proc/{}/{file}", process.pid())).unwrap();
                assert!(!String::from_utf8_lossy(&text).contains(&secret), "{}: {file}", process.name());
            }
        }
    }
    cluster.worker(0).term();
    assert_eq!(cluster.worker(0).wait(SOON), Ended::Code(0));
}

#[test]
fn a_secret_that_others_can_read_is_refused_by_every_program() {
    let keys = Keys::new();
    let client = keys.person("client");
    keys.authorise(&[(&client, "submit")]);
    std::fs::set_permissions(&client.path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (file, broker) = (client.path.display().to_string(), keys.broker.to_string());
    let authorised = client.path.with_file_name("keys").display().to_string();
    for (program, args) in [
        (binaries::CLIENT, ["status", "--secret-key", &file, "--broker-key", &broker]),
        (binaries::WORKER, ["--kinds=echo", "--secret-key", &file, "--broker-key", &broker]),
        (binaries::BROKER, ["--insecure", "--secret-key", &file, "--authorised-keys", &authorised]),
    ] {
        let output = Command::new(binaries::path(program)).args(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains("chmod 600"), "{program}: {text}");
        assert!(!text.contains(&secret_in(&client.path)), "{program}: {text}");
    }
}

#[test]
fn a_key_is_made_once_and_for_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let keygen = || {
        let mut command = Command::new(binaries::path(binaries::CLIENT));
        command.args(["keygen", "alice"]).current_dir(folder.path()).output().unwrap()
    };
    let first = keygen();
    let public = String::from_utf8(first.stdout).unwrap();
    let path = folder.path().join("alice.key");
    assert!(first.status.success() && public.trim().len() == 40, "{public}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let loaded = ganger_transport::door::SecretKey::load(&path).unwrap();
    assert_eq!(loaded.public().to_string(), public.trim());
    let second = keygen();
    assert_eq!((second.status.code(), second.stdout.is_empty()), (Some(1), true), "never replaced");
}

#[test]
fn s4_beyond_loopback_a_broker_without_keys_does_not_start_and_says_what_to_do() {
    for flag in ["--clients", "--workers", "--knowledge"] {
        let output =
            Command::new(binaries::path(binaries::BROKER)).args([flag, "tcp://0.0.0.0:0"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        for says in ["ganger keygen", "--secret-key", "--authorised-keys", "docs/security.md", "--insecure"] {
            assert!(text.contains(says), "{text}");
        }
    }
}
