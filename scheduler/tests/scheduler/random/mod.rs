//! Anything in any order: several clients and workers that fail, repeat themselves and come back, a slow
//! journal, a broker that stalls and restarts.

mod against_model;
mod hearing;
mod model;
mod oracle;
mod peers;
mod settling;
mod sim;
mod steps;

use ganger_common::message::Durability;
use proptest::prelude::*;

use sim::Sim;
use steps::{Step, steps, steps_with_discards};

use crate::support::*;

fn run(steps: &[Step], set: impl FnOnce(&mut ganger_scheduler::Config)) -> Sim {
    let mut sim = Sim::new(set);
    for step in steps {
        sim.step(step);
    }
    sim
}

fn small(config: &mut ganger_scheduler::Config) {
    (config.retain_bytes_max, config.dead_set_max) = (5 * 200, 3);
    (config.knowledge_history_max, config.client_window, config.client_backlog_max) = (3, 2, 6);
    (config.queue_tasks_max, config.workers_max) = (12, 4);
    config.retain_for = secs(2);
}

/// Few enough for every change; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases: 100, ..default },
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn i12_when_faults_end_everything_accepted_settles_exactly_once(steps in steps(150)) {
        let mut sim = run(&steps, |_| ());
        sim.settle_down();
        sim.check_everything_settled();
    }

    #[test]
    fn i12_what_clients_wait_for_settles_though_the_broker_forgets_everything(steps in steps(150)) {
        let mut sim = Sim::new(|config| config.durability = Durability::Memory);
        sim.in_memory = true;
        steps.iter().for_each(|step| sim.step(step));
        sim.settle_down();
        sim.check_everything_settled();
    }

    #[test]
    fn i10_what_is_recovered_equals_what_lives(steps in steps_with_discards(120)) {
        let mut sim = run(&steps, |_| ());
        sim.check_recovery();
    }

    #[test]
    fn i15_everything_stays_within_its_bounds(steps in steps_with_discards(150)) {
        let mut sim = run(&steps, small);
        sim.check_recovery();
        sim.settle_down();
        prop_assert_eq!(sim.unsettled(), 0);
        sim.check_bounds();
    }

    #[test]
    fn the_same_inputs_give_the_same_effects(steps in steps_with_discards(120)) {
        let (mut one, mut two) = (run(&steps, |_| ()), run(&steps, |_| ()));
        prop_assert!(one.log == two.log);
        one.settle_down();
        two.settle_down();
        prop_assert!(one.log == two.log);
    }
}
