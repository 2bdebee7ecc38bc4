//! Outcomes are asked for: of tasks that others handed in, and of all that is awaited after a connection
//! was lost.

use std::time::Instant;

use ganger_common::codec::List;
use ganger_common::message::{ErrorReply, FromClient, Verdicts, Watch};
use ganger_common::{ErrorCode, TaskId, encode};

use super::config::{BUSY_PAUSE, WATCHES_MAX};
use super::event::{Effect, Token};
use super::machine::Session;
use super::table::{Key, State};
use super::wire;
use crate::error::Error;

/// A request for outcomes on its way.
#[derive(Debug)]
pub(super) struct Watching {
    items: Vec<Key>,
    pub(super) sent_at: Instant,
}

impl Session {
    pub(super) fn on_watch(&mut self, token: Token, id: TaskId, events: bool) {
        if let Err(error) = self.check_alive() {
            return self.effects.push_back(Effect::Failed { token, task: id, error });
        }
        let (key, is_news) = match self.table.find(id) {
            Some(key) => {
                let Some(entry) = self.table.get_mut(key) else { return };
                entry.waiters.add(token);
                let is_news = events && !entry.events;
                if is_news {
                    entry.want_events();
                }
                (key, is_news)
            }
            None => {
                let key = self.table.add(id, token, None, State::Watched);
                if let Some(entry) = self.table.get_mut(key) {
                    entry.events = events;
                }
                (key, true)
            }
        };
        // Without a session the welcome asks for everything.
        if is_news && self.link.open().is_some() {
            self.to_watch.push_back(key);
        }
    }

    /// A new connection's stream of outcomes begins anew.
    pub(super) fn watch_all(&mut self) {
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::NotAskedAgain) {
            return;
        }
        let is_awaited = |key: &Key| self.table.get(*key).is_some_and(|entry| entry.state.is_awaited());
        self.to_watch = self.table.keys().into_iter().filter(is_awaited).collect();
    }

    pub(super) fn send_watches(&mut self) {
        let Some(most) = self.broker().map(|broker| broker.batch_items_max) else { return };
        while self.busy_until.is_none() && self.watches.len() < WATCHES_MAX && !self.to_watch.is_empty() {
            let (items, events) = self.pick_watches(most);
            if items.is_empty() {
                continue;
            }
            let req = self.next_req;
            self.next_req += 1;
            let ids = items.iter().filter_map(|key| self.table.get(*key)).map(|entry| entry.id);
            let tasks = List(ids.collect());
            self.effects.push_back(Effect::Send(encode(&FromClient::Watch(Watch { req, tasks, events }))));
            self.watches.insert(req, Watching { items, sent_at: self.now });
        }
    }

    /// The first of the queue and what follows with the same wish for events.
    fn pick_watches(&mut self, most: usize) -> (Vec<Key>, bool) {
        let mut items = Vec::new();
        let mut with_events = None;
        while items.len() < most
            && let Some(key) = self.to_watch.pop_front()
        {
            // A task that waits to be handed in will be watched by that. Asking now would only find out
            // that the broker does not know it.
            let Some(entry) = self.table.get(key).filter(|entry| entry.state != State::Queued) else {
                continue;
            };
            if *with_events.get_or_insert(entry.events) != entry.events {
                self.to_watch.push_front(key);
                break;
            }
            items.push(key);
        }
        (items, with_events.unwrap_or(false))
    }

    pub(super) fn on_watch_verdicts(&mut self, verdicts: &Verdicts<'_>) {
        let Some(watching) = self.watches.remove(&verdicts.req) else { return };
        let mut lost = Vec::new();
        for refused in &*verdicts.refused {
            let Some(key) = watching.items.get(refused.index as usize) else { continue };
            match refused.code {
                ErrorCode::UnknownTask => lost.extend(self.on_forgotten(*key, &refused.text)),
                code => self.fail(*key, &Error::refused(code, &*refused.text)),
            }
        }
        self.hand_in_again(lost);
    }

    /// The broker does not know a task that somebody here waits for. Returns it if it is to be handed in again.
    fn on_forgotten(&mut self, key: Key, text: &str) -> Option<Key> {
        let epoch = self.broker().map(|broker| broker.epoch);
        let entry = self.table.get(key)?;
        let error = match entry.state {
            State::Queued | State::Sent => return None,
            State::Watched => Error::refused(ErrorCode::UnknownTask, text),
            #[cfg(feature = "planted")]
            _ if crate::planted::is(crate::planted::Bug::LostForGood) => Error::Forgotten,
            // It held the task in memory, and that life is over.
            State::Accepted { volatile: Some(life) } if Some(life) != epoch && entry.work.is_some() => {
                // It left the window long ago and does not enter it again: what is kept bounds how many
                // there are.
                return Some(key);
            }
            State::Accepted { .. } => Error::Forgotten,
        };
        self.fail(key, &error);
        None
    }

    /// A whole request for outcomes was refused.
    pub(super) fn on_watch_error(&mut self, error: &ErrorReply<'_>) {
        let Some(req) = error.req else { return };
        let Some(watching) = self.watches.remove(&req) else { return };
        if error.code.is_retryable() {
            let pause = error.retry_after_ms.map(|ms| std::time::Duration::from_millis(u64::from(ms)));
            self.hold_back(pause.unwrap_or(BUSY_PAUSE));
            self.to_watch.extend(watching.items);
            return;
        }
        for key in watching.items {
            self.fail(key, &wire::error(error));
        }
    }
}
