//! The connection: made, greeted, watched, lost, made again.

use std::time::Duration;

use ganger_common::limits::{PULSE_BEATS, RECONNECT_PAUSE_MAX, TEXT_BYTES_MAX};
use ganger_common::message::{FromWorker, WorkerHeartbeat, WorkerHello};
use ganger_common::version::PROTOCOL;
use ganger_common::{AttemptEnd, DecodeError, ErrorCode, Revision};

use super::Session;
use super::config::{RECONNECT_PAUSE_MIN, REVISION_INTERVAL, WELCOME_WITHIN};
use super::effect::{Effect, Outgoing, StopReason};
use super::hold::State;
use super::input::{Incoming, Opening};
use crate::replica::REPLICA_BYTES_MAX;
use crate::time::Time;

/// A worker that has nothing asks for no answer to so many heartbeats in a row: they tell the broker that it
/// lives, which is what matters then, and with thousands of them an answer each is half of what a broker does.
/// That the broker is gone without a word it notices so many beats later.
pub(super) const QUIET_BEATS_MAX: u32 = 4;

/// Between two of these pass so many heartbeats: the broker bears with a worker that has nothing for as much
/// longer. When it is given something it beats at once, and then as often as any other.
pub(super) const QUIET_PACE: u32 = 2;

/// Where the connection is in its life.
#[derive(Debug)]
pub(super) enum Link {
    /// Not connected; the next try is then.
    Waiting { at: Time },
    /// The shell tries.
    Connecting,
    /// Hello was said.
    Greeting { since: Time },
    /// The broker has said welcome.
    Open(Box<Open>),
    /// The session has ended.
    Ended,
}

/// What is known of an open session.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) opening: Opening,
    heard: Time,
    /// When an answer was asked for again after a while without.
    asked: Time,
    /// The beats since the last answer that asked for none; nothing, if something else was heard meanwhile.
    quiet: Option<u32>,
    last_beat: Time,
    mark: u64,
    /// The knowledge revision that the broker was told.
    told: Revision,
}

impl Open {
    /// Whether nothing was asked since the last answer.
    fn is_quiet(&self) -> bool {
        self.quiet.is_some_and(|beats| beats > 0)
    }

    /// When the next heartbeat is due.
    fn beat_at(&self) -> Time {
        // A broker that gives up after a single one has no patience to double.
        let is_slow = self.is_quiet() && self.opening.liveness > 1;
        self.last_beat.plus(self.opening.heartbeat.saturating_mul(if is_slow { QUIET_PACE } else { 1 }))
    }

    /// When the broker has been silent for too long, if it has been asked for anything.
    fn silent_at(&self) -> Option<Time> {
        let since = self.heard.max(self.asked);
        (!self.is_quiet()).then(|| since.plus(self.opening.silence_max()))
    }
}

impl Session {
    pub(super) fn link_timeout(&self) -> Option<Time> {
        match &self.link {
            Link::Waiting { at } => Some(*at),
            Link::Greeting { since } => Some(since.plus(WELCOME_WITHIN)),
            Link::Open(open) => {
                let beat = open.beat_at();
                Some(open.silent_at().map_or(beat, |silent| silent.min(beat)))
            }
            Link::Connecting | Link::Ended => None,
        }
    }

    pub(super) fn on_link_timeout(&mut self, now: Time) {
        match &mut self.link {
            Link::Waiting { at } if *at <= now => {
                self.link = Link::Connecting;
                self.effects.push_back(Effect::Connect);
            }
            Link::Greeting { since } if since.plus(WELCOME_WITHIN) <= now => {
                self.disconnect(now, "the broker did not answer the hello");
            }
            Link::Open(open) if open.silent_at().is_some_and(|silent| silent <= now) => {
                self.disconnect(now, "nothing was heard from the broker for too long");
            }
            Link::Open(open) if open.beat_at() <= now => self.beat(now),
            _ => {}
        }
    }

    /// When the broker should be told of a new knowledge revision.
    pub(super) fn revision_timeout(&self) -> Option<Time> {
        match &self.link {
            Link::Open(open) if open.told != self.replica.revision() => {
                Some(open.last_beat.plus(REVISION_INTERVAL))
            }
            _ => None,
        }
    }

    pub(super) fn tell_revision(&mut self, now: Time) {
        if self.revision_timeout().is_some_and(|due| due <= now) {
            self.beat(now);
        }
    }

