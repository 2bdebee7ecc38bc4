//! Any message, made out of arbitrary words, texts and bytes.

mod messages;
mod views;

use ganger_common::codec::{Blob, List, Text};
use ganger_common::message::{Durability, Lease};
use ganger_common::version::Version;
use ganger_common::{
    Attempt, Epoch, ErrorCode, Revision, SessionToken, SpanId, TaskId, TraceContext, TraceId, TraceState,
    WorkerId,
};
use proptest::prelude::*;

/// What messages are made of. They borrow from it, as they borrow from a frame.
#[derive(Clone, Debug)]
pub struct Words {
    numbers: Vec<u64>,
    texts: Vec<String>,
    blobs: Vec<Vec<u8>>,
}

pub fn words() -> impl Strategy<Value = Words> {
    // The edges of MessagePack's widths are where encodings go wrong.
    let edge = prop::sample::select(vec![
        0,
        1,
        31,
        32,
        127,
        128,
        255,
        256,
        65_535,
        65_536,
        u64::from(u32::MAX),
        1 << 32,
        u64::MAX,
    ]);
    let number = prop_oneof![any::<u64>(), edge];
    (
        prop::collection::vec(number, 1..80),
        prop::collection::vec("\\PC{0,40}", 1..8),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4),
    )
        .prop_map(|(numbers, texts, blobs)| Words { numbers, texts, blobs })
}

/// Reads words round and round.
pub struct Entropy<'a> {
    words: &'a Words,
    at: usize,
}

impl<'a> Entropy<'a> {
    pub fn new(words: &'a Words) -> Self {
        Self { words, at: 0 }
    }

    fn u64(&mut self) -> u64 {
        self.at += 1;
        self.words.numbers[self.at % self.words.numbers.len()].wrapping_add(self.at as u64 / 80)
    }

    fn u32(&mut self) -> u32 {
        self.u64() as u32
    }

    fn u16(&mut self) -> u16 {
        self.u64() as u16
    }

    fn bool(&mut self) -> bool {
        self.u64().is_multiple_of(2)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.u64() as usize % from.len()]
    }

    fn some<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.bool().then(|| make(self))
    }

    fn list<T, const MAX: usize>(&mut self, make: impl Fn(&mut Self) -> T) -> List<T, MAX> {
        let count = self.u64() % 5;
        (0..count).map(|_| make(self)).collect()
    }

    fn text<const MAX: usize>(&mut self) -> Text<'a, MAX> {
        let words = self.words;
        let index = self.u64() as usize % words.texts.len();
        words.texts[index].as_str().into()
    }

    fn string(&mut self) -> String {
        self.text::<1_000>().0.to_owned()
    }

    fn blob(&mut self) -> Blob<'a> {
        let words = self.words;
        let index = self.u64() as usize % words.blobs.len();
        Blob(&words.blobs[index])
    }

    fn fraction(&mut self) -> f32 {
        self.u16() as f32 / 65_535.0
    }

    fn id(&mut self) -> [u8; 16] {
        (u128::from(self.u64()) << 64 | u128::from(self.u64())).to_be_bytes()
    }

    fn task(&mut self) -> TaskId {
        TaskId::from_bytes(self.id())
    }

    fn worker(&mut self) -> WorkerId {
        WorkerId::from_bytes(self.id())
    }

    fn token(&mut self) -> SessionToken {
        SessionToken::from_bytes(self.id())
    }

    fn version(&mut self) -> Version {
        Version { major: self.u16(), minor: self.u16() }
    }

    fn epoch(&mut self) -> Epoch {
        Epoch(self.u64())
    }

    fn attempt(&mut self) -> Attempt {
        Attempt(self.u32())
    }

    fn revision(&mut self) -> Revision {
        Revision(self.u64())
    }

    fn code(&mut self) -> ErrorCode {
        self.pick(ErrorCode::ALL)
    }

    fn durability(&mut self) -> Durability {
        self.pick(&[Durability::Memory, Durability::Journal])
    }

    fn trace(&mut self) -> TraceContext {
        let trace = TraceId::from_bytes(self.id()).or(TraceId::from_bytes([1; 16]));
        let span = SpanId::from_bytes(self.u64().max(1).to_be_bytes());
        TraceContext::new(trace.unwrap(), span.unwrap(), self.u16() as u8)
    }

    fn trace_state(&mut self) -> TraceState {
        format!("ganger={}", self.u64()).parse().unwrap()
    }

    fn lease(&mut self) -> Lease {
        Lease { task: self.task(), epoch: self.epoch(), attempt: self.attempt() }
    }
}
