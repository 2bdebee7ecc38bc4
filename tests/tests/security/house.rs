//! A broker with keys, and people who have some.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ganger_client::{Client, ClientConfig};
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_transport::door::{ClientKeys, PublicKey, SecretKey};
use tempfile::TempDir;

pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The keys, in files of their own.
pub(crate) struct Keys {
    folder: TempDir,
    pub(crate) broker: PublicKey,
}

/// Somebody with a key.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) path: PathBuf,
    pub(crate) secret: SecretKey,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = SecretKey::generate();
        secret.save(&folder.path().join("broker.key"), "broker").unwrap();
        Self { folder, broker: secret.public() }
    }

    pub(crate) fn person(&self, name: &str) -> Person {
        let (path, secret) = (self.folder.path().join(format!("{name}.key")), SecretKey::generate());
        secret.save(&path, name).unwrap();
        Person { path, secret }
    }

    /// Writes down who may do what.
    pub(crate) fn authorise(&self, rights: &[(&Person, &str)]) {
        let lines = rights.iter().map(|(person, rights)| format!("{} {rights}\n", person.secret.public()));
        std::fs::write(self.folder.path().join("keys"), lines.collect::<String>()).unwrap();
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(crate) fn cluster(&self, more: &[&str]) -> Cluster {
        let (secret, keys) = (self.file("broker.key"), self.file("keys"));
        let mut args = vec!["--secret-key", &secret, "--authorised-keys", &keys];
        args.extend(more);
        Cluster::start(&args)
    }

    pub(crate) fn worker(&self, name: &str, person: &Person) -> WorkerSpec {
        let (secret, broker) = (person.path.display().to_string(), self.broker.to_string());
        WorkerSpec::stock(name).args(&["--secret-key", &secret, "--broker-key", &broker])
    }

    /// What this person needs to connect.
    pub(crate) fn of(&self, person: &Person) -> ClientKeys {
        ClientKeys { secret: person.secret.clone(), broker: self.broker }
    }

    pub(crate) async fn client(&self, cluster: &Cluster, person: &Person) -> Client {
        let keys = Some(self.of(person));
        Client::connect(ClientConfig { keys, ..ClientConfig::new(cluster.clients()) }).await.unwrap()
    }

    /// The environment of a program of this person, ours or another's.
    pub(crate) fn environment<'a>(&self, command: &'a mut Command, person: &Person) -> &'a mut Command {
        command.env("GANGER_SECRET_KEY", &person.path).env("GANGER_BROKER_KEY", self.broker.to_string())
    }
}

pub(crate) fn python() -> Option<PathBuf> {
    ganger_tests::python::python(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

pub(crate) fn reread(cluster: &Cluster) {
    let pid = cluster.broker().pid().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
}
