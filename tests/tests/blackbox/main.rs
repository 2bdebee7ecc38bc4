//! Real processes under faults, each profile for a few seconds.
//!
//! What a run is, and how to have a longer one, tells `cargo blackbox --help`.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use ganger_tests::blackbox::{self, Profile, Settings};
use ganger_tests::dice::Dice;
use ganger_tests::procfs;
use ganger_tests::scale::{Scale, alone, shared};
use ganger_tests::wait::eventually;

/// A process that was killed is gone within this.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn without_faults_every_task_runs_once_and_settles_once() {
    holds(Profile::None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_workers_cost_no_task() {
    holds(Profile::Kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_processes_cost_no_task() {
    holds(Profile::Pause).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_costs_no_task() {
    holds(Profile::Partition).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_and_go_cost_no_task() {
    holds(Profile::Churn).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_costs_no_task_of_a_client_that_lives() {
    holds(Profile::Broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_panics_leaves_no_process_behind() {
    let _turn = alone();
    let settings = small(Profile::Kill);
    let mut was_seen = false;
    let run = blackbox::run(&settings, |moment| {
        was_seen |= !procfs::children(std::process::id()).is_empty();
        assert!(moment.faults == 0, "as planned");
    });
    assert!(AssertUnwindSafe(run).catch_unwind().await.is_err());
    assert!(was_seen);
    eventually("all processes are gone", SOON, || procfs::children(std::process::id()).is_empty());
}

/// Runs a profile at a size that fits beside the others.
async fn holds(profile: Profile) {
    let _turn = shared();
    let settings = small(profile);
    let report = blackbox::run(&settings, |_| {}).await.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{}", report.table());
    assert!(report.is_clean(), "{}", report.complaint());
}

fn small(profile: Profile) -> Settings {
    let time = Duration::from_secs(Scale::from_env().pick(5, 60));
    let usual = Settings::new(profile, time, Dice::seed_from_env());
    Settings { workers: 3, slots: 2, clients: 2, in_flight: 40, ..usual }
}
