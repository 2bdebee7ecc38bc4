//! From events to inputs.

use bytes::Bytes;
use ganger_common::message::{FromClient, FromWorker};
use ganger_common::{ConnId, DecodeError, ErrorCode, decode};
use ganger_scheduler::{ClientRequest, Input, Now, WorkerRequest};
use ganger_transport::{DownReason, MalformedReason, Publisher, Server, ServerEvent};

use super::{Shell, Side};
use crate::asks::{Admission, large_client_request, large_worker_request};
use crate::convert::{self, Incoming, PreRefused};
use crate::journal::Journal;
use crate::keys::Denied;

impl<S: Server, P: Publisher, J: Journal> Shell<S, P, J> {
    /// Takes in something that happened at a socket.
    pub fn on_event(&mut self, now: Now, side: Side, event: ServerEvent) {
        match event {
            ServerEvent::Up { conn, peer } => {
                tracing::debug!(%conn, ?side, addr = ?peer.addr, "connected");
                self.counters.connections_opened += 1;
                self.guard.up(conn, side, &peer);
                self.conns.add(conn, side);
            }
            ServerEvent::Message { conn, body } => self.on_message(now, conn, &body),
            ServerEvent::Malformed { conn, parts, bytes, reason } => {
                self.counters.messages_in += 1;
                self.counters.messages_malformed += 1;
                let (code, text) = malformed(parts, bytes, reason);
                tracing::debug!(%conn, ?side, text, "a message was not taken");
                self.refuse(conn, None, code, text);
            }
            ServerEvent::Down { conn, reason } => {
                if self.forget(conn).is_some() {
                    tracing::debug!(%conn, ?side, ?reason, "disconnected");
                    self.scheduler.handle(now, Input::ConnectionDown { conn });
                }
            }
        }
    }

