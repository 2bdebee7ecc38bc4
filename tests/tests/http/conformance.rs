//! The interface against its own description, by a program that makes requests of it: right ones, wrong ones, and
//! ones that follow from earlier answers.

use std::path::Path;
use std::process::Command;

use ganger_tests::binaries::repository;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::python::schemathesis;
use ganger_tests::scale::{Scale, shared};
use ganger_tests::wait::eventually;

use crate::house::{SOON, web};

#[test]
fn schemathesis_finds_no_500_and_nothing_that_the_description_does_not_say() {
    let _turn = shared();
    let Some(python) = schemathesis(Path::new(env!("CARGO_TARGET_TMPDIR"))) else { return };
    let mut cluster = Cluster::start_with_http(&[]);
    cluster.add(&WorkerSpec::stock("w0").slots(4));
    let mut web = web(&cluster);
    eventually("the worker is there", SOON, || web.get("/v1/status").json()["workers"] == 1);
    let at = cluster.endpoints().http.clone().unwrap();
    let mut command = Command::new(python);
    command.args(["-m", "schemathesis.cli", "--config-file"]);
    command.arg(repository().join("tests/tests/http/schemathesis.toml"));
    command.args(["run", &format!("http://{at}/v1/openapi.json"), "--no-color"]);
    command.args(["--max-examples", Scale::from_env().pick("5", "300")]);
    let output = command.current_dir(cluster.directory()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{wrong}");
    println!("{said}");
    assert_eq!(web.get("/health").status, 200);
    assert!(!cluster.broker().stderr().contains("panicked"));
}
