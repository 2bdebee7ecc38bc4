//! From effects to messages.

use ganger_common::{ConnId, ErrorCode};
use ganger_scheduler::effect::{ClientReply, WorkerCommand};
use ganger_scheduler::{Effect, Input, Publication};
use ganger_transport::{DownReason, PublishError, Publisher, SendError, Server};

use super::Shell;
use super::journaling::figures;
use crate::asks::{Answer, answer_of_client, answer_of_worker};
use crate::convert;
use crate::error::BrokerError;
use crate::journal::Journal;
use crate::outbox::Room;
use crate::publisher;

/// How a message stands to the limit of what a peer may leave unread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// It has a window of its own.
    Windowed,
    /// It counts, and can be done without.
    Extra,
    /// It counts.
    Control,
}

impl<S: Server, P: Publisher, J: Journal> Shell<S, P, J> {
    /// Carries out everything that the scheduler wants done: records are made safe first, and the promises
    /// that wait for them go out after.
    pub fn carry_out(&mut self) -> Result<(), BrokerError> {
        loop {
            while let Some(effect) = self.scheduler.poll_effect() {
                self.carry_out_one(effect)?;
            }
            if self.batch.is_empty() {
                self.guard.decided();
                self.watch_journal();
                return Ok(());
            }
            let upto = self.journal.append(&mut self.batch)?;
            self.scheduler.handle(self.clock.now(), Input::Journaled { upto });
        }
    }

    fn carry_out_one(&mut self, effect: Effect) -> Result<(), BrokerError> {
        match effect {
            Effect::Append { lsn, record } => {
                self.guard.on_record(&record, &self.scheduler);
                self.batch.push((lsn, record));
            }
            Effect::ToClient { conn, reply } => self.tell_client(conn, reply),
            Effect::ToWorker { conn, command } => self.tell_worker(conn, command),
            Effect::Publish(publication) => {
                if matches!(publication, Publication::Beat { .. }) {
                    self.beats += 1;
                }
                let parts = publisher::parts(self.scheduler.config().epoch, &publication);
                match self.sockets.knowledge.publish(parts) {
                    Ok(()) => {}
                    // Subscribers see the gap by the numbers, and ask for what is missing.
                    Err(PublishError::Full) => self.counters.publications_dropped += 1,
                    Err(PublishError::Gone) => return Err(BrokerError::SocketEnded),
                }
            }
            Effect::Close { conn } => self.close(conn, DownReason::Kicked),
            Effect::Carried { from } => self.on_carried(from)?,
            Effect::Drained => self.drained = true,
        }
        Ok(())
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
            }
            ClientReply::Knowledge { answer, .. } => self.guard.answer(conn, answer),
            _ => {}
        }
        let weight = match reply {
            ClientReply::Outcomes { .. } => Weight::Windowed,
            ClientReply::Progress { .. } | ClientReply::Partial { .. } => Weight::Extra,
            _ => Weight::Control,
        };
        if matches!(reply, ClientReply::Heartbeat { .. }) {
            peer.outbox.ask(self.beats);
        }
        let answer = answer_of_client(&reply);
        let mark = peer.outbox.mark();
        convert::encode_client(self.scheduler.config(), mark, reply, &mut self.frames);
        self.send(conn, weight, answer);
    }

    pub(super) fn tell_worker(&mut self, conn: ConnId, mut command: WorkerCommand) {
        if let WorkerCommand::Knowledge { answer, .. } = &mut command {
            self.guard.answer(conn, answer);
        }
        let Some(peer) = self.conns.get_mut(conn) else { return };
        let weight = match command {
            WorkerCommand::Tasks { .. } => Weight::Windowed,
            _ => Weight::Control,
        };
        if matches!(command, WorkerCommand::Heartbeat { .. }) {
            peer.outbox.ask(self.beats);
        }
        let answer = answer_of_worker(&command);
        let mark = peer.outbox.mark();
        convert::encode_worker(self.scheduler.config(), mark, command, &mut self.frames);
        self.send(conn, weight, answer);
    }

    /// Sends the encoded messages, and then whatever waited for this answer.
    fn send(&mut self, conn: ConnId, weight: Weight, answer: Answer) {
        let mut frames = std::mem::take(&mut self.frames);
        for frame in frames.drain(..) {
            if !self.send_one(conn, weight, frame) {
                break;
            }
        }
        self.frames = frames;
        if answer == Answer::ToNone {
            return;
        }
        let Some(peer) = self.conns.get_mut(conn) else { return };
        peer.asks.answered(answer);
        if let Some(input) = peer.asks.next(peer.outbox.room()) {
            self.scheduler.handle(self.clock.now(), input);
        }
    }

    /// Sends one message. Returns whether the connection is still there.
    fn send_one(&mut self, conn: ConnId, weight: Weight, frame: Vec<u8>) -> bool {
        let Some(peer) = self.conns.get_mut(conn) else { return false };
        if weight != Weight::Windowed {
            match peer.outbox.room() {
                Room::Free => {}
                Room::Tight if weight == Weight::Extra => {
                    self.counters.events_dropped += 1;
                    return true;
                }
                Room::Tight => {}
                Room::Over => {
                    self.counters.slow_readers_cut += 1;
                    let text = "the peer does not read what it is sent";
                    self.cut(conn, ErrorCode::SlowReader, text, DownReason::Overflow);
                    return false;
                }
            }
            peer.outbox.book(frame.len());
        }
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
