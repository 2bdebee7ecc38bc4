//! Bytes as decisions.
//!
//! Small numbers take one byte each and are read from the front, so that a seed can be written by hand and
//! a changed byte changes one decision. When the bytes are used up every decision is the first of its
//! alternatives.

use arbitrary::Unstructured;

/// What is left of an input.
#[derive(Debug)]
pub struct Choices<'a>(Unstructured<'a>);

impl<'a> Choices<'a> {
    /// Decisions from these bytes.
    pub fn new(input: &'a [u8]) -> Self {
        Self(Unstructured::new(input))
    }

    /// Whether nothing is left to decide.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A number from 0 to `most`.
    pub fn up_to(&mut self, most: u8) -> u8 {
        self.0.int_in_range(0..=most).unwrap_or_default()
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let place = self.0.int_in_range(0..=from.len() as u16 - 1).unwrap_or_default();
        from[usize::from(place)]
    }

    /// One of those that there are, if there are any.
    pub fn pick_some<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| self.pick(from))
    }

    /// Yes in one of two cases.
    pub fn flag(&mut self) -> bool {
        self.up_to(1) == 1
    }

    /// Yes in one of `cases` cases.
    pub fn rarely(&mut self, cases: u8) -> bool {
        self.up_to(cases - 1) == cases - 1
    }

    /// A number as peers may send it: mostly small, sometimes at the edge of what fits.
    pub fn number(&mut self) -> u64 {
        match self.up_to(7) {
            0..=3 => u64::from(self.up_to(15)),
            4 => u64::from(self.up_to(255)) * 100,
            5 => u64::MAX - u64::from(self.up_to(3)),
            6 => u64::from(u32::MAX) + u64::from(self.up_to(3)),
            _ => self.0.arbitrary().unwrap_or_default(),
        }
    }

    /// The same in 32 bits.
    pub fn number_32(&mut self) -> u32 {
        self.number() as u32
    }

    /// Up to so many bytes of the input, as they are.
    pub fn bytes(&mut self, most: u16) -> &'a [u8] {
        let wanted = usize::from(self.0.int_in_range(0..=most).unwrap_or_default());
        self.0.bytes(wanted.min(self.0.len())).unwrap_or_default()
    }

    /// What is left, as it is.
    pub fn rest(&mut self) -> &'a [u8] {
        self.0.bytes(self.0.len()).unwrap_or_default()
    }
}
