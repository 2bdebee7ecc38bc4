//! The tasks of a run: many kinds and spans, and what each may end as.

use std::time::Duration;

use bytes::Bytes;
use ganger_client::{NewTask, TaskOutcome};
use ganger_common::{Attempt, Outcome, TaskId, TaskOptions};

use super::incidents::Run;
use crate::dice::Dice;
use crate::work;

/// Workers die here faster than any task deserves to be blamed for.
const CRASH_LIMIT: u32 = 1_000_000;
/// Tries of a task that fails more often than it may.
const TRIES: u32 = 3;
/// Pause after a failure: long enough to be one, short enough for many in a run.
const BACKOFF_MS: u64 = 50;
/// A run that is longer than its limit, and the limit. Far apart: a worker that was frozen across both may
/// find that its handler is done before it finds that it was too late.
const OVERLONG: (Duration, Duration) = (Duration::from_secs(60), Duration::from_millis(300));
/// Attempts that fail of a task that never succeeds. More than its tries: an attempt that was lost before it
/// began has a number, too.
const ALWAYS: u32 = 1_000_000;

/// A task as the ledger remembers it: all that is needed to make it once more.
#[derive(Clone, PartialEq, Debug)]
pub struct Spec {
    /// Its name.
    pub id: TaskId,
    /// What it does.
    pub what: What,
    /// Its payload is filled up to this many bytes.
    pub size: usize,
    /// Makes its payload unlike every other.
    pub salt: u64,
    /// Higher first.
    pub priority: i16,
    /// Not before this has passed.
    pub delay: Duration,
    /// Expires if it has not started by then.
    pub ttl: Option<Duration>,
    /// Its submitter cancels it after this.
    pub cancel_after: Option<Duration>,
}

/// What a task does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Waits.
    Sleep(Duration),
    /// Computes.
    Spin(Duration),
    /// Waits, and returns its payload from end to beginning.
    Mirror(Duration),
    /// Fails so many times.
    Flaky(u32),
    /// Runs longer than it may, each time.
    Overlong,
}

impl Spec {
    /// A task by chance.
    pub fn roll(dice: &mut Dice) -> Self {
        let millis = |dice: &mut Dice, least, most| {
            dice.span(Duration::from_millis(least), Duration::from_millis(most))
        };
        let what = match dice.below(1_000) {
            0..400 => What::Sleep(millis(dice, 0, 15)),
            400..780 => What::Mirror(millis(dice, 0, 10)),
            780..940 => What::Spin(dice.span(Duration::ZERO, Duration::from_millis(2))),
            // Long enough to be running when something happens.
            940..955 => What::Sleep(millis(dice, 100, 800)),
            // Long enough to be still running when those are back who were given up with it.
            955..960 => What::Mirror(millis(dice, 1_000, 6_000)),
            960..985 => What::Flaky(1 + dice.below(2) as u32),
            985..998 => What::Flaky(ALWAYS),
            _ => What::Overlong,
        };
        let size = match dice.below(1_000) {
            0..970 => dice.below(1_000),
            970..998 => dice.below(64 << 10),
            // More than any buffer on the way holds at once.
            _ => dice.below(1 << 20),
        };
        Self {
            id: work::fresh_id(),
            what,
            size: size as usize,
            salt: dice.next_u64(),
            priority: dice.below(3) as i16 - 1,
            delay: if dice.permille(30) { millis(dice, 1, 1_500) } else { Duration::ZERO },
            ttl: dice.permille(20).then(|| millis(dice, 20, 2_000)),
            cancel_after: dice.permille(40).then(|| millis(dice, 0, 400)),
        }
    }

    /// Its payload, the same each time.
    pub fn payload(&self) -> Bytes {
        let argument = match self.what {
            What::Sleep(span) | What::Spin(span) | What::Mirror(span) => span.as_micros(),
            What::Flaky(failures) => u128::from(failures),
            What::Overlong => OVERLONG.0.as_micros(),
        };
        let mut payload = format!("{argument}\n{:016x}", self.salt).into_bytes();
        let mut dice = Dice::new(self.salt);
        while payload.len() < self.size {
            payload.extend(dice.next_u64().to_le_bytes());
        }
        payload.into()
    }

