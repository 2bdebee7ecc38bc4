//! A disk that has no room left, and then has some again.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ganger_client::Error;
use ganger_common::{ErrorCode, Outcome};
use ganger_tests::cluster::Cluster;
use ganger_tests::customer::Customer;
use ganger_tests::scale::shared;
use ganger_tests::wait::{eventually, until};
use ganger_tests::work;

const SOON: Duration = Duration::from_secs(30);
/// Room enough for the 64 MiB that a broker leaves free, and little more.
const DISK_BYTES: u64 = 160 << 20;

/// A small file system of this test's own.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` where this user may not mount anything.
    fn mount() -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("ganger-disk-").tempdir().unwrap();
        let size = format!("size={DISK_BYTES}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path());
        mount.output().ok()?.status.success().then_some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes up room with a file.
    fn fill(&self, bytes: u64) -> PathBuf {
        let path = self.path().join(format!("filler-{bytes}"));
        let mut file = File::create(&path).unwrap();
        let block = vec![0x5a; 1 << 20];
        for _ in 0..bytes >> 20 {
            if file.write_all(&block).is_err() {
                break; // That is what it was for.
            }
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Processes that were killed just now may still be on their way out.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_new_work_lets_the_rest_end_and_comes_back_by_itself() {
    let _turn = shared();
    let Some(disk) = Disk::mount() else {
        println!("not run: this user may not mount a file system");
        return;
    };
    let data = disk.path().join("data");
    let flags = ["--durability", "journal", "--data", data.to_str().unwrap()];
    let cluster = Cluster::start(&flags).with_diarists(1, 3);
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(1, SOON).await;
    let gates = ["one", "two"].map(|name| cluster.file(name));
    let mut running = Vec::new();
    for gate in &gates {
        running.push(customer.submit(work::gate(gate)).await);
    }

    // Little room: what is new is refused, what runs may end.
    let filler = disk.fill(DISK_BYTES - (40 << 20));
    let code = until("the broker finds no room", SOON, async || {
        match customer.client().knowledge().put("topic", "key", vec![1; 1 << 10]).await {
            Ok(_) => None,
            Err(Error::Refused { code, .. }) => Some(code),
            Err(other) => panic!("{other}"),
        }
    })
    .await;
    assert_eq!(code, ErrorCode::StorageFull);
    assert_eq!(customer.counter("journal_full").await, 1);
    let waiting = customer.client().send(work::sleep(Duration::from_millis(1))).await.unwrap();
    work::open_gate(&gates[0]);
    let first = customer.wait(running.remove(0), SOON).await;
    assert_eq!(first.outcome, Outcome::Succeeded);

    // No room at all: what ends waits to be written, and nobody is told before.
    let rest = disk.fill(DISK_BYTES);
    work::open_gate(&gates[1]);
    let stuck = || cluster.broker().stderr().contains("no room in");
    eventually("the journal has nowhere to write to", SOON, stuck);
    std::fs::remove_file(filler).unwrap();
    std::fs::remove_file(rest).unwrap();
    let second = customer.wait(running.remove(0), SOON).await;
    assert_eq!(second.outcome, Outcome::Succeeded);
    let third = customer.wait(waiting, SOON).await;
    assert_eq!(third.outcome, Outcome::Succeeded, "the broker takes new work again");
    assert!(cluster.broker().is_running());
}
