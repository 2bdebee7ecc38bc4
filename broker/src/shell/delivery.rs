//! From effects to messages.

use bytes::Bytes;
use ganger_common::limits::PULSE_BEATS;
use ganger_common::{ConnId, ErrorCode};
use ganger_scheduler::effect::{ClientReply, WorkerCommand};
use ganger_scheduler::{Effect, Input, Publication};
use ganger_transport::{DownReason, PublishError, Publisher, SendError, Server};

use super::Shell;
use super::journaling::figures;
use super::values::Letter;
use crate::asks::Answer;
use crate::convert;
use crate::error::BrokerError;
use crate::journal::Journal;
use crate::outbox::Room;
use crate::publisher;

/// How a message stands to the limit of what a peer may leave unread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Weight {
    /// It has a window of its own.
    Windowed,
    /// It counts, and can be done without.
    Extra,
    /// It counts.
    Control,
}

/// Something to be said, as messages.
#[derive(Debug)]
pub(super) struct Frames {
    list: Vec<Vec<u8>>,
    weight: Weight,
    answer: Answer,
    /// Bytes that were counted as sent.
    pub(super) booked: u64,
}

impl<S: Server, P: Publisher, J: Journal> Shell<S, P, J> {
    /// Carries out everything that the scheduler wants done: records are made safe first, and the promises
    /// that wait for them go out after.
    pub fn carry_out(&mut self) -> Result<(), BrokerError> {
        loop {
            while let Some(effect) = self.scheduler.poll_effect() {
                self.carry_out_one(effect)?;
            }
            if !self.batch.is_empty() {
                let upto = self.journal.append(&mut self.batch)?;
                self.news.safe(upto);
                self.spans.safe(upto);
                self.scheduler.handle(self.clock.now(), Input::Journaled { upto });
            } else if !self.read_values()? {
                self.guard.decided();
                if self.news.has_any() {
                    self.news.publish(self.clock.now());
                }
                if !self.watch_journal() {
                    self.look_out();
                    return Ok(());
                }
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect) -> Result<(), BrokerError> {
        match effect {
            Effect::Append { lsn, record } => {
                self.guard.on_record(&record, &self.scheduler);
                self.news.written(lsn);
                self.spans.record(lsn, &record, &self.scheduler);
                if self.news.is_wanted() {
                    self.news.record(self.clock.now(), &record, &self.scheduler);
                }
                self.batch.push((lsn, record));
            }
            Effect::ToClient { conn, reply } => self.tell_client(conn, reply),
            Effect::ToWorker { conn, command } => {
                if let WorkerCommand::Tasks { tasks, .. } = &command
                    && self.news.is_wanted()
                {
                    let worker = self.conns.get_mut(conn).and_then(|peer| peer.worker);
                    self.news.given(self.clock.now(), worker, tasks);
                }
                self.tell_worker(conn, command);
            }
            Effect::Worker(change) if self.news.is_wanted() => self.news.worker(self.clock.now(), change),
            Effect::Worker(_) => {}
            Effect::Publish(publication) => {
                let parts = publisher::parts(self.scheduler.config().epoch, &publication);
                if matches!(publication, Publication::Beat { .. }) {
                    self.beats += 1;
                    if self.beats.is_multiple_of(PULSE_BEATS.into()) {
                        self.publish(publisher::pulse(&parts))?;
                    }
                }
                self.publish(parts)?;
            }
            Effect::Close { conn } => self.close(conn, DownReason::Kicked),
            Effect::Carried { from } => self.on_carried(from)?,
            Effect::Drained => self.drained = true,
        }
        Ok(())
    }

    fn publish(&mut self, parts: [Bytes; 3]) -> Result<(), BrokerError> {
        match self.sockets.knowledge.publish(parts) {
            Ok(()) => Ok(()),
            // Subscribers see the gap by the numbers, and ask for what is missing.
            Err(PublishError::Full) => {
                self.counters.publications_dropped += 1;
                Ok(())
            }
            Err(PublishError::Gone) => Err(BrokerError::SocketEnded),
        }
    }

    pub(super) fn tell_client(&mut self, conn: ConnId, mut reply: ClientReply) {
        let Some(peer) = self.conns.get_mut(conn) else { return };
        match &mut reply {
            ClientReply::Accepted { seq, refused } => {
                if let Some(pre) = peer.take_pre_refused(*seq) {
                    pre.merge_into(refused);
                }
            }
            ClientReply::Status { status, .. } => {
                status.counters.extend(self.counters.by_name());
                status.counters.extend(figures(&self.journal));
                status.counters.extend(self.guard.figures());
                status.counters.extend(self.lookout.figures());
                status.counters.extend(self.spans.figures());
            }
            ClientReply::Knowledge { answer, .. } => self.guard.answer(conn, answer),
            _ => {}
        }
        self.post(conn, Letter::Client(reply));
    }

    pub(super) fn tell_worker(&mut self, conn: ConnId, mut command: WorkerCommand) {
        match &mut command {
            WorkerCommand::Knowledge { answer, .. } => self.guard.answer(conn, answer),
            // An answer costs about as much as everything else about a heartbeat.
            WorkerCommand::Heartbeat { revision }
                if self.conns.get_mut(conn).is_some_and(|peer| !peer.is_to_be_answered(*revision)) =>
            {
                return;
            }
            _ => {}
        }
        self.post(conn, Letter::Worker(command));
    }

    /// Sends a letter when its turn comes: at once, unless it waits for values or stands behind one that does.
    fn post(&mut self, conn: ConnId, mut letter: Letter) {
        let Some(peer) = self.conns.get_mut(conn) else { return };
        if letter.is_goodbye() {
            // The session is over: whoever comes back asks for what is still of use.
            peer.held.clear();
        }
        let is_first = peer.held.is_empty();
        // What has a window of its own is not counted, and need not be encoded before it leaves.
        if !letter.is_whole() || (!is_first && letter.weight() == Weight::Windowed) {
            peer.held.push_letter(letter);
            if is_first {
                self.reads.queue(conn);
            }
        } else if is_first || letter.is_heartbeat() {
            self.send_letter(conn, letter);
        } else {
            let mut frames = self.encode(conn, letter);
            if self.book(conn, &mut frames)
                && let Some(peer) = self.conns.get_mut(conn)
            {
                peer.held.push_frames(frames);
            }
        }
    }

    /// Sends a letter that has all of its values.
    pub(super) fn send_letter(&mut self, conn: ConnId, letter: Letter) {
        let mut frames = self.encode(conn, letter);
        if self.book(conn, &mut frames) {
            self.send_frames(conn, frames);
        }
    }

    fn encode(&mut self, conn: ConnId, letter: Letter) -> Frames {
        let (weight, answer, is_heartbeat) = (letter.weight(), letter.answer(), letter.is_heartbeat());
        let mut list = std::mem::take(&mut self.frames);
        let mut mark = 0;
        if let Some(peer) = self.conns.get_mut(conn)
            && is_heartbeat
        {
            // It overtakes what waits here: that will not have been read when this has.
            mark = peer.outbox.mark() - peer.held.booked();
            peer.outbox.ask(mark, self.beats);
        }
        let config = self.scheduler.config();
        match letter {
            Letter::Client(reply) => convert::encode_client(config, mark, reply, &mut list),
            Letter::Worker(command) => convert::encode_worker(config, mark, command, &mut list),
        }
        Frames { list, weight, answer, booked: 0 }
    }

    /// Counts what a peer has to read. Returns whether it may be sent: not when the connection was cut for it.
    fn book(&mut self, conn: ConnId, frames: &mut Frames) -> bool {
        let Some(peer) = self.conns.get_mut(conn) else { return false };
        if frames.weight == Weight::Windowed {
            return true;
        }
        let mut is_over = false;
        let mut dropped = 0;
        frames.list.retain(|frame| {
            match peer.outbox.room() {
                Room::Tight if frames.weight == Weight::Extra => {
                    dropped += 1;
                    return false;
                }
                Room::Free | Room::Tight => {}
                Room::Over => is_over = true,
            }
            if !is_over {
                peer.outbox.book(frame.len());
                frames.booked += frame.len() as u64;
            }
            !is_over
        });
        self.counters.events_dropped += dropped;
        if is_over {
            self.counters.slow_readers_cut += 1;
            let text = "the peer does not read what it is sent";
            self.cut(conn, ErrorCode::SlowReader, text, DownReason::Overflow);
        }
        !is_over
    }

    /// Sends encoded messages, and then whatever waited for this answer.
    pub(super) fn send_frames(&mut self, conn: ConnId, mut frames: Frames) {
        for frame in frames.list.drain(..) {
            if !self.send_one(conn, frame) {
                break;
            }
        }
        self.frames = frames.list;
        if frames.answer == Answer::ToNone {
            return;
        }
        let Some(peer) = self.conns.get_mut(conn) else { return };
        peer.asks.answered(frames.answer);
        if let Some(input) = peer.asks.next(peer.outbox.room()) {
            self.scheduler.handle(self.clock.now(), input);
        }
    }

    /// Sends one message. Returns whether the connection is still there.
    fn send_one(&mut self, conn: ConnId, frame: Vec<u8>) -> bool {
        let Some(peer) = self.conns.get_mut(conn) else { return false };
        self.counters.messages_out += 1;
        let side = peer.side;
        match self.socket(side).try_send(conn, frame.into()) {
            Ok(()) => true,
            // Its end is on the way.
            Err(SendError::Gone(_)) => false,
            Err(SendError::Full(_)) => {
                self.counters.queues_full += 1;
                let text = "the queue of the connection is full";
                self.cut(conn, ErrorCode::SlowReader, text, DownReason::Overflow);
                false
            }
        }
    }
}
