//! What is read and written directly against what the general decoder and encoder make of the same.

use serde::Deserialize;

use super::*;
use crate::message::{EndDetail, OutcomeDetail};
use crate::options::TaskOptions;

/// Lengths and numbers around every step of the encoding.
const STEPS: &[u64] = &[
    0,
    1,
    15,
    16,
    31,
    32,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    u32::MAX as u64,
    u32::MAX as u64 + 1,
    u64::MAX,
];

fn general<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let mut decoder = super::super::Body::from_read_ref(body);
    let value = T::deserialize(&mut decoder).ok()?;
    super::super::at_end(&mut decoder).then_some(value)
}

/// Compares the bytes with the general encoder's, what is read of them with what was written, and what is
/// read of every damaged copy with the general decoder's reading.
fn compare<T>(value: &T, is_plain: bool)
where
    T: for<'a> Family<'a> + Serialize,
{
    let (mut direct, mut by_serde) = (Vec::new(), Vec::new());
    value.write_direct(&mut direct);
    put_general(value, &mut by_serde);
    assert_eq!(direct, by_serde);
    assert_eq!(T::reads_the_same(&direct), Some(is_plain), "{} bytes", direct.len());
    if direct.len() > 600 {
        return;
    }
    for place in 0..direct.len() {
        for change in [1, 2, 0x10, 0x40, 0x80, 0xff] {
            let mut damaged = direct.clone();
            damaged[place] ^= change;
            assert!(T::reads_the_same(&damaged).is_some(), "byte {place} of {direct:02x?} ^ {change:#x}");
        }
        assert!(T::reads_the_same(&direct[..place]).is_some());
    }
}

/// One message body for any lifetime.
trait Family<'a> {
    fn write_direct(&self, into: &mut Vec<u8>);
    /// Whether it is read directly; `None` when the two do not read the same.
    fn reads_the_same(bytes: &[u8]) -> Option<bool>;
}

macro_rules! families {
    ($($name:ident)+) => {$(
        impl<'a> Family<'a> for $name<'_> {
            fn write_direct(&self, into: &mut Vec<u8>) {
                self.write(into);
            }

            fn reads_the_same(bytes: &[u8]) -> Option<bool> {
                match (read::<$name<'_>>(bytes), general::<$name<'_>>(bytes)) {
                    (Some(direct), Some(general)) => (direct == general).then_some(true),
                    (Some(_), None) => None,
                    (None, _) => Some(false),
                }
            }
        }
    )+};
}
families! { Submit Dispatch Report Outcomes }

fn id(number: u64) -> TaskId {
    TaskId::from_bytes([number as u8; 16])
}

#[test]
fn tasks_that_are_handed_in_read_as_they_were_written() {
    let payload = vec![7; 70_000];
    let kind = "k".repeat(100);
    for step in STEPS {
        for (again, options) in [(false, None), (true, None), (false, Some(TaskOptions::default()))] {
            let task = NewTask {
                id: id(*step),
                kind: kind[..(*step as usize).min(100)].into(),
                payload: Blob(&payload[..(*step as usize).min(70_000)]),
                options: options.clone(),
            };
            let tasks = vec![task; 2].into();
            compare(&Submit { seq: *step, again, tasks }, !again && options.is_none());
        }
    }
}

#[test]
fn tasks_that_are_given_out_read_as_they_were_written() {
    let payload = vec![7; 300];
    for step in STEPS {
        for detail in [None, Some(crate::message::DispatchDetail::default())] {
            let item = DispatchItem {
                task: id(*step),
                attempt: Attempt(*step as u32),
                kind: "noop".into(),
                payload: Blob(&payload[..(*step as usize).min(300)]),
                detail: detail.clone(),
            };
            let is_plain = detail.is_none();
            compare(&Dispatch { epoch: Epoch(*step), tasks: vec![item; 3].into() }, is_plain);
        }
    }
}

#[test]
fn ends_read_as_they_were_written() {
    for step in STEPS {
        for (recall, detail) in [(None, None), (Some(*step), None), (None, Some(EndDetail::default()))] {
            let end = AttemptReport {
                task: id(*step),
                epoch: Epoch(*step),
                attempt: Attempt(*step as u32),
                end: *step as u8,
                run_us: *step,
                result: Blob(b"result"),
                detail: detail.clone(),
            };
            let lease = Lease { task: id(*step), epoch: Epoch(*step), attempt: Attempt(1) };
            let (started, ended) = (vec![lease; 2].into(), vec![end; 20].into());
            let is_plain = recall.is_none() && detail.is_none();
            compare(&Report { seq: *step, started, ended, waiting: *step as u32, recall }, is_plain);
        }
    }
}

#[test]
fn outcomes_read_as_they_were_written() {
    for step in STEPS {
        for detail in [None, Some(OutcomeDetail::default())] {
            let item = OutcomeItem {
                task: id(*step),
                outcome: *step as u8,
                attempt: Attempt(*step as u32),
                result: Blob(&[]),
                detail: detail.clone(),
            };
            let count = (*step as usize).min(300);
            let is_plain = detail.is_none() || count == 0;
            compare(&Outcomes { upto: *step, items: vec![item; count].into() }, is_plain);
        }
    }
}

#[test]
fn what_is_over_a_limit_is_left_to_the_general_decoder() {
    let payload = vec![0; PAYLOAD_BYTES_MAX + 1];
    let task = NewTask { id: id(1), kind: "k".into(), payload: Blob(&payload), options: None };
    let mut bytes = Vec::new();
    Submit { seq: 1, again: false, tasks: vec![task].into() }.write(&mut bytes);
    assert!(read::<Submit<'_>>(&bytes).is_none());
}
