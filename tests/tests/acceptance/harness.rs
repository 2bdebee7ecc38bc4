//! The harness itself: what it promises to whoever runs these tests.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ganger_tests::cluster::Cluster;
use ganger_tests::process::{Ended, Proc, adopt_orphans, bury};
use ganger_tests::procfs;
use ganger_tests::scale::shared;
use ganger_tests::wait::eventually;

const SOON: Duration = Duration::from_secs(30);
/// Tells the second life of this test where to write down what it has started.
const NOTE: &str = "HARNESS_NOTE";

#[test]
fn nothing_is_left_behind_when_a_test_is_killed() {
    let _turn = shared();
    adopt_orphans();
    let directory = tempfile::tempdir().unwrap();
    let note = directory.path().join("pids");
    // The programs are built by now, and need not be by the other life.
    let programs = ganger_tests::binaries::path(ganger_tests::binaries::BROKER);
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "harness::starts_a_cluster_and_waits_to_be_killed", "--ignored"]);
    again.env(NOTE, &note).env("GANGER_TEST_BINARIES", programs.parent().unwrap());
    let test = Proc::spawn("test", again, directory.path());
    let mut pids = Vec::new();
    eventually("the other life has started its programs", SOON, || {
        assert!(test.is_running(), "it has ended: {}{}", test.stdout(), test.stderr());
        pids = read_pids(&note);
        pids.len() == 3
    });
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    test.kill();
    eventually("everything has ended with the test", SOON, || !pids.iter().any(|pid| is_alive(*pid)));
    pids.into_iter().for_each(bury);
}

/// Not a test of its own: the other life of the one above.
#[test]
#[ignore = "runs only within another test"]
fn starts_a_cluster_and_waits_to_be_killed() {
    let Some(note) = std::env::var_os(NOTE) else { return };
    let cluster = Cluster::start(&[]).with_diarists(2, 1);
    let pids: Vec<String> = std::iter::once(cluster.broker())
        .chain(cluster.workers())
        .map(|proc| proc.pid().to_string())
        .collect();
    std::fs::write(note, pids.join(" ")).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_process_ends_with_the_value_that_stands_for_it() {
    let _turn = shared();
    let directory = tempfile::tempdir().unwrap();
    let start = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Proc::spawn("shell", command, directory.path())
    };
    assert_eq!(start("exit 3").wait(SOON), Ended::Code(3));
    adopt_orphans();
    // What it started itself ends with it, too.
    let family = start("sleep 1000 & echo $!; wait");
    eventually("it names its child", SOON, || family.stdout().trim().parse::<u32>().is_ok());
    let child: u32 = family.stdout().trim().parse().unwrap();
    family.stop();
    assert_eq!(procfs::state(family.pid()), Some('T'));
    drop(family);
    eventually("its child has ended", SOON, || !is_alive(child));
    bury(child);

    let killed = start("kill -KILL $$");
    assert_eq!(killed.wait(SOON), Ended::Signal(9));
    assert!(!killed.is_running());
}

fn read_pids(note: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(note).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn is_alive(pid: u32) -> bool {
    procfs::state(pid).is_some_and(|state| state != 'Z')
}