    /// The task to hand in, the same each time.
    pub fn task(&self) -> NewTask {
        let kind = match self.what {
            What::Sleep(_) => work::SLEEP,
            What::Spin(_) => work::SPIN,
            What::Mirror(_) | What::Overlong => work::MIRROR,
            What::Flaky(_) => work::FLAKY,
        };
        let options = TaskOptions {
            priority: self.priority,
            delay_ms: self.delay.as_millis() as u64,
            ttl_ms: self.ttl.map(|ttl| ttl.as_millis() as u64),
            run_limit_ms: (self.what == What::Overlong).then_some(OVERLONG.1.as_millis() as u64),
            max_attempts: Some(TRIES),
            crash_limit: Some(CRASH_LIMIT),
            backoff_ms: Some(BACKOFF_MS),
            ..TaskOptions::default()
        };
        NewTask::new(kind, self.payload()).id(self.id).options(options)
    }

    /// Whether it may end like this, as far as its own doing goes.
    pub fn may_end_as(&self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Succeeded => self.may_succeed(),
            Outcome::Failed => !self.may_succeed(),
            Outcome::Cancelled => self.cancel_after.is_some(),
            Outcome::Expired => self.ttl.is_some(),
            Outcome::Dead => false,
        }
    }

    /// Whether a run of it is followed by another one by its own doing.
    pub fn asks_for(&self, run: &Run, next: &Run) -> bool {
        match self.what {
            What::Flaky(_) => run.end_ns.is_some() && !run.has_result,
            // The worker counts from a little before the first line.
            What::Overlong => next.start.at_ns >= run.start.at_ns + OVERLONG.1.as_nanos() as u64 / 2,
            What::Sleep(_) | What::Spin(_) | What::Mirror(_) => false,
        }
    }

    fn may_succeed(&self) -> bool {
        match self.what {
            What::Flaky(failures) => failures < TRIES,
            What::Overlong => false,
            What::Sleep(_) | What::Spin(_) | What::Mirror(_) => true,
        }
    }

    /// Reads who made a result, if it is right to the last byte.
    pub fn maker(&self, outcome: &TaskOutcome) -> Option<String> {
        let line = outcome.result.split(|byte| *byte == b'\n').next()?;
        let (attempt, worker) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        let attempt = Attempt(attempt.parse().ok()?);
        let right = match self.what {
            What::Mirror(_) => work::mirrored(attempt.0, worker, &self.payload()),
            _ => work::signature(attempt.0, worker).into_bytes(),
        };
        (attempt == outcome.attempt && outcome.result == right).then(|| worker.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(spec: &Spec, attempt: u32, result: Vec<u8>) -> TaskOutcome {
        TaskOutcome {
            id: spec.id,
            outcome: Outcome::Succeeded,
            attempt: Attempt(attempt),
            result: result.into(),
            error: None,
            result_dropped: false,
        }
    }

    #[test]
    fn a_task_is_made_the_same_each_time() {
        let spec = Spec { size: 3_000, ..Spec::roll(&mut Dice::new(4)) };
        assert_eq!(spec.task(), spec.task());
        assert!(spec.payload().len() >= 3_000);
    }

    #[test]
    fn a_result_is_right_to_the_last_byte_or_wrong() {
        let what = What::Mirror(Duration::from_millis(1));
        let spec = Spec { what, size: 100, ..Spec::roll(&mut Dice::new(4)) };
        let right = work::mirrored(2, "w", &spec.payload());
        assert_eq!(spec.maker(&outcome(&spec, 2, right.clone())).as_deref(), Some("w"));
        assert_eq!(spec.maker(&outcome(&spec, 1, right.clone())), None);
        for place in 0..right.len() {
            let mut wrong = right.clone();
            wrong[place] ^= 1;
            let made_by = spec.maker(&outcome(&spec, 2, wrong));
            assert!(made_by.is_none_or(|worker| worker != "w"), "byte {place}");
        }
    }
}
