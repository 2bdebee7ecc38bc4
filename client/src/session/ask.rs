//! Questions and their answers.

use std::time::Instant;

use bytes::Bytes;
use ganger_common::message::{ErrorReply, ToClient};

use super::config::REQUESTS_MAX;
use super::event::{Effect, Token};
use super::machine::Session;
use super::request::{Answer, Request};
use super::wire;
use crate::error::{Error, Result};

/// A question without an answer.
#[derive(Debug)]
pub(super) struct Asked {
    token: Token,
    request: Request,
    /// When it was sent on the present connection.
    pub(super) sent_at: Option<Instant>,
}

impl Session {
    pub(super) fn on_ask(&mut self, token: Token, request: Request) {
        let has_room = match self.asked.len() < REQUESTS_MAX {
            true => Ok(()),
            false => Err(Error::Full { what: "requests", most: REQUESTS_MAX }),
        };
        if let Err(error) = self.check_alive().and(has_room).and_then(|()| request.check()) {
            return self.answer(token, Err(error));
        }
        let req = self.next_req;
        self.next_req += 1;
        self.asked.insert(req, Asked { token, request, sent_at: None });
        self.to_ask.push_back(req);
    }

    pub(super) fn send_questions(&mut self) {
        while let Some(req) = self.to_ask.pop_front() {
            if let Some(asked) = self.asked.get_mut(&req) {
                asked.sent_at = Some(self.now);
                self.effects.push_back(Effect::Send(wire::request(req, &asked.request)));
            }
        }
    }

    pub(super) fn on_answer(&mut self, frame: &Bytes, message: ToClient<'_>) {
        let (req, answer) = match message {
            ToClient::Verdicts(verdicts) => {
                (verdicts.req, Answer::Verdicts(wire::verdicts(&verdicts.refused)))
            }
            ToClient::Discarded(discarded) => {
                let refused = wire::verdicts(&discarded.refused);
                (discarded.req, Answer::Discarded { count: discarded.count, refused, next: discarded.next })
            }
            ToClient::Task(reply) => {
                let result = reply.result.map(|result| wire::own(frame, result.0));
                (reply.req, Answer::Task { task: Box::new(reply.task), result })
            }
            ToClient::Payload(reply) => (reply.req, Answer::Payload(wire::own(frame, reply.payload.0))),
            ToClient::Tasks(rows) => (rows.req, Answer::Tasks { rows: rows.rows.0, next: rows.next }),
            ToClient::Workers(rows) => (rows.req, Answer::Workers { rows: rows.rows.0, next: rows.next }),
            ToClient::Explanation(body) => (body.req, Answer::Explanation(Box::new(body.body))),
            ToClient::Status(body) => (body.req, Answer::Status(Box::new(body.body))),
            ToClient::Knowledge(reply) => (reply.req, wire::knowledge(frame, reply.answer)),
            ToClient::Done(request) => (request.req, Answer::Done),
            // A second welcome, and what the session has dealt with before.
            _ => return,
        };
        if let Some(asked) = self.asked.remove(&req) {
            #[cfg(feature = "planted")]
            let answer = match asked.request {
                Request::Cancel(_) if crate::planted::is(crate::planted::Bug::CancelRefusalUnheeded) => {
                    Answer::Verdicts(Vec::new())
                }
                _ => answer,
            };
            self.answer(asked.token, Ok(answer));
        }
    }

    /// A request was refused.
    pub(super) fn on_error(&mut self, error: &ErrorReply<'_>) {
        let Some(req) = error.req else { return };
        match self.asked.remove(&req) {
            Some(asked) => self.answer(asked.token, Err(wire::error(error))),
            None => self.on_watch_error(error),
        }
    }

    /// The connection is gone: what may be asked twice is asked again, the rest may have been carried out.
    pub(super) fn take_back_questions(&mut self) {
        self.to_ask.clear();
        for (req, mut asked) in std::mem::take(&mut self.asked) {
            match asked.sent_at.take() {
                Some(_) if !asked.request.is_idempotent() => {
                    self.answer(asked.token, Err(Error::Interrupted));
                }
                _ => {
                    self.to_ask.push_back(req);
                    self.asked.insert(req, asked);
                }
            }
        }
    }

    pub(super) fn end_questions(&mut self, error: &Error) {
        self.to_ask.clear();
        for (_, asked) in std::mem::take(&mut self.asked) {
            self.answer(asked.token, Err(error.clone()));
        }
    }

    fn answer(&mut self, token: Token, result: Result<Answer>) {
        self.effects.push_back(Effect::Answer { token, result });
    }
}