    fn beat(&mut self, now: Time) {
        let Link::Open(open) = &mut self.link else { return };
        let is_idle = self.hold.len() == 0 && self.reports.len() == 0 && self.leaving.is_none();
        open.last_beat = now;
        open.told = self.replica.revision();
        let quiet = is_idle && open.quiet.is_some_and(|beats| beats < QUIET_BEATS_MAX);
        if !quiet && open.is_quiet() {
            open.asked = now;
        }
        open.quiet = open.quiet.filter(|_| quiet).map(|beats| beats + 1);
        let heartbeat = WorkerHeartbeat { mark: open.mark, revision: open.told, quiet };
        self.send(&FromWorker::Heartbeat(heartbeat));
    }

    pub(super) fn on_connected(&mut self, now: Time) {
        if !matches!(self.link, Link::Connecting) {
            return;
        }
        self.link = Link::Greeting { since: now };
        let holding = self.hold.holding();
        let hello = FromWorker::Hello(WorkerHello {
            protocol: PROTOCOL,
            worker: self.config.worker,
            token: self.config.token,
            name: self.config.name.as_str().into(),
            host: self.config.host.as_str().into(),
            pid: self.config.pid,
            kinds: self.config.kinds.iter().map(Into::into).collect(),
            slots: self.config.slots,
            holding: holding.into(),
            // A broker that has lost its memory counts revisions anew, and this worker cannot know yet
            // whether it speaks to one: the first heartbeat after the welcome tells the truth.
            revision: Revision(0),
            draining: self.leaving.is_some(),
        });
        let frame = ganger_common::encode(&hello);
        self.effects.push_back(Effect::Send(Outgoing::Frame(frame)));
    }

    pub(super) fn on_disconnected(&mut self, now: Time) {
        if matches!(self.link, Link::Connecting | Link::Greeting { .. } | Link::Open(_)) {
            self.wait(now);
        }
    }

    /// Drops the connection and tries again later.
    pub(super) fn disconnect(&mut self, now: Time, reason: &str) {
        self.effects.push_back(Effect::Disconnect { reason: reason.to_owned() });
        self.wait(now);
    }

    fn wait(&mut self, now: Time) {
        // What was to be sent is lost with the connection: reports are kept elsewhere, the rest is asked
        // or told again. A broadcast and a word to a handler are not for the broker.
        self.effects.retain(|effect| !matches!(effect, Effect::Send(_)));
        self.partial_bytes = 0;
        self.progress.clear();
        self.replica.on_detached();
        let pause = self.pause();
        self.tries = self.tries.saturating_add(1);
        self.link = Link::Waiting { at: now.plus(pause) };
    }

    /// Full jitter, so that workers that lost the same broker do not come back together.
    fn pause(&mut self) -> Duration {
        let most = RECONNECT_PAUSE_MIN.saturating_mul(1 << self.tries.min(16)).min(RECONNECT_PAUSE_MAX);
        Duration::from_micros(self.random.up_to(most.as_micros() as u64))
    }

    pub(super) fn on_garbled(&mut self, now: Time, error: &DecodeError) {
        // A newer broker may say more than this worker understands, and is told so by the version.
        let is_connected = matches!(self.link, Link::Greeting { .. } | Link::Open(_));
        if !is_connected || matches!(error, DecodeError::UnknownType(_)) {
            return;
        }
        // If tasks were in it, the broker learns from the next hello that they did not arrive.
        self.disconnect(now, &format!("the broker sent what cannot be read: {error}"));
    }

    pub(super) fn on_message(&mut self, now: Time, message: Incoming) {
        match &mut self.link {
            Link::Open(open) => (open.heard, open.quiet) = (now, None),
            Link::Greeting { .. } => {}
            // From a connection that was given up.
            Link::Waiting { .. } | Link::Connecting | Link::Ended => return,
        }
        match message {
            Incoming::Welcome(opening) => self.on_welcome(now, opening),
            Incoming::Error { req, code, text, retry_after } => {
                self.on_error(now, req, code, text, retry_after);
            }
            Incoming::Goodbye { code, text } => self.on_goodbye(now, code, text),
            _ if matches!(self.link, Link::Greeting { .. }) => {}
            Incoming::Heartbeat { mark, revision } => self.on_heartbeat(now, mark, revision),
            Incoming::Tasks { items, unserved } => self.on_tasks(now, items, unserved),
            Incoming::Start { leases } => self.hold.confirm(&leases),
            Incoming::Recall { recall, count } => self.on_recall(recall, count),
            Incoming::Cancel { leases, code } => self.on_cancel(&leases, code),
            Incoming::Ack { upto, stale: _ } => self.reports.acknowledge(upto),
            Incoming::Drain { deadline } => self.drain(now, deadline),
            Incoming::Knowledge { req, answer } => self.replica.on_answer(now, req, answer),
        }
    }

