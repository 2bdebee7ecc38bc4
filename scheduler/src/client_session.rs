//! Clients come, come back, leave and are lost; and who answers what they ask.

use std::time::Duration;

use ganger_common::{ClientId, ConnId, ErrorCode, SessionToken};

use crate::client::ClientKey;
use crate::effect::{ClientReply, Effect, Publication, Refusal, Refused, Welcome};
use crate::input::ClientRequest;
use crate::scheduler::{Peer, Scheduler};
use crate::timers::Timer;

/// How long what runs may go on in a drain that names no deadline.
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

impl Scheduler {
    pub(crate) fn on_client(&mut self, conn: ConnId, request: ClientRequest) {
        match (self.sessions.get(&conn), request) {
            (None, ClientRequest::Hello { client, token, name: _ }) => {
                self.on_client_hello(conn, client, token);
            }
            (None, _) => {
                self.counters.messages_before_hello += 1;
                self.refuse(conn, None, ErrorCode::HelloFirst, "say hello first");
            }
            (Some(Peer::Client(key)), request) => {
                let key = *key;
                if let Some(client) = self.clients.get_mut(key) {
                    client.last_seen = self.now.time;
                }
                self.on_client_request(conn, key, request);
            }
            (Some(Peer::Worker(_)), _) => {
                self.refuse(conn, None, ErrorCode::BadMessage, "this connection is a worker's");
            }
        }
    }

    fn on_client_request(&mut self, conn: ConnId, key: ClientKey, request: ClientRequest) {
        match request {
            ClientRequest::Hello { .. } => {
                self.refuse(conn, None, ErrorCode::BadMessage, "hello was said on this connection already");
            }
            ClientRequest::Heartbeat => {
                let revision = self.out.revision();
                self.out.push(Effect::ToClient { conn, reply: ClientReply::Heartbeat { revision } });
            }
            ClientRequest::Submit { seq, again, tasks } => self.on_submit(conn, key, seq, again, tasks),
            ClientRequest::Watch { req, tasks, events } => self.on_watch(conn, key, req, &tasks, events),
            ClientRequest::Ack { upto } => {
                if let Some(client) = self.clients.get_mut(key) {
                    client.stream.confirm(upto);
                }
                self.clients.mark_dirty(key);
            }
            ClientRequest::Cancel { req, tasks } => self.on_cancel(conn, req, &tasks),
            ClientRequest::Retry { req, tasks } => self.on_retry(conn, req, &tasks),
            ClientRequest::Discard { req, which } => self.on_discard(conn, req, which),
            ClientRequest::Pause { req, kind } => self.on_pause(conn, req, kind),
            ClientRequest::Resume { req, kind } => self.on_resume(conn, req, kind),
            ClientRequest::Fetch { req, task } => self.on_fetch(conn, req, task),
            ClientRequest::Payload { req, task } => self.on_payload(conn, req, task),
            ClientRequest::Explain { req, task } => self.on_explain(conn, req, task),
            ClientRequest::List { req, filter, after, limit } => {
                self.on_list(conn, req, &filter, after.as_deref(), limit);
            }
            ClientRequest::ListWorkers { req, after, limit } => {
                self.on_list_workers(conn, req, after.as_deref(), limit);
            }
            ClientRequest::Status { req } => {
                let status = Box::new(self.status());
                self.reply(conn, ClientReply::Status { req, status });
            }
            ClientRequest::Drain { req, workers, broker, deadline } => {
                self.on_drain(conn, req, &workers, broker, deadline);
            }
            ClientRequest::Knowledge { req, op } => self.on_client_knowledge(conn, req, op),
            ClientRequest::Publish { req, topic, body } => {
                self.beats += 1;
                self.counters.broadcasts += 1;
                let (number, revision) = (self.beats, self.out.revision());
                self.out.push(Effect::Publish(Publication::Broadcast { number, revision, topic, body }));
                self.reply(conn, ClientReply::Done { req });
            }
            ClientRequest::Goodbye => self.client_leaves(key),
        }
    }

    /// Tells a client something about the state: only once the journal has that state.
    pub(crate) fn reply(&mut self, conn: ConnId, reply: ClientReply) {
        self.out.promise(Effect::ToClient { conn, reply });
    }

    pub(crate) fn refuse(&mut self, conn: ConnId, req: Option<u64>, code: ErrorCode, text: &str) {
        let refused = Refused { req, code, text: text.to_owned(), retry_after: None };
        self.reply(conn, ClientReply::Error(refused));
    }

