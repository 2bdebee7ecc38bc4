use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// A journal that does what a test says, one batch at a time.
struct Scripted {
    usage: Usage,
    answers: Receiver<Answer>,
    seen: Sender<usize>,
}

enum Answer {
    Safe,
    Full,
    Failed,
}

impl Journal for Scripted {
    fn read(&mut self, _each: &mut dyn FnMut(Lsn, Record)) -> Result<Recovered, JournalError> {
        Ok(Recovered::default())
    }

    fn append(&mut self, batch: &mut Vec<(Lsn, Record)>) -> Result<Lsn, JournalError> {
        let _ = self.seen.send(batch.len());
        match self.answers.recv_timeout(DEADLINE).unwrap_or(Answer::Failed) {
            Answer::Safe => {
                self.usage.last = batch.last().map_or(self.usage.last, |(lsn, _)| *lsn);
                (self.usage.batches, self.usage.is_short_of_room) = (self.usage.batches + 1, false);
                batch.clear();
                Ok(self.usage.last)
            }
            Answer::Full => {
                self.usage.is_short_of_room = true;
                Err(JournalError::Full { dir: "somewhere".into(), lsn: batch[0].0 })
            }
            Answer::Failed => {
                let source = std::io::Error::other("the disk is gone").into();
                Err(JournalError::Write { lsn: batch[0].0, source })
            }
        }
    }

    fn trim(&mut self, before: Lsn) -> Result<(), JournalError> {
        self.usage.first = before;
        Ok(())
    }

    fn tend(&mut self) -> Result<bool, JournalError> {
        Ok(false)
    }

    fn read_value(&mut self, stored: Stored, into: &mut Vec<u8>, _most: usize) -> Result<bool, JournalError> {
        into.resize(stored.len as usize, 7);
        Ok(true)
    }

    fn usage(&self) -> Usage {
        self.usage
    }

    fn close(self) -> Result<(), JournalError> {
        Ok(())
    }
}

struct Rig {
    writer: Writer,
    answers: Sender<Answer>,
    seen: Receiver<usize>,
    last: u64,
}

impl Rig {
    fn start() -> Self {
        let (answers, to_give) = channel();
        let (seen, has_seen) = channel();
        let journal = Scripted { usage: Usage::default(), answers: to_give, seen };
        Self { writer: Writer::start(journal).unwrap(), answers, seen: has_seen, last: 0 }
    }

    fn hand_over(&mut self, count: u64) {
        let record = |lsn| (Lsn(lsn), Record::Forgotten { settled: 0, dead: 0 });
        let mut batch: Vec<_> = (self.last + 1..=self.last + count).map(record).collect();
        self.last += count;
        self.writer.append(&mut batch).unwrap();
        assert!(batch.is_empty());
    }

    /// What the thread took to write together.
    fn taken(&self) -> usize {
        self.seen.recv_timeout(DEADLINE).expect("the thread writes")
    }

    fn answer(&self, answer: Answer) {
        self.answers.send(answer).unwrap();
    }

    fn until(&mut self, mut is_so: impl FnMut(&mut Writer) -> bool) {
        let begin = Instant::now();
        while !is_so(&mut self.writer) {
            assert!(begin.elapsed() < DEADLINE, "it does not come to that");
            std::thread::yield_now();
        }
    }

    fn until_safe(&mut self, upto: u64) {
        self.until(|writer| writer.append(&mut Vec::new()).unwrap() == Lsn(upto));
    }
}

#[test]
fn a_lone_record_is_written_at_once_and_what_comes_meanwhile_is_written_together() {
    let mut rig = Rig::start();
    rig.hand_over(1);
    assert_eq!(rig.taken(), 1);
    rig.hand_over(2);
    rig.hand_over(3);
    assert_eq!(rig.writer.append(&mut Vec::new()).unwrap(), Lsn(0), "nothing is safe yet");
    assert!(rig.writer.waiting_bytes() > 0);
    rig.answer(Answer::Safe);
    rig.until_safe(1);
    assert_eq!(rig.taken(), 5);
    rig.answer(Answer::Safe);
    rig.until_safe(6);
    rig.until(|writer| writer.waiting_bytes() == 0);
    rig.writer.close().unwrap();
}

#[test]
fn without_room_it_tries_again_until_there_is_some_and_says_so_meanwhile() {
    let mut rig = Rig::start();
    rig.hand_over(1);
    rig.answer(Answer::Full);
    rig.until(|writer| writer.usage().is_short_of_room);
    rig.answer(Answer::Full);
    rig.answer(Answer::Safe);
    rig.until_safe(1);
    rig.until(|writer| !writer.usage().is_short_of_room);
    rig.writer.close().unwrap();
}

#[test]
fn without_room_values_are_read_that_stand_behind_any_number_of_records() {
    let mut rig = Rig::start();
    rig.hand_over(1);
    rig.answer(Answer::Full);
    rig.until(|writer| writer.usage().is_short_of_room);
    // One order a try would need longer than the deadline for these.
    (0..200).for_each(|_| rig.hand_over(1));
    let mut wanted = vec![Stored { lsn: Lsn(1), index: 0, len: 3 }];
    let mut came = Vec::new();
    (0..5).for_each(|_| rig.answer(Answer::Full));
    rig.until(|writer| {
        writer.fetch(&mut wanted, &mut came).unwrap();
        !came.is_empty()
    });
    assert_eq!(came[0].as_ref(), [7; 3]);
    assert!(rig.writer.usage().is_short_of_room, "and there is still no room");
    (0..2).for_each(|_| rig.answer(Answer::Safe));
    rig.until_safe(201);
    rig.writer.close().unwrap();
}

#[test]
fn i9_after_a_failure_nothing_is_safe_any_more_and_everybody_learns_why() {
    let mut rig = Rig::start();
    let progress = rig.writer.progress();
    rig.hand_over(1);
    rig.answer(Answer::Failed);
    rig.until(|_| progress.has_changed().is_err());
    let error = rig.writer.append(&mut Vec::new()).unwrap_err();
    assert!(matches!(error, JournalError::Write { lsn: Lsn(1), .. }), "{error}");
    assert!(matches!(rig.writer.append(&mut Vec::new()), Err(JournalError::Failed)));
    assert!(rig.writer.trim(Lsn(1)).is_err() && rig.writer.close().is_err());
}

#[test]
fn at_the_end_everything_that_was_handed_over_is_safe() {
    let mut rig = Rig::start();
    rig.hand_over(3);
    rig.answer(Answer::Safe);
    rig.answer(Answer::Safe);
    rig.writer.close().unwrap();
    let written: usize = rig.seen.try_iter().sum();
    assert_eq!(written, 3);
}

#[test]
fn an_end_without_room_is_an_error_and_not_an_endless_wait() {
    let mut rig = Rig::start();
    rig.hand_over(1);
    (0..50).for_each(|_| rig.answer(Answer::Full));
    assert!(rig.writer.close().unwrap_err().is_full());
}

#[test]
fn what_may_go_goes_after_what_was_handed_over_before() {
    let mut rig = Rig::start();
    rig.hand_over(2);
    rig.writer.trim(Lsn(2)).unwrap();
    rig.answer(Answer::Safe);
    rig.answer(Answer::Safe);
    rig.until(|writer| writer.usage().first == Lsn(2));
    rig.writer.close().unwrap();
}
