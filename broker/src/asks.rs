//! Requests with large answers, one at a time for each connection.
//!
//! A page of knowledge or a result may have megabytes. A peer that reads well proves it once a heartbeat
//! only, so it could ask for more in between than it may leave unread, and be cut for it. Such requests
//! therefore wait until the last one is answered and the peer has shown what it has read: whoever reads
//! is slowed and never cut, whoever does not read waits for ever and costs nothing.

use std::collections::VecDeque;

use ganger_scheduler::effect::{ClientReply, WorkerCommand};
use ganger_scheduler::input::KnowledgeOp;
use ganger_scheduler::{ClientRequest, Input, WorkerRequest};

use crate::outbox::Room;

/// Requests that may wait for one connection; more are answered with `busy`.
const WAITING_MAX: usize = 256;

/// The requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    /// The number of the one that is being answered.
    in_flight: Option<u64>,
    waiting: VecDeque<(u64, Input)>,
}

/// What becomes of a request.
pub(crate) enum Admission {
    /// Hand it over.
    Now(Input),
    /// Its turn comes.
    Later,
    /// Too many wait already.
    Full,
}

impl Asks {
    pub(crate) fn admit(&mut self, req: u64, input: Input, room: Room) -> Admission {
        if self.waiting.len() >= WAITING_MAX {
            return Admission::Full;
        }
        self.waiting.push_back((req, input));
        match self.next(room) {
            Some(input) => Admission::Now(input),
            None => Admission::Later,
        }
    }

    /// The next one, when the last is answered and the peer reads.
    pub(crate) fn next(&mut self, room: Room) -> Option<Input> {
        if self.in_flight.is_some() || room != Room::Free {
            return None;
        }
        let (req, input) = self.waiting.pop_front()?;
        self.in_flight = Some(req);
        Some(input)
    }

    /// An answer goes out.
    pub(crate) fn answered(&mut self, answer: Answer) {
        if answer == Answer::ToAny || self.in_flight.is_some_and(|req| answer == Answer::To(req)) {
            self.in_flight = None;
        }
    }
}

/// Which request something answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// The one with this number.
    To(u64),
    /// Perhaps one: it is an error without a number.
    ToAny,
    /// None that may have to wait.
    ToNone,
}

/// What a reply to a client answers.
pub(crate) fn answer_of_client(reply: &ClientReply) -> Answer {
    match reply {
        ClientReply::Task { req, .. }
        | ClientReply::Payload { req, .. }
        | ClientReply::Tasks { req, .. }
        | ClientReply::Workers { req, .. }
        | ClientReply::Knowledge { req, .. } => Answer::To(*req),
        ClientReply::Error(refused) => refused.req.map_or(Answer::ToAny, Answer::To),
        _ => Answer::ToNone,
    }
}

/// What a command to a worker answers.
pub(crate) fn answer_of_worker(command: &WorkerCommand) -> Answer {
    match command {
        WorkerCommand::Knowledge { req, .. } => Answer::To(*req),
        WorkerCommand::Error(refused) => refused.req.map_or(Answer::ToAny, Answer::To),
        _ => Answer::ToNone,
    }
}

/// The number of a client's request whose answer may be large.
pub(crate) fn large_client_request(request: &ClientRequest) -> Option<u64> {
    match request {
        ClientRequest::Fetch { req, .. }
        | ClientRequest::Payload { req, .. }
        | ClientRequest::List { req, .. }
        | ClientRequest::ListWorkers { req, .. } => Some(*req),
        ClientRequest::Knowledge { req, op } => has_large_answer(op).then_some(*req),
        ClientRequest::Hello { .. }
        | ClientRequest::Heartbeat
        | ClientRequest::Submit { .. }
        | ClientRequest::Watch { .. }
        | ClientRequest::Ack { .. }
        | ClientRequest::Cancel { .. }
        | ClientRequest::Retry { .. }
        | ClientRequest::Discard { .. }
        | ClientRequest::Pause { .. }
        | ClientRequest::Resume { .. }
        | ClientRequest::Explain { .. }
        | ClientRequest::Status { .. }
        | ClientRequest::Drain { .. }
        | ClientRequest::Publish { .. }
        | ClientRequest::Goodbye => None,
    }
}

/// The number of a worker's request whose answer may be large.
pub(crate) fn large_worker_request(request: &WorkerRequest) -> Option<u64> {
    match request {
        WorkerRequest::Knowledge { req, op } => has_large_answer(op).then_some(*req),
        WorkerRequest::Hello(_)
        | WorkerRequest::Heartbeat { .. }
        | WorkerRequest::Report { .. }
        | WorkerRequest::Progress { .. }
        | WorkerRequest::Partial { .. }
        | WorkerRequest::Drain { .. }
        | WorkerRequest::Goodbye => None,
    }
}

fn has_large_answer(op: &KnowledgeOp) -> bool {
    match op {
        KnowledgeOp::Get { .. } | KnowledgeOp::List { .. } | KnowledgeOp::Since { .. } => true,
        KnowledgeOp::Put { .. } | KnowledgeOp::Delete { .. } | KnowledgeOp::Status => false,
    }
}

#[cfg(test)]
mod tests {
    use ganger_common::ConnId;

    use super::*;

    fn ask(req: u64) -> Input {
        Input::Client { conn: ConnId(1), request: ClientRequest::Status { req } }
    }

    #[test]
    fn the_second_waits_for_the_answer_to_the_first() {
        let mut asks = Asks::default();
        assert!(matches!(asks.admit(1, ask(1), Room::Free), Admission::Now(_)));
        assert!(matches!(asks.admit(2, ask(2), Room::Free), Admission::Later));
        asks.answered(Answer::To(9));
        assert!(asks.next(Room::Free).is_none());
        asks.answered(Answer::To(1));
        assert!(asks.next(Room::Free).is_some());
    }

    #[test]
    fn a_peer_that_does_not_read_waits() {
        let mut asks = Asks::default();
        assert!(matches!(asks.admit(1, ask(1), Room::Tight), Admission::Later));
        assert!(asks.next(Room::Tight).is_none() && asks.next(Room::Free).is_some());
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut asks = Asks::default();
        for req in 0..WAITING_MAX as u64 {
            assert!(matches!(asks.admit(req, ask(req), Room::Tight), Admission::Later));
        }
        assert!(matches!(asks.admit(9_999, ask(9_999), Room::Tight), Admission::Full));
    }
}
