use ganger_common::message::publish::{BeatHeader, ChangeOp, DeltaHeader, encode_header};

use super::*;

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