    fn on_welcome(&mut self, now: Time, opening: Opening) {
        if !matches!(self.link, Link::Greeting { .. }) {
            return;
        }
        if !PROTOCOL.accepts(opening.protocol) {
            let text =
                format!("the broker speaks protocol {}, this worker speaks {PROTOCOL}", opening.protocol);
            return self.end(StopReason::Refused { code: ErrorCode::UnsupportedVersion, text });
        }
        self.return_unconfirmed(opening.epoch);
        self.reports.rewind(opening.batch_items_max as usize);
        let port =
            (self.config.knowledge_is_set || opening.knowledge_port != 0).then_some(opening.knowledge_port);
        // Newer revisions are heard of in heartbeats; the subscription only has to show that it lives.
        let silence_max = opening.silence_max().saturating_mul(PULSE_BEATS);
        self.replica.on_attached(now, opening.epoch, opening.revision, port, silence_max);
        let (heard, asked, last_beat) = (now, now, now);
        let (quiet, mark, told) = (None, 0, Revision(0));
        self.link = Link::Open(Box::new(Open { opening, heard, asked, quiet, last_beat, mark, told }));
        // Everything that ended comes before the first heartbeat: the broker takes the second one as the
        // sign that what was neither held nor reported by then is lost.
        while let Some(report) = self.next_report() {
            self.effects.push_back(Effect::Send(Outgoing::Report(report)));
        }
        self.beat(now);
    }

    /// A broker that was started anew may not remember that these must be confirmed, and would wait for
    /// their ends while they wait for its word.
    fn return_unconfirmed(&mut self, epoch: ganger_common::Epoch) {
        let unconfirmed: Vec<_> = self
            .hold
            .entries()
            .filter(|entry| matches!(entry.state, State::Unconfirmed(_)) && entry.lease.epoch != epoch)
            .map(|entry| entry.ticket)
            .collect();
        for ticket in unconfirmed {
            if let Some(entry) = self.hold.release(ticket) {
                self.report_unstarted(entry.lease, AttemptEnd::Returned);
            }
        }
    }

    fn on_heartbeat(&mut self, now: Time, mark: u64, revision: Revision) {
        let Link::Open(open) = &mut self.link else { return };
        open.mark = open.mark.max(mark);
        open.quiet = Some(0);
        // Only an answer shows that the broker serves this worker; a welcome alone would let one that
        // drops it right away be asked without pause.
        self.tries = 0;
        self.replica.on_newest(now, revision);
    }

    /// A broker that does not bound its map would fill the memory of every worker.
    pub(super) fn on_overflow(&mut self, now: Time) {
        if matches!(self.link, Link::Greeting { .. } | Link::Open(_)) {
            let reason = format!("the broker sent more than {REPLICA_BYTES_MAX} bytes of knowledge");
            self.disconnect(now, &reason);
        }
    }

    fn on_error(
        &mut self,
        now: Time,
        req: Option<u64>,
        code: ErrorCode,
        text: String,
        retry_after: Option<Duration>,
    ) {
        if let Some(req) = req {
            return self.replica.on_refused(now, req, code, retry_after);
        }
        let is_greeting = matches!(self.link, Link::Greeting { .. });
        let is_final =
            matches!(code, ErrorCode::UnsupportedVersion | ErrorCode::SessionTaken | ErrorCode::Denied);
        if is_final || (is_greeting && !code.is_retryable()) {
            return self.end(StopReason::Refused { code, text: cut(text) });
        }
        if is_greeting || matches!(code, ErrorCode::HelloFirst | ErrorCode::SlowReader | ErrorCode::Silent) {
            self.disconnect(now, &format!("the broker says {code}: {text}"));
        }
    }

    fn on_goodbye(&mut self, now: Time, code: Option<ErrorCode>, text: String) {
        match code {
            Some(code @ (ErrorCode::UnsupportedVersion | ErrorCode::SessionTaken | ErrorCode::Denied)) => {
                self.end(StopReason::Refused { code, text: cut(text) });
            }
            Some(code) => self.disconnect(now, &format!("the broker says goodbye, {code}: {text}")),
            None => self.disconnect(now, &format!("the broker says goodbye: {text}")),
        }
    }
}

fn cut(mut text: String) -> String {
    while text.len() > TEXT_BYTES_MAX {
        text.pop();
    }
    text
}
