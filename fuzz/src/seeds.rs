//! Where the fuzzer begins: the worked examples, and every kind of step once.

use crate::golden::{self, Direction};

/// One seed.
#[derive(Debug)]
pub struct Seed {
    /// The folder of its target, and its name.
    pub path: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// In a [conversation](conversation) decisions that are not named are the first of their alternatives, and
/// so many of them come before the first step.
const SETUP: usize = 8;
/// Steps of one kind in a row: enough for what one of them begins to be ended by another.
const REPEATED: u8 = 12;

/// Every seed.
pub fn all() -> Vec<Seed> {
    let mut seeds: Vec<Seed> =
        golden::EXAMPLES.iter().map(|example| seed("codec", example.title, example.bytes.clone())).collect();
    let targets = [
        // The steps that say an example, up to the choice among examples, as the targets read them.
        ("broker", Direction::FromClient, &[8, 0, 0][..], 16),
        ("broker", Direction::FromWorker, &[8, 1, 0], 0),
        ("client_session", Direction::ToClient, &[0, 8, 0], 12),
        ("worker_session", Direction::ToWorker, &[0, 12, 0], 16),
    ];
    for (target, direction, say, steps) in targets {
        let examples = golden::EXAMPLES.iter().filter(|example| example.direction == direction);
        for (place, example) in examples.enumerate() {
            let said = [say, &[place as u8, 0]].concat();
            seeds.push(seed(target, example.title, conversation(&said.repeat(2))));
        }
        for step in 0..steps {
            let decisions: Vec<u8> = (0..REPEATED).flat_map(|turn| [step, turn, turn / 2, 1, turn]).collect();
            seeds.push(seed(target, &format!("step {step}"), conversation(&decisions)));
        }
    }
    seeds
}

fn seed(target: &str, title: &str, bytes: Vec<u8>) -> Seed {
    Seed { path: format!("{target}/{}", title.replace(' ', "-")), bytes }
}

fn conversation(steps: &[u8]) -> Vec<u8> {
    [&[0; SETUP], steps].concat()
}
