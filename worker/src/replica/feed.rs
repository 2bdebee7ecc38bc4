//! The subscription: made, watched, made again.

use std::time::Duration;

use ganger_common::limits::RECONNECT_PAUSE_MAX;

use crate::random::Random;
use crate::session::RECONNECT_PAUSE_MIN;
use crate::time::Time;

/// Where the subscription is in its life.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// Where to subscribe; none while the broker has not told.
    port: Option<u16>,
    /// Silence of this length means that the subscription is dead.
    silence_max: Duration,
    /// There is a broker that can be expected to publish.
    attached: bool,
    state: State,
    tries: u32,
}

#[derive(Debug, Default)]
enum State {
    /// There is none; the next try is then.
    #[default]
    None,
    Waiting {
        at: Time,
    },
    /// The shell tries.
    Opening,
    Open {
        heard: Time,
    },
}

impl Feed {
    pub(super) fn on_attached(&mut self, now: Time, port: Option<u16>, silence_max: Duration) {
        let has_moved = self.port != port;
        self.attached = true;
        self.silence_max = silence_max;
        self.port = port;
        self.state = match &self.state {
            _ if port.is_none() => State::None,
            State::Opening => State::Opening,
            // Publications may have come while nobody watched the time; begin to count anew.
            State::Open { .. } if !has_moved => State::Open { heard: now },
            _ => State::Waiting { at: now },
        };
    }

    pub(super) fn on_detached(&mut self) {
        self.attached = false;
    }

    pub(super) fn on_publication(&mut self, now: Time) {
        if let State::Open { heard } = &mut self.state {
            *heard = now;
            self.tries = 0;
        }
    }

    pub(super) fn on_subscribed(&mut self, now: Time) {
        if matches!(self.state, State::Opening) {
            self.state = State::Open { heard: now };
        }
    }

    pub(super) fn on_unsubscribed(&mut self, now: Time, random: &mut Random) {
        if matches!(self.state, State::Opening | State::Open { .. }) {
            self.wait(now, random);
        }
    }

    /// Returns the port to subscribe to, if it is time.
    pub(super) fn handle_timeout(&mut self, now: Time, random: &mut Random) -> Option<u16> {
        if self.timeout()? > now {
            return None;
        }
        if matches!(self.state, State::Open { .. }) {
            self.wait(now, random);
            return None;
        }
        self.state = State::Opening;
        self.port
    }

    /// A broker that is away publishes nothing: there is nothing to watch, and nothing to subscribe to.
    pub(super) fn timeout(&self) -> Option<Time> {
        match &self.state {
            _ if !self.attached => None,
            State::Waiting { at } => Some(*at),
            State::Open { heard } => Some(heard.plus(self.silence_max)),
            State::None | State::Opening => None,
        }
    }

    fn wait(&mut self, now: Time, random: &mut Random) {
        let most = RECONNECT_PAUSE_MIN.saturating_mul(1 << self.tries.min(16)).min(RECONNECT_PAUSE_MAX);
        self.tries = self.tries.saturating_add(1);
        let pause = Duration::from_micros(random.up_to(most.as_micros() as u64));
        self.state = State::Waiting { at: now.plus(pause) };
    }
}
