//! How much of a map a replica takes in. All entries share one value, so that a full map costs no more
//! memory than that.

use ganger_common::limits::{KNOWLEDGE_ENTRY_BYTES, PAYLOAD_BYTES_MAX};

use super::*;

/// So many entries of [`large`] fill a replica to the last byte.
const FULL: u64 = (REPLICA_BYTES_MAX / PAYLOAD_BYTES_MAX) as u64;

/// What takes [`PAYLOAD_BYTES_MAX`] as an entry named `t/` and a key of three letters.
fn large() -> Bytes {
    Bytes::from(vec![7; PAYLOAD_BYTES_MAX - KNOWLEDGE_ENTRY_BYTES - "t".len() - "000".len()])
}

impl Rig {
    fn put(&mut self, revision: u64, key: u64, value: Option<Bytes>) {
        let change =
            Change { revision: Revision(revision), topic: "t".to_owned(), key: format!("{key:03}"), value };
        self.replica.on_publication(self.now, Publication::Change { epoch: Epoch(1), change });
    }

    fn full() -> Self {
        let (mut rig, value) = (Self::following(), large());
        (1..=FULL).for_each(|key| rig.put(key, key, Some(value.clone())));
        rig
    }
}

#[test]
fn a_replica_holds_what_it_says_to_the_last_byte() {
    let mut rig = Rig::full();
    assert_eq!((rig.knowledge.bytes(), rig.revision()), (REPLICA_BYTES_MAX, FULL));
    assert!(!rig.replica.take_overflow());
    rig.put(FULL + 1, 999, Some(Bytes::new()));
    assert!(rig.replica.take_overflow());
    assert!(!rig.replica.take_overflow(), "it is told once");
}

#[test]
fn what_is_replaced_or_removed_makes_room() {
    let mut rig = Rig::full();
    let value = large();
    (1..=3 * FULL).for_each(|n| rig.put(FULL + n, 1, Some(value.clone())));
    rig.put(4 * FULL + 1, 1, None);
    rig.put(4 * FULL + 2, 999, Some(value));
    assert_eq!(rig.knowledge.bytes(), REPLICA_BYTES_MAX);
    assert!(!rig.replica.take_overflow());
    (1..=FULL).for_each(|key| rig.put(4 * FULL + 2 + key, key % FULL, None));
    assert_eq!(rig.knowledge.len(), 2, "those of 128 and of 999");
    assert_eq!(rig.knowledge.bytes(), 2 * PAYLOAD_BYTES_MAX);
}

#[test]
fn after_too_much_nothing_is_known_until_the_next_welcome() {
    let mut rig = Rig::full();
    rig.put(FULL + 1, 999, Some(Bytes::new()));
    assert!(rig.knowledge.is_empty());
    assert_eq!((rig.knowledge.bytes(), rig.revision()), (0, 0));
    rig.put(1, 1, Some(Bytes::new()));
    rig.put(FULL + 2, 1, Some(Bytes::new()));
    rig.pass(Duration::from_secs(60));
    assert_eq!((rig.knowledge.len(), rig.effects()), (0, vec![]));
    rig.replica.on_detached();
    rig.attach(1, 5, None);
    assert_eq!(rig.effects(), ["1: list"]);
    rig.page(1, 5, &[5], false);
    assert_eq!((rig.knowledge.len(), rig.revision()), (1, 5));
}

#[test]
fn a_snapshot_without_end_is_too_much_as_well() {
    let mut rig = Rig::new();
    rig.attach(1, 1, None);
    let value = large();
    let entry = |key: u64| Change {
        revision: Revision(1),
        topic: "t".to_owned(),
        key: format!("{key:03}"),
        value: Some(value.clone()),
    };
    for page in 1..=FULL {
        let answer = Answer::Entries { newest: Revision(1), entries: vec![entry(page)], more: true };
        rig.replica.on_answer(rig.now, page, answer);
    }
    assert!(!rig.replica.take_overflow());
    let answer = Answer::Entries { newest: Revision(1), entries: vec![entry(0)], more: true };
    rig.replica.on_answer(rig.now, FULL + 1, answer);
    assert!(rig.replica.take_overflow());
    assert!(rig.knowledge.is_empty());
}

#[test]
fn a_snapshot_of_names_alone_leaves_nothing_behind() {
    let mut rig = Rig::new();
    rig.attach(1, 1, None);
    let name = |key: u64| Change { value: None, ..change(key) };
    let answer = Answer::Entries { newest: Revision(1), entries: vec![name(1), name(2)], more: false };
    rig.replica.on_answer(rig.now, 1, answer);
    assert_eq!((rig.knowledge.len(), rig.revision()), (0, 1));
}
