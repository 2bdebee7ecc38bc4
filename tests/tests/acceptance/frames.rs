//! Frames that nobody should send.

use bytes::Bytes;
use ganger_common::codec::Blob;
use ganger_common::encode;
use ganger_common::message::{ClientHeartbeat, FromClient};
use uuid::Uuid;

/// Frames that are no messages, or messages that are too much, by what is wrong with them.
pub(crate) fn nonsense() -> Vec<(&'static str, Bytes)> {
    let plain = encode(&FromClient::Heartbeat(ClientHeartbeat { mark: 0 }));
    let cut = plain.slice(..plain.len() - 1);
    let trailing = [&plain[..], b"\x00"].concat();
    // `submit` up to its list of tasks; what follows claims to be enormous.
    let mut huge = b"\x92\xa6submit\x82\xa3seq\x01\xa5tasks".to_vec();
    huge.extend(b"\xdd\xff\xff\xff\xff");
    let mut huge_text = b"\x92\xa5hello\x81\xa4name".to_vec();
    huge_text.extend(b"\xdb\xff\xff\xff\xff");
    let mut huge_map = b"\x92\xa9heartbeat".to_vec();
    huge_map.extend(b"\xdf\xff\xff\xff\xff");
    // Nested in a field that nobody knows, so that it would be skipped, not read.
    let mut deep = b"\x92\xa9heartbeat\x81\xa4deep".to_vec();
    deep.extend(std::iter::repeat_n(0x91, 100_000));
    deep.push(0xc0);
    let cases: [(&'static str, Vec<u8>); 12] = [
        ("nothing", Vec::new()),
        ("a reserved byte", vec![0xc1]),
        ("text", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a map", vec![0x80]),
        ("an array of nothing", vec![0x90]),
        ("a type that is a number", vec![0x92, 0x01, 0x80]),
        ("a type that nobody knows", b"\x92\xa5dance\x80".to_vec()),
        ("a body of another shape", b"\x92\xa9heartbeat\x81\xa4mark\xa5seven".to_vec()),
        ("bytes after the end", trailing),
        ("a list that claims 2^32-1 tasks", huge),
        ("a text that claims 2^32-1 bytes", huge_text),
        ("a map that claims 2^32-1 entries", huge_map),
    ];
    let mut cases: Vec<_> = cases.map(|(what, bytes)| (what, Bytes::from(bytes))).into();
    cases.push(("nested 100,000 deep", deep.into()));
    cases.push(("cut off", cut));
    cases
}

/// A batch of tasks alike, in bare MessagePack: the types of this project refuse to write one that is over
/// a limit.
pub(crate) fn submit_by_hand(kind: &str, payload: &[u8], count: usize) -> Bytes {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        seq: u64,
        tasks: Vec<(Blob<'a>, &'a str, Blob<'a>)>,
    }
    let id = Uuid::now_v7();
    let tasks = vec![(Blob(id.as_bytes()), kind, Blob(payload)); count];
    let body = rmp_serde::to_vec_named(&Body { seq: 1, tasks }).expect("it encodes into memory");
    [b"\x92\xa6submit", &body[..]].concat().into()
}
