//! Publications and answers in, questions and the map out.

use ganger_common::ErrorCode;
use ganger_common::message::publish::{BeatHeader, ChangeOp, DeltaHeader, encode_header};
use ganger_common::message::{FromWorker, KnowledgeOp};

use super::*;

const SILENCE: Duration = Duration::from_secs(3);

struct Rig {
    replica: Replica,
    knowledge: Knowledge,
    now: Time,
}

impl Rig {
    /// Of a broker whose map is empty, without a knowledge socket.
    fn following() -> Self {
        let mut rig = Self::new();
        rig.attach(1, 0, None);
        assert_eq!(rig.effects(), [""; 0]);
        rig
    }

    fn new() -> Self {
        let knowledge = Knowledge::new();
        Self { replica: Replica::new(knowledge.clone(), 1), knowledge, now: Time(0) }
    }

    fn attach(&mut self, epoch: u64, newest: u64, port: Option<u16>) {
        self.replica.on_attached(self.now, Epoch(epoch), Revision(newest), port, SILENCE);
    }

    fn effects(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.replica.poll_effect()).map(|effect| describe(&effect)).collect()
    }

    /// Publishes `k<revision mod 10> = v<revision>`.
    fn publish(&mut self, revision: u64) {
        let publication = Publication::Change { epoch: Epoch(1), change: change(revision) };
        self.replica.on_publication(self.now, publication);
    }

    fn changes(&mut self, req: u64, newest: u64, revisions: std::ops::RangeInclusive<u64>) {
        let changes = revisions.map(change).collect();
        let answer = Answer::Changes { newest: Revision(newest), changes };
        self.replica.on_answer(self.now, req, answer);
    }

    fn page(&mut self, req: u64, newest: u64, revisions: &[u64], more: bool) {
        let entries = revisions.iter().copied().map(change).collect();
        let answer = Answer::Entries { newest: Revision(newest), entries, more };
        self.replica.on_answer(self.now, req, answer);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while let Some(due) = self.replica.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.replica.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn value(&self, key: &str) -> Option<String> {
        self.knowledge.get("t", key).map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    /// The revision, which the machine and the map agree on.
    fn revision(&self) -> u64 {
        assert_eq!(self.replica.revision(), self.knowledge.revision());
        self.knowledge.revision().0
    }
}

fn change(revision: u64) -> Change {
    Change {
        revision: Revision(revision),
        topic: "t".to_owned(),
        key: format!("k{}", revision % 10),
        value: Some(format!("v{revision}").into()),
    }
}

fn describe(effect: &ReplicaEffect) -> String {
    match effect {
        ReplicaEffect::Subscribe { port } => format!("subscribe {port}"),
        ReplicaEffect::Broadcast { topic, .. } => format!("broadcast {topic}"),
        ReplicaEffect::Ask(frame) => match ganger_common::decode(frame).unwrap() {
            FromWorker::Knowledge(request) => match request.op {
                KnowledgeOp::Since { revision } => format!("{}: since {revision}", request.req),
                KnowledgeOp::List { after, .. } => {
                    let after = after.map(|(topic, key)| format!(" after {}/{}", topic.0, key.0));
                    format!("{}: list{}", request.req, after.unwrap_or_default())
                }
                other => format!("{other:?}"),
            },
            other => format!("{other:?}"),
        },
    }
}

fn parts(header: &DeltaHeader<'_>, body: &'static [u8]) -> [Bytes; 3] {
    [Bytes::from_static(b"k/t"), encode_header(header).into(), Bytes::from_static(body)]
}

fn header(op: ChangeOp, body: &[u8]) -> DeltaHeader<'static> {
    DeltaHeader {
        epoch: Epoch(1),
        revision: Revision(1),
        previous: Revision(0),
        op,
        key: "k".into(),
        checksum: crc32fast::hash(body),
    }
}

#[test]
fn changes_in_order_are_applied_as_they_come() {
    let mut rig = Rig::following();
    for revision in 1..=12 {
        rig.publish(revision);
        assert_eq!(rig.revision(), revision);
    }
    assert_eq!(rig.effects(), [""; 0]);
    assert_eq!(rig.value("k2").as_deref(), Some("v12"));
    assert_eq!(rig.knowledge.len(), 10);
}

#[test]
fn a_removed_key_is_gone() {
    let mut rig = Rig::following();
    rig.publish(1);
    let removal = Change { value: None, key: "k1".to_owned(), ..change(2) };
    rig.replica.on_publication(rig.now, Publication::Change { epoch: Epoch(1), change: removal });
    assert_eq!((rig.value("k1"), rig.revision()), (None, 2));
}

