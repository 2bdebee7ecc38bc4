use super::*;

#[test]
fn the_subscription_is_rebuilt_when_nothing_comes_over_it() {
    let mut rig = Rig::new();
    rig.attach(1, 0, Some(7_712));
    rig.pass(Duration::ZERO);
    assert_eq!(rig.effects(), ["subscribe 7712"]);
    rig.replica.on_subscribed(rig.now);
    rig.pass(Duration::from_millis(50));
    assert_eq!(rig.effects(), ["1: since 0"], "what was published before it took effect");
    rig.replica.on_answer(rig.now, 1, Answer::Changes { newest: Revision(0), changes: Vec::new() });
    rig.pass(Duration::from_millis(2_900));
    rig.publish(1);
    rig.pass(Duration::from_millis(2_999));
    assert_eq!(rig.effects(), [""; 0]);
    rig.pass(Duration::from_millis(60));
    assert_eq!(rig.effects(), ["subscribe 7712"]);
}

#[test]
fn a_subscription_that_fails_is_tried_again_with_growing_pauses() {
    let mut rig = Rig::new();
    rig.attach(1, 0, Some(1));
    let mut tries = 0;
    let end = rig.now.plus(Duration::from_secs(20));
    while rig.now < end {
        rig.pass(Duration::from_millis(10));
        for effect in rig.effects() {
            assert_eq!(effect, "subscribe 1");
            tries += 1;
            rig.replica.on_unsubscribed(rig.now);
        }
    }
    assert!((10..60).contains(&tries), "{tries}");
}

#[test]
fn without_a_broker_nobody_subscribes() {
    let mut rig = Rig::new();
    rig.attach(1, 0, Some(1));
    rig.pass(Duration::ZERO);
    rig.effects();
    rig.replica.on_subscribed(rig.now);
    rig.replica.on_detached();
    rig.replica.on_unsubscribed(rig.now);
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.effects(), [""; 0]);
    rig.attach(1, 0, Some(1));
    rig.pass(Duration::ZERO);
    assert_eq!(rig.effects(), ["subscribe 1"]);
}