    fn on_message(&mut self, now: Now, conn: ConnId, frame: &Bytes) {
        // A connection that the shell has closed may have sent more before it noticed.
        let Some(side) = self.conns.get_mut(conn).map(|conn| conn.side) else { return };
        self.counters.messages_in += 1;
        match side {
            Side::Client => match decode::<FromClient<'_>>(frame) {
                Ok(message) => {
                    let incoming = convert::client(frame, message, &mut self.kinds);
                    self.on_client(now, conn, incoming);
                }
                Err(error) => self.on_undecodable(conn, side, frame, &error),
            },
            Side::Worker => match decode::<FromWorker<'_>>(frame) {
                Ok(message) => {
                    let incoming = convert::worker(frame, message, &mut self.kinds);
                    self.on_worker(now, conn, incoming);
                }
                Err(error) => self.on_undecodable(conn, side, frame, &error),
            },
        }
    }

    fn on_client(&mut self, now: Now, conn: ConnId, incoming: Incoming<ClientRequest>) {
        let (mut request, mark, invalid) = match incoming {
            Incoming::Request(request) => (request, None, PreRefused::default()),
            Incoming::Heartbeat(request, beat) => (request, Some(beat.mark), PreRefused::default()),
            Incoming::Partly { request, refused, .. } => {
                self.counters.tasks_invalid += refused.len() as u64;
                (request, None, refused)
            }
            Incoming::Refused(refused) => return self.on_refused(conn, refused),
        };
        let mut not_allowed = PreRefused::default();
        let verdict = self.guard.client(conn, &mut request, &mut not_allowed, &self.scheduler, now.time);
        if let Err(denied) = verdict {
            return self.on_refused(conn, denied.into());
        }
        let refused = invalid.then(not_allowed);
        // Before a hello the scheduler answers with an error instead of a verdict.
        if let ClientRequest::Submit { seq, .. } = &request
            && !refused.is_empty()
            && let Some(peer) = self.conns.get_mut(conn).filter(|peer| peer.greeted)
        {
            peer.pre_refused.push_back((*seq, refused));
        }
        if let ClientRequest::Hello { client, name, .. } = &request {
            tracing::debug!(%conn, %client, name, "a client says hello");
            self.greet(conn);
        }
        let large = large_client_request(&request);
        self.hand_over(now, conn, large, Input::Client { conn, request });
        if let Some(mark) = mark {
            self.on_mark(now, conn, mark);
        }
    }

    fn on_worker(&mut self, now: Now, conn: ConnId, incoming: Incoming<WorkerRequest>) {
        let (request, beat) = match incoming {
            Incoming::Request(request) | Incoming::Partly { request, .. } => (request, None),
            Incoming::Heartbeat(request, beat) => (request, Some(beat)),
            Incoming::Refused(refused) => return self.on_refused(conn, refused),
        };
        if let Err(denied) = self.guard.worker(conn, &request, now.time) {
            return self.on_refused(conn, denied.into());
        }
        if let WorkerRequest::Hello(hello) = &request {
            let (slots, kinds, holds) = (hello.slots, hello.kinds.len(), hello.holding.len());
            let (worker, name, host) = (hello.worker, &hello.name, &hello.host);
            tracing::info!(%conn, %worker, name, host, slots, kinds, holds, "a worker says hello");
            self.greet(conn);
            if let Some(peer) = self.conns.get_mut(conn) {
                peer.worker = Some(hello.worker);
            }
        }
        if let Some(beat) = beat
            && let Some(peer) = self.conns.get_mut(conn)
        {
            peer.quiet = beat.quiet;
            peer.asked |= beat.quiet.is_none();
        }
        let large = large_worker_request(&request);
        self.hand_over(now, conn, large, Input::Worker { conn, request });
        if let Some(beat) = beat {
            self.on_mark(now, conn, beat.mark);
        }
    }

    fn greet(&mut self, conn: ConnId) {
        if let Some(peer) = self.conns.get_mut(conn) {
            peer.greeted = true;
        }
    }

    /// Hands an input to the scheduler, at once unless its answer may be large and has to wait.
    fn hand_over(&mut self, now: Now, conn: ConnId, large: Option<u64>, input: Input) {
        let (Some(req), Some(peer)) = (large, self.conns.get_mut(conn)) else {
            return self.scheduler.handle(now, input);
        };
        match peer.asks.admit(req, input, peer.outbox.room()) {
            Admission::Now(input) => self.scheduler.handle(now, input),
            Admission::Later => self.counters.requests_postponed += 1,
            Admission::Full => {
                let text = "too many requests wait on this connection; read the answers first".to_owned();
                self.refuse(conn, Some(req), ErrorCode::Busy, text);
            }
        }
    }

    /// The peer shows what it has read: there may be room for the next large answer.
    fn on_mark(&mut self, now: Now, conn: ConnId, mark: u64) {
        let Some(peer) = self.conns.get_mut(conn) else { return };
        peer.outbox.echo(mark);
        let beats_max = u64::from(self.scheduler.config().liveness) * 2;
        if peer.outbox.is_deaf(self.beats, beats_max) {
            self.counters.slow_readers_cut += 1;
            let text = "the peer goes on talking and does not read what it is sent";
            return self.cut(conn, ErrorCode::SlowReader, text, DownReason::Overflow);
        }
        if let Some(input) = peer.asks.next(peer.outbox.room()) {
            self.scheduler.handle(now, input);
        }
    }

    fn on_undecodable(&mut self, conn: ConnId, side: Side, frame: &[u8], error: &DecodeError) {
        self.counters.messages_undecodable += 1;
        self.on_refused(conn, convert::undecodable(side, frame, error));
    }

    fn on_refused(&mut self, conn: ConnId, refused: convert::Refused) {
        tracing::debug!(%conn, code = %refused.code, text = refused.text, "refused");
        self.refuse(conn, refused.req, refused.code, refused.text);
        if refused.is_final {
            self.close(conn, DownReason::Kicked);
            // It may have had a session until now.
            self.scheduler.handle(self.clock.now(), Input::ConnectionDown { conn });
        }
    }
}

impl From<Denied> for convert::Refused {
    fn from(denied: Denied) -> Self {
        Self { req: denied.req, code: ErrorCode::Denied, text: denied.text, is_final: denied.is_final }
    }
}

fn malformed(parts: usize, bytes: usize, reason: MalformedReason) -> (ErrorCode, String) {
    match reason {
        MalformedReason::Parts => {
            (ErrorCode::BadMessage, format!("a message of {parts} parts; there must be exactly one"))
        }
        MalformedReason::TooLarge => {
            (ErrorCode::TooLarge, format!("a message of {bytes} bytes is over the limit"))
        }
    }
}