#[test]
fn a_gap_is_asked_for_at_once_and_what_came_early_is_not_lost() {
    let mut rig = Rig::following();
    rig.publish(1);
    rig.publish(4);
    rig.publish(5);
    assert_eq!(rig.effects(), ["1: since 1"]);
    assert_eq!(rig.revision(), 1);
    rig.changes(1, 5, 2..=3);
    assert_eq!(rig.revision(), 5);
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn what_came_twice_changes_nothing() {
    let mut rig = Rig::following();
    rig.publish(1);
    rig.publish(2);
    rig.publish(1);
    rig.changes(1, 2, 1..=2);
    assert_eq!(rig.revision(), 2);
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn a_long_gap_is_closed_page_by_page() {
    let mut rig = Rig::following();
    rig.publish(2_500);
    assert_eq!(rig.effects(), ["1: since 0"]);
    rig.changes(1, 2_500, 1..=1_000);
    assert_eq!(rig.effects(), ["2: since 1000"]);
    rig.changes(2, 2_500, 1_001..=2_000);
    assert_eq!(rig.effects(), ["3: since 2000"]);
    rig.changes(3, 2_600, 2_001..=2_600);
    assert_eq!((rig.revision(), rig.effects()), (2_600, vec![]));
}

#[test]
fn early_changes_are_bounded_and_the_rest_is_asked_for() {
    let mut rig = Rig::following();
    for revision in 2..=5_000 {
        rig.publish(revision);
    }
    assert_eq!(rig.replica.early.len(), EARLY_MAX);
    assert_eq!(rig.effects(), ["1: since 0"]);
    rig.changes(1, 5_000, 1..=1_000);
    assert_eq!(rig.revision(), 1 + EARLY_MAX as u64);
    assert_eq!(rig.effects(), [format!("2: since {}", 1 + EARLY_MAX)]);
}

#[test]
fn a_newer_revision_that_is_only_heard_of_is_asked_for_soon() {
    let mut rig = Rig::following();
    rig.replica.on_newest(rig.now, Revision(1));
    rig.pass(Duration::from_millis(49));
    assert_eq!(rig.effects(), [""; 0]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.effects(), ["1: since 0"]);
}

#[test]
fn a_change_that_was_on_its_way_is_not_asked_for() {
    let mut rig = Rig::following();
    rig.replica.on_newest(rig.now, Revision(1));
    rig.publish(1);
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn a_beat_on_the_knowledge_socket_shows_a_gap_too() {
    let mut rig = Rig::following();
    let beat = Publication::Beat { epoch: Epoch(1), revision: Revision(3) };
    rig.replica.on_publication(rig.now, beat);
    rig.pass(Duration::from_millis(50));
    assert_eq!(rig.effects(), ["1: since 0"]);
}

#[test]
fn a_late_joiner_fetches_a_snapshot_and_then_what_changed_meanwhile() {
    let mut rig = Rig::new();
    rig.attach(1, 12, None);
    assert_eq!(rig.effects(), ["1: list"]);
    rig.page(1, 12, &[10, 11], true);
    assert_eq!((rig.revision(), rig.effects()), (0, vec!["2: list after t/k1".to_owned()]));
    rig.publish(13);
    rig.publish(14);
    rig.page(2, 14, &[12, 13, 14], false);
    assert_eq!((rig.revision(), rig.effects()), (14, vec![]));
    assert_eq!(rig.value("k4").as_deref(), Some("v14"));
}

#[test]
fn what_a_late_page_brought_is_not_set_back_by_older_changes() {
    let mut rig = Rig::new();
    rig.attach(1, 1, None);
    rig.effects();
    rig.page(1, 1, &[1], true);
    rig.effects();
    rig.page(2, 12, &[12], false);
    assert_eq!(rig.revision(), 1);
    assert_eq!(rig.effects(), ["3: since 1"]);
    let older = Change { key: "k2".to_owned(), ..change(2) };
    let answer = Answer::Changes { newest: Revision(12), changes: vec![older] };
    rig.replica.on_answer(rig.now, 3, answer);
    assert_eq!((rig.revision(), rig.value("k2").as_deref()), (2, Some("v12")));
}

#[test]
fn history_that_is_gone_leads_to_a_snapshot_that_also_removes() {
    let mut rig = Rig::following();
    rig.publish(1);
    rig.publish(2);
    rig.replica.on_newest(rig.now, Revision(500));
    rig.pass(Duration::from_millis(50));
    assert_eq!(rig.effects(), ["1: since 2"]);
    rig.replica.on_refused(rig.now, 1, ErrorCode::HistoryGone, None);
    assert_eq!(rig.effects(), ["2: list"]);
    assert_eq!(rig.revision(), 2, "it never goes back");
    rig.page(2, 500, &[2, 500], false);
    assert_eq!((rig.revision(), rig.value("k1")), (500, None));
    assert_eq!(rig.knowledge.topic("t").len(), 2);
}

#[test]
fn another_epoch_is_another_map() {
    let mut rig = Rig::following();
    for revision in 1..=5 {
        rig.publish(revision);
    }
    rig.replica.on_detached();
    rig.attach(2, 1, None);
    assert_eq!((rig.revision(), rig.effects()), (0, vec!["1: list".to_owned()]));
    assert_eq!(rig.value("k5").as_deref(), Some("v5"), "the old map serves until the new one is there");
    rig.publish(6);
    rig.page(1, 1, &[1], false);
    assert_eq!((rig.revision(), rig.knowledge.len()), (1, 1));
}

#[test]
fn the_same_epoch_goes_on_where_it_was() {
    let mut rig = Rig::following();
    rig.publish(1);
    rig.replica.on_detached();
    rig.attach(1, 3, None);
    assert_eq!((rig.revision(), rig.effects()), (1, vec!["1: since 1".to_owned()]));
}

#[test]
fn a_question_without_an_answer_is_asked_again() {
    let mut rig = Rig::following();
    rig.publish(3);
    assert_eq!(rig.effects(), ["1: since 0"]);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.effects(), ["2: since 0"]);
    rig.changes(1, 3, 1..=2);
    assert_eq!(rig.revision(), 0, "an answer to the old question");
    rig.changes(2, 3, 1..=2);
    assert_eq!(rig.revision(), 3);
}

#[test]
fn an_answer_that_does_not_help_is_not_asked_for_without_pause() {
    let mut rig = Rig::following();
    rig.publish(3);
    rig.effects();
    rig.changes(1, 3, 2..=2);
    assert_eq!(rig.effects(), [""; 0]);
    rig.pass(Duration::from_millis(500));
    assert_eq!(rig.effects(), ["2: since 0"]);
}

#[test]
fn a_busy_broker_is_asked_again_when_it_says() {
    let mut rig = Rig::new();
    rig.attach(1, 3, None);
    rig.effects();
    rig.replica.on_refused(rig.now, 1, ErrorCode::Busy, Some(Duration::from_millis(70)));
    rig.pass(Duration::from_millis(69));
    assert_eq!(rig.effects(), [""; 0]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.effects(), ["2: list"]);
}

#[test]
fn without_the_right_to_read_nothing_more_is_asked() {
    let mut rig = Rig::new();
    rig.attach(1, 3, None);
    rig.effects();
    rig.replica.on_refused(rig.now, 1, ErrorCode::Denied, None);
    rig.replica.on_newest(rig.now, Revision(9));
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.effects(), [""; 0]);
}

#[test]
fn the_subscription_is_rebuilt_when_nothing_comes_over_it() {
    let mut rig = Rig::new();
    rig.attach(1, 0, Some(7_712));
    rig.pass(Duration::ZERO);
    assert_eq!(rig.effects(), ["subscribe 7712"]);
    rig.replica.on_subscribed(rig.now);
    rig.pass(Duration::from_millis(50));
    assert_eq!(rig.effects(), ["1: since 0"], "what was published before it took effect");
    rig.changes(1, 0, 1..=0);
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

#[test]
fn a_damaged_or_large_value_is_fetched() {
    let good = header(ChangeOp::Put, b"v");
    let damaged = DeltaHeader { checksum: 1, ..good.clone() };
    let missing = Publication::Missing { epoch: Epoch(1), revision: Revision(1) };
    assert!(matches!(Publication::read(&parts(&good, b"v")), Some(Publication::Change { .. })));
    assert_eq!(Publication::read(&parts(&damaged, b"v")), Some(missing.clone()));
    assert_eq!(Publication::read(&parts(&header(ChangeOp::Fetch, b""), b"")), Some(missing.clone()));
    let mut rig = Rig::following();
    rig.replica.on_publication(rig.now, missing);
    assert_eq!(rig.effects(), ["1: since 0"]);
}

#[test]
fn broadcasts_are_handed_on_and_strangers_are_not() {
    let beat = encode_header(&BeatHeader { epoch: Epoch(1), revision: Revision(0), number: 1 });
    let beat = Bytes::from(beat);
    let broadcast = [Bytes::from_static(b"b/news"), beat.clone(), Bytes::from_static(b"x")];
    let mut rig = Rig::following();
    rig.replica.on_publication(rig.now, Publication::read(&broadcast).unwrap());
    assert_eq!(rig.effects(), ["broadcast news"]);
    for topic in [&b"x/news"[..], b"", b"\xff"] {
        let stranger = [Bytes::copy_from_slice(topic), beat.clone(), Bytes::new()];
        assert_eq!(Publication::read(&stranger), None);
    }
    let garbled = [Bytes::from_static(b"beat"), Bytes::from_static(b"\xc1"), Bytes::new()];
    assert_eq!(Publication::read(&garbled), None);
}
