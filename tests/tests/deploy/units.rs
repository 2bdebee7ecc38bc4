//! Units of systemd, scripts, and what else is copied from here.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use ganger_broker::{Broker, Config};
use ganger_tests::binaries::{self, repository};
use ganger_tests::cluster::Cluster;
use ganger_tests::scale::shared;
use ganger_tests::web::Web;

fn deploy(name: &str) -> String {
    std::fs::read_to_string(repository().join("deploy").join(name)).unwrap()
}

/// The units, with the programs of this build in the place of installed ones.
#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]);
    for (unit, program) in
        [("ganger-broker.service", binaries::BROKER), ("ganger-worker@.service", binaries::WORKER)]
    {
        let installed = format!("/usr/local/bin/{program}");
        let built = binaries::path(program).display().to_string();
        let text = deploy(&format!("systemd/{unit}"));
        assert!(text.contains(&format!("ExecStart={installed} ")), "{unit} starts {installed}");
        let name = unit.replace("@.", "@1.");
        std::fs::write(folder.path().join(unit), text.replace(&installed, &built)).unwrap();
        command.arg(folder.path().join(name));
    }
    let Ok(output) = command.output() else { return eprintln!("SKIPPED: there is no systemd-analyze here") };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // It also tells of units of this machine.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("ganger")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}

#[test]
fn the_script_makes_keys_with_which_a_broker_starts_and_lets_in_whom_it_should() {
    let _turn = shared();
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let make = || {
        let programs = binaries::path(binaries::CLIENT);
        let path = format!("{}:/usr/bin:/bin", programs.parent().unwrap().display());
        let mut command = Command::new("sh");
        command.arg(repository().join("deploy/keys.sh")).arg(&keys).env("PATH", path);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        std::fs::read_to_string(keys.join("authorised-keys")).unwrap()
    };
    let made = make();
    assert_eq!(make(), made, "what is there is left as it is");
    for secret in ["broker.key", "worker.key", "operator.key", "operator.token", "prometheus.token"] {
        let mode = std::fs::metadata(keys.join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{secret}");
    }
    let file = |name: &str| keys.join(name).display().to_string();
    let args = ["--secret-key", &file("broker.key"), "--authorised-keys", &file("authorised-keys")];
    let cluster = Cluster::start_with_http(&args);
    let at = cluster.endpoints().http.as_deref().unwrap();
    let with = |token: &str| Web::new(at).with_token(read(&keys.join(token)).trim());
    assert_eq!(with("prometheus.token").get("/metrics").status, 200);
    for path in ["/v1/workers", "/v1/tasks", "/v1/knowledge/a/b"] {
        assert_eq!(with("prometheus.token").get(path).status, 403, "{path}");
    }
    assert_eq!(with("operator.token").get("/v1/workers").status, 200);
    assert_eq!(Web::new(at).get("/metrics").status, 401);
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The flags of the broker in the compose file, with its own paths and addresses changed for those of a test.
#[test]
fn the_broker_of_the_compose_file_has_flags_that_there_are() {
    let text = deploy("compose.yaml");
    let (_, broker) = text.split_once("\n  broker:\n").unwrap();
    let (broker, _) = broker.split_once("\n    depends_on:").unwrap();
    let flags: Vec<&str> = broker.lines().filter_map(|line| line.trim().strip_prefix("- --")).collect();
    assert!(flags.len() > 5, "{flags:?}");
    let flags = flags.iter().map(|flag| format!("--{flag}"));
    let args = <ganger_broker::args::Args as clap::Parser>::try_parse_from(
        ["ganger-broker".to_owned()].into_iter().chain(flags),
    );
    let config = Config::from_args(args.unwrap()).unwrap();
    // It gets as far as the keys, which are not here.
    let refused = Broker::start(config).unwrap_err().to_string();
    assert!(refused.contains("broker.key"), "{refused}");
}