    fn on_client_hello(&mut self, conn: ConnId, id: ClientId, token: SessionToken) {
        let known = self.clients.find(id);
        let owner = known.and_then(|key| self.clients.get(key));
        if owner.is_some_and(|client| client.token != token) {
            self.counters.sessions_refused += 1;
            self.refuse(conn, None, ErrorCode::SessionTaken, "this client id belongs to another session");
            return self.out.promise(Effect::Close { conn });
        }
        if known.is_none() && self.clients.len() >= self.config.clients_max {
            let text = format!("there are {} clients already", self.config.clients_max);
            self.refuse(conn, None, ErrorCode::TooManySessions, &text);
            return self.out.promise(Effect::Close { conn });
        }
        let key = match known {
            Some(key) => {
                self.move_client(key, conn);
                key
            }
            None => {
                self.counters.clients_joined += 1;
                self.clients.add(id, token, conn)
            }
        };
        if let Some(client) = self.clients.get_mut(key) {
            client.last_seen = self.now.time;
        }
        self.sessions.insert(conn, Peer::Client(key));
        let revision = self.out.revision();
        self.reply(conn, ClientReply::Welcome(Welcome { revision }));
        self.watch_client_silence(key);
        self.arm_tick();
    }

    /// The same incarnation on a new connection. Its stream of outcomes begins anew: the client asks again
    /// for whatever it still waits for.
    fn move_client(&mut self, key: ClientKey, conn: ConnId) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.stream = Default::default();
        let Some(old) = client.conn.replace(conn) else { return };
        self.sessions.remove(&old);
        let text = "the session has moved to another connection";
        self.say_goodbye(old, Peer::Client(key), None, text);
        self.out.push(Effect::Close { conn: old });
    }

    pub(crate) fn on_client_away(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            client.conn = None;
        }
    }

    fn watch_client_silence(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let at = client.last_seen.plus(self.config.silence_max());
        self.timers.set(&mut client.silent_at, Timer::ClientSilent(key), Some(at));
    }

    pub(crate) fn on_client_silent(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.silent_at = None;
        if self.behind {
            // Whatever it said waits at the door.
            client.last_seen = self.now.time;
        }
        if self.now.time.since(client.last_seen) < self.config.silence_max() {
            return self.watch_client_silence(key);
        }
        self.counters.clients_lost += 1;
        if let Some(conn) = client.conn {
            let text = "nothing was heard for too long";
            self.say_goodbye(conn, Peer::Client(key), Some(ErrorCode::Silent), text);
        }
        self.client_leaves(key);
    }

    /// The session ends; its tasks go on.
    fn client_leaves(&mut self, key: ClientKey) {
        let Some(mut client) = self.clients.remove(key) else { return };
        self.timers.set(&mut client.silent_at, Timer::ClientSilent(key), None);
        if let Some(conn) = client.conn {
            self.sessions.remove(&conn);
            self.out.push(Effect::Close { conn });
        }
    }

    fn on_drain(
        &mut self,
        conn: ConnId,
        req: u64,
        workers: &[String],
        broker: bool,
        deadline: Option<Duration>,
    ) {
        let deadline = deadline.unwrap_or(DRAIN_DEADLINE);
        let mut refused = Vec::new();
        let mut drained: Vec<_> = Vec::new();
        for (index, name) in workers.iter().enumerate() {
            let before = drained.len();
            let fits =
                |worker: &crate::worker::Worker| worker.name == *name || worker.id.to_string() == *name;
            drained.extend(self.fleet.iter().filter(|(_, worker)| fits(worker)).map(|(key, _)| key));
            if drained.len() == before {
                let text = format!("no worker is called {name}");
                refused.push(refusal(index, ErrorCode::UnknownWorker, text));
            }
        }
        if workers.is_empty() && !broker {
            drained.extend(self.fleet.iter().map(|(key, _)| key));
        }
        for key in drained {
            self.begin_drain(key);
            let Some(worker) = self.fleet.get(key) else { continue };
            if let Some(conn) = worker.conn {
                let command = crate::effect::WorkerCommand::Drain { deadline };
                self.out.push(Effect::ToWorker { conn, command });
            }
            self.fleet.touch(key);
        }
        self.reply(conn, ClientReply::Verdicts { req, refused });
        if broker {
            self.drain_broker(deadline);
        }
    }
}

/// A refusal without a delay.
pub(crate) fn refusal(index: usize, code: ErrorCode, text: impl Into<String>) -> Refusal {
    Refusal { index: index as u32, code, text: text.into(), retry_after: None }
}
