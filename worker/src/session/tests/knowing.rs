use ganger_common::limits::{KNOWLEDGE_ENTRY_BYTES, PAYLOAD_BYTES_MAX};

use super::*;
use crate::replica::{Change, Publication, REPLICA_BYTES_MAX};

/// A change of `t/<revision>` that counts as so many bytes.
fn change(revision: u64, value: &Bytes) -> Input {
    let key = format!("{revision:03}");
    let change =
        Change { revision: Revision(revision), topic: "t".to_owned(), key, value: Some(value.clone()) };
    Input::Publication(Publication::Change { epoch: Epoch(1), change })
}

#[test]
fn a_broker_that_sends_more_knowledge_than_a_map_may_hold_is_left() {
    let mut rig = Rig::open(1);
    // All entries share one value, so that the test takes no more memory than that.
    let value = Bytes::from(vec![7; PAYLOAD_BYTES_MAX - KNOWLEDGE_ENTRY_BYTES - "t000".len()]);
    let full = (REPLICA_BYTES_MAX / PAYLOAD_BYTES_MAX) as u64;
    (1..=full).for_each(|revision| rig.input(change(revision, &value)));
    rig.pass(REVISION_INTERVAL);
    assert_eq!(rig.effects(), [format!("heartbeat mark=0 revision={full}")]);

    rig.tasks(&[1]);
    let running = rig.take_some();
    rig.effects();
    rig.input(change(full + 1, &Bytes::new()));
    assert_eq!(rig.effects(), ["disconnect: the broker sent more than 2147483648 bytes of knowledge"]);

    // What runs is not touched, and the next connection begins without knowledge.
    rig.connect();
    assert_eq!(rig.effects(), ["hello holding=1*"]);
    rig.welcome(1);
    assert_eq!(rig.effects(), ["heartbeat mark=0 revision=0"]);
    rig.finish(running, ok());
    assert_eq!(rig.effects(), ["report 1 1:succeeded"]);
    rig.beat(1, 4);
    rig.pass(Duration::from_millis(50));
    assert_eq!(rig.effects(), ["knowledge 1 Since { revision: Revision(0) }"]);
}
