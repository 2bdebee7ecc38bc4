//! What the broker says, and what becomes of a connection.

use bytes::Bytes;
use ganger_common::message::{ClientHeartbeat, ClientHello, FromClient, Goodbye, ToClient};
use ganger_common::version::PROTOCOL;
use ganger_common::{DecodeError, ErrorCode, decode, encode};

use super::event::{Broker, Effect};
use super::link::{Link, Open, pause, welcome_patience};
use super::machine::Session;
use super::wire;
use crate::error::Error;

impl Session {
    pub(super) fn on_connected(&mut self) {
        if !matches!(self.link, Link::Connecting) {
            return;
        }
        self.link = Link::Greeting { deadline: self.now + welcome_patience() };
        let hello = FromClient::Hello(ClientHello {
            protocol: PROTOCOL,
            client: self.config.client,
            token: self.config.token,
            name: self.config.name.as_str().into(),
        });
        self.effects.push_back(Effect::Send(encode(&hello)));
    }

    pub(super) fn on_frame(&mut self, frame: &Bytes) {
        if !matches!(self.link, Link::Greeting { .. } | Link::Open(_)) {
            return;
        }
        if let Some(open) = self.link.open_mut() {
            open.heard = self.now;
        }
        match decode::<ToClient<'_>>(frame) {
            Ok(message) => self.on_message(frame, message),
            // A newer broker of the same major version may say things that an older client skips.
            Err(DecodeError::UnknownType(kind)) => {
                self.notice(ErrorCode::UnknownMessage, &format!("the broker said {kind}"));
            }
            Err(error) => self.drop_connection(&format!("the broker sent no valid message: {error}")),
        }
    }

    fn on_message(&mut self, frame: &Bytes, message: ToClient<'_>) {
        match (&self.link, message) {
            (Link::Greeting { .. }, ToClient::Welcome(welcome)) => {
                if !PROTOCOL.accepts(welcome.protocol) {
                    let text = format!("it speaks protocol {}, this client {PROTOCOL}", welcome.protocol);
                    return self.end(Error::Ended { code: ErrorCode::UnsupportedVersion, text });
                }
                self.on_welcome(wire::broker(&welcome));
            }
            (_, ToClient::Error(error)) if error.req.is_none() => self.on_complaint(error.code, &error.text),
            (_, ToClient::Goodbye(goodbye)) => self.on_goodbye(&goodbye),
            (Link::Open(_), message) => self.on_open_message(frame, message),
            // Nothing else counts before the welcome.
            _ => {}
        }
    }

    fn on_open_message(&mut self, frame: &Bytes, message: ToClient<'_>) {
        match message {
            ToClient::Heartbeat(beat) => {
                if let Some(open) = self.link.open_mut() {
                    open.mark = open.mark.max(beat.mark);
                }
            }
            ToClient::Accepted(accepted) => self.on_accepted(accepted),
            ToClient::Outcomes(outcomes) => self.on_outcomes(frame, outcomes),
            ToClient::Progress(told) => self.on_event(told.task, wire::progress(&told)),
            ToClient::Partial(told) => self.on_event(told.task, wire::partial(frame, &told)),
            ToClient::Verdicts(verdicts) if self.watches.contains_key(&verdicts.req) => {
                self.on_watch_verdicts(&verdicts);
            }
            ToClient::Error(error) => self.on_error(&error),
            answer => self.on_answer(frame, answer),
        }
    }

    fn on_welcome(&mut self, broker: Broker) {
        self.counters.opened += 1;
        let beat_at = self.now + broker.heartbeat;
        self.effects.push_back(Effect::Opened(broker.clone()));
        self.link = Link::Open(Open { broker, since: self.now, heard: self.now, beat_at, mark: 0 });
        self.watch_all();
    }

    /// The broker complains about something that is no request.
    fn on_complaint(&mut self, code: ErrorCode, text: &str) {
        match code {
            code if is_final(code) => self.end(Error::Ended { code, text: text.to_owned() }),
            ErrorCode::HelloFirst
            | ErrorCode::TooManySessions
            | ErrorCode::Silent
            | ErrorCode::SlowReader => self.drop_connection(&format!("{code}: {text}")),
            _ if self.link.open().is_none() => self.drop_connection(&format!("{code}: {text}")),
            _ => self.notice(code, text),
        }
    }

    fn on_goodbye(&mut self, goodbye: &Goodbye<'_>) {
        let text = &*goodbye.text;
        match goodbye.code {
            Some(code) if is_final(code) => self.end(Error::Ended { code, text: text.to_owned() }),
            Some(code) => self.drop_connection(&format!("the broker said goodbye: {code}: {text}")),
            None => self.drop_connection(&format!("the broker said goodbye: {text}")),
        }
    }

    pub(super) fn beat(&mut self) {
        let Some(open) = self.link.open_mut() else { return };
        open.beat_at = self.now + open.broker.heartbeat;
        let heartbeat = FromClient::Heartbeat(ClientHeartbeat { mark: open.mark });
        self.effects.push_back(Effect::Send(encode(&heartbeat)));
    }

    /// Gives the connection up, to try another.
    pub(super) fn drop_connection(&mut self, reason: &str) {
        if matches!(self.link, Link::Greeting { .. } | Link::Open(_)) {
            self.effects.push_back(Effect::Disconnect);
            self.on_lost(reason);
        }
    }

    pub(super) fn on_lost(&mut self, reason: &str) {
        match &self.link {
            Link::Waiting { .. } | Link::Over(_) => return,
            // One that lasted was a good one: its end says nothing against the next.
            Link::Open(open) if self.now - open.since >= open.broker.heartbeat => self.failures = 0,
            _ => self.failures += 1,
        }
        let retry_at = self.now + pause(self.failures, &mut self.random);
        self.link = Link::Waiting { until: retry_at };
        self.effects.push_back(Effect::Down { reason: reason.to_owned(), retry_at });
        self.stream_seen = 0;
        self.stream_confirmed = 0;
        self.busy_until = None;
        self.take_back_batches();
        self.to_watch.clear();
        self.watches.clear();
        self.take_back_questions();
    }
}

/// Whether another connection would meet the same refusal.
fn is_final(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UnsupportedVersion | ErrorCode::SessionTaken | ErrorCode::Denied)
}
