//! One seed, one story.

use ganger_tests::sim::run;

use crate::story;

#[test]
fn the_same_seed_gives_the_same_trace() {
    for (profile, seed) in (40..50).map(story) {
        let (one, other) = (run(seed, profile), run(seed, profile));
        let differs = one.log.entries().iter().zip(other.log.entries()).position(|(one, other)| one != other);
        if let Some(at) = differs {
            let (one, other) = (&one.log.entries()[at], &other.log.entries()[at]);
            panic!("profile {profile}, seed {seed}, line {at}:\n{one}\n{other}");
        }
        assert_eq!(one.log.len(), other.log.len(), "profile {profile}, seed {seed}");
    }
}

#[test]
fn another_seed_gives_another_trace() {
    let (profile, seed) = story(49);
    let (one, other) = (run(seed, profile), run(seed + 1, profile));
    assert_ne!(one.log.entries(), other.log.entries());
}
