//! What the shell asks about every message.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ganger_common::{Account, ConnId, ErrorCode};
use ganger_scheduler::effect::KnowledgeAnswer;
use ganger_scheduler::input::{Discard, NewTask};
use ganger_scheduler::{ClientRequest, Record, Scheduler, Time, WorkerRequest};
use ganger_transport::door::{Door, PublicKey};
use ganger_transport::{Auth, PeerMeta};
use tokio::sync::watch;

use super::KeyRing;
use super::file::Table;
use super::rights::{LOCAL, Principal, Proof, Quota, Role, Roles, Scope, of_client, of_worker};
use super::usage::Usage;
use crate::convert::PreRefused;
use crate::shell::Side;

/// Denials that are logged in a row, and how fast there may be more: a peer that insists must not fill the
/// log. The counter counts them all.
const LINES: f64 = 50.0;
const LINES_A_SECOND: f64 = 10.0;

/// Knows the principal of each connection. Without keys everybody may do everything.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    keys: Option<Keys>,
    conns: HashMap<ConnId, Standing>,
    usage: Usage,
    lines: Lines,
    denials: u64,
    /// For its counters.
    pub(crate) door: Option<Door>,
}

#[derive(Debug)]
struct Keys {
    table: watch::Receiver<Arc<Table>>,
    /// Nobody: what a connection is that proves nothing.
    nobody: Arc<Principal>,
    /// The gateway for itself: it may ask for the figures, and see no knowledge.
    gateway: Arc<Principal>,
    owners: Owners,
}

/// Which sockets are their owner's alone, so that whoever connects there may do everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Owners {
    pub(crate) clients: bool,
    pub(crate) workers: bool,
}

/// How a connection stands.
#[derive(Clone, Debug)]
enum Standing {
    /// Its socket is its owner's alone, so it may do everything.
    Owner,
    /// The rights of its key, as the table has them.
    Keyed(Arc<Principal>),
    /// Rights that no table has.
    Fixed(Arc<Principal>),
}

#[derive(Debug)]
struct Lines {
    left: f64,
    at: Time,
}

impl Default for Lines {
    fn default() -> Self {
        Self { left: LINES, at: Time::default() }
    }
}

impl Lines {
    fn take(&mut self, now: Time) -> bool {
        self.left = (self.left + now.since(self.at).as_secs_f64() * LINES_A_SECOND).min(LINES);
        self.at = now;
        let may = self.left >= 1.0;
        self.left -= if may { 1.0 } else { 0.0 };
        may
    }
}

/// Something that is not allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) req: Option<u64>,
    pub(crate) text: String,
    /// Whether the connection has no business here at all.
    pub(crate) is_final: bool,
}

/// When a task over a quota is worth another try.
pub(crate) const QUOTA_RETRY: Duration = Duration::from_secs(1);

impl Guard {
    /// A guard that holds everybody to the rights of their keys.
    pub(crate) fn of(ring: &KeyRing, owners: Owners) -> Self {
        let nobody = Principal {
            key: PublicKey::from_bytes([0; 32]),
            proof: Proof::Curve,
            label: "nobody".to_owned(),
            roles: Roles::default(),
            kinds: Scope(Some(Vec::new())),
            topics: Scope(Some(Vec::new())),
            quota: Quota::default(),
        };
        let roles = Roles::default().with(Role::KnowledgeRead);
        let gateway = Principal { label: "the gateway".to_owned(), roles, ..nobody.clone() };
        let (nobody, gateway) = (Arc::new(nobody), Arc::new(gateway));
        let keys = Keys { table: ring.table(), nobody, gateway, owners };
        Self { keys: Some(keys), ..Self::default() }
    }

    /// A connection comes.
    pub(crate) fn up(&mut self, conn: ConnId, side: Side, peer: &PeerMeta) {
        let Some(keys) = &self.keys else { return };
        let is_owners = match side {
            Side::Client => keys.owners.clients,
            Side::Worker => keys.owners.workers,
        };
        let standing = match peer.auth {
            Auth::Key(key) => Standing::Keyed(keys.principal(&key, Proof::Curve)),
            Auth::Token(fingerprint) => {
                Standing::Keyed(keys.principal(&PublicKey::from_bytes(fingerprint), Proof::Token))
            }
            Auth::Local => Standing::Keyed(keys.principal(&LOCAL, Proof::Local)),
            Auth::Gateway => Standing::Fixed(keys.gateway.clone()),
            _ if is_owners => Standing::Owner,
            _ => Standing::Keyed(keys.nobody.clone()),
        };
        self.conns.insert(conn, standing);
    }

    /// A connection is gone.
    pub(crate) fn down(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }

    /// What was denied, and what happened at the door, for a status reply.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let door = self.door.iter().flat_map(Door::counters);
        let door = door.map(|(name, count)| (format!("door_{name}"), count));
        door.chain(self.keys.iter().map(|_| ("denied".to_owned(), self.denials)))
    }

    /// Takes new rights over, when there are some.
    fn refresh(&mut self) {
        let Some(keys) = &mut self.keys else { return };
        if !keys.table.has_changed().unwrap_or(false) {
            return;
        }
        keys.table.mark_unchanged();
        let keys = &*keys;
        for standing in self.conns.values_mut() {
            if let Standing::Keyed(principal) = standing {
                *standing = Standing::Keyed(keys.principal(&principal.key, principal.proof));
            }
        }
    }

    /// The principal of a connection whose rights are limited. `None`: it may do everything.
    fn principal(&mut self, conn: ConnId) -> Option<Arc<Principal>> {
        self.refresh();
        let keys = self.keys.as_ref()?;
        match self.conns.get(&conn) {
            Some(Standing::Owner) => None,
            Some(Standing::Keyed(principal) | Standing::Fixed(principal)) => Some(principal.clone()),
            None => Some(keys.nobody.clone()),
        }
    }

    /// Checks a client's message. Of a batch, what is not allowed is taken out and refused item by item.
    pub(crate) fn client(
        &mut self,
        conn: ConnId,
        request: &mut ClientRequest,
        refused: &mut PreRefused,
        scheduler: &Scheduler,
        now: Time,
    ) -> Result<(), Denied> {
        let Some(principal) = self.principal(conn) else { return Ok(()) };
        if let ClientRequest::Submit { tasks, .. } = request {
            self.submit(&principal, tasks, refused, now);
            return Ok(());
        }
        let (needs, what) = of_client(request);
        let verdict = match principal.may(needs) {
            true => {
                principal.scope_of_client(request).and_then(|()| of_kinds(&principal, request, scheduler))
            }
            false => Err(lacks(needs)),
        };
        verdict.map_err(|text| {
            self.deny(&principal, what, &text, now);
            let is_final = matches!(request, ClientRequest::Hello { .. });
            Denied { req: req_of_client(request), text, is_final }
        })
    }

    /// Checks a worker's message.
    pub(crate) fn worker(&mut self, conn: ConnId, request: &WorkerRequest, now: Time) -> Result<(), Denied> {
        let Some(principal) = self.principal(conn) else { return Ok(()) };
        let (needs, what) = of_worker(request);
        let verdict = match principal.may(needs) {
            true => principal.scope_of_worker(request),
            false => Err(lacks(needs)),
        };
        verdict.map_err(|text| {
            self.deny(&principal, what, &text, now);
            let req = match request {
                WorkerRequest::Knowledge { req, .. } => Some(*req),
                _ => None,
            };
            Denied { req, text, is_final: req.is_none() }
        })
    }

    /// Takes what is not for whoever asked out of an answer.
    pub(crate) fn answer(&mut self, conn: ConnId, answer: &mut KnowledgeAnswer) {
        if let KnowledgeAnswer::Changes { items, .. } = answer
            && let Some(principal) = self.principal(conn)
        {
            principal.blot_out(items);
        }
    }

    fn submit(
        &mut self,
        principal: &Principal,
        tasks: &mut Vec<NewTask>,
        refused: &mut PreRefused,
        now: Time,
    ) {
        let may = principal.may(of_submit());
        let account = Account(*principal.key.as_bytes());
        let mut denied = None;
        let all = std::mem::take(tasks);
        for (place, mut task) in all.into_iter().enumerate() {
            let verdict = match may {
                true => principal.kind(&task.kind),
                false => Err(lacks(of_submit())),
            };
            let verdict = match verdict {
                Err(text) => {
                    self.denials += 1;
                    denied.get_or_insert_with(|| text.clone());
                    Err((ErrorCode::Denied, text))
                }
                Ok(()) => self
                    .usage
                    .ask(principal.key, &principal.quota, &task, now)
                    .map_err(|text| (ErrorCode::Busy, text.to_owned())),
            };
            match verdict {
                Ok(is_counted) => {
                    refused.pass(place);
                    if is_counted {
                        // Stays with the task, so that it counts in the broker's next life too.
                        task.options.get_or_insert_default().account = Some(account);
                    }
                    tasks.push(task);
                }
                Err((code, text)) => refused.refuse(place, code, text),
            }
        }
        if let Some(text) = denied {
            self.log(principal, "submit", &text, now);
        }
    }

    fn deny(&mut self, principal: &Principal, what: &str, text: &str, now: Time) {
        self.denials += 1;
        self.log(principal, what, text, now);
    }

    fn log(&mut self, principal: &Principal, what: &str, text: &str, now: Time) {
        if self.lines.take(now) {
            let (key, label) = (principal.key, &principal.label);
            tracing::warn!(%key, label, message = what, reason = text, "denied");
        }
    }

    /// Follows a record.
    pub(crate) fn on_record(&mut self, record: &Record, scheduler: &Scheduler) {
        self.usage.on_record(record);
        let Record::Retried { tasks, .. } = record else { return };
        for task in tasks {
            if let Some((account, bytes)) = scheduler.account_of(*task) {
                self.usage.take(*task, account, bytes);
            }
        }
    }

    /// Counts what principals have with the broker from its last life.
    pub(crate) fn recovered(&mut self, scheduler: &Scheduler) {
        for (task, account, bytes) in scheduler.accounts() {
            self.usage.take(task, account, bytes);
        }
    }

    /// Everything that came in has been decided.
    pub(crate) fn decided(&mut self) {
        self.usage.decided();
    }
}

impl Keys {
    fn principal(&self, key: &PublicKey, proof: Proof) -> Arc<Principal> {
        match self.table.borrow().get(key).filter(|principal| principal.proof == proof) {
            Some(principal) => Arc::new(principal.clone()),
            // Its connection is being cut; until then it has no right, and keeps its name.
            None => Arc::new(Principal { key: *key, proof, ..(*self.nobody).clone() }),
        }
    }
}

/// Whether the tasks that a message names are of kinds that are the principal's. Of a task that nobody
/// remembers there is nothing to keep from anybody.
fn of_kinds(principal: &Principal, request: &ClientRequest, scheduler: &Scheduler) -> Result<(), String> {
    let tasks = match request {
        ClientRequest::Watch { tasks, .. }
        | ClientRequest::Cancel { tasks, .. }
        | ClientRequest::Retry { tasks, .. }
        | ClientRequest::Discard { which: Discard::Tasks(tasks), .. } => tasks.as_slice(),
        ClientRequest::Fetch { task, .. }
        | ClientRequest::Payload { task, .. }
        | ClientRequest::Explain { task, .. } => std::slice::from_ref(task),
        _ => return Ok(()),
    };
    if principal.kinds.is_all() {
        return Ok(());
    }
    let is_theirs = |task| scheduler.kind_of(task).is_none_or(|kind| principal.kinds.covers(kind));
    match tasks.iter().all(|task| is_theirs(*task)) {
        true => Ok(()),
        // Which one, and of what kind, is what must not be told.
        false => Err("this key is not for the kind of that task".to_owned()),
    }
}

fn of_submit() -> &'static [super::rights::Role] {
    &[super::rights::Role::Submit]
}

fn lacks(needs: &[super::rights::Role]) -> String {
    let names: Vec<&str> = needs.iter().map(|role| role.name()).collect();
    format!("this key lacks the role {}", names.join(" or "))
}

fn req_of_client(request: &ClientRequest) -> Option<u64> {
    match request {
        ClientRequest::Watch { req, .. }
        | ClientRequest::Cancel { req, .. }
        | ClientRequest::Retry { req, .. }
        | ClientRequest::Discard { req, .. }
        | ClientRequest::Pause { req, .. }
        | ClientRequest::Resume { req, .. }
        | ClientRequest::Fetch { req, .. }
        | ClientRequest::Payload { req, .. }
        | ClientRequest::Explain { req, .. }
        | ClientRequest::List { req, .. }
        | ClientRequest::ListWorkers { req, .. }
        | ClientRequest::Status { req }
        | ClientRequest::Drain { req, .. }
        | ClientRequest::Knowledge { req, .. }
        | ClientRequest::Publish { req, .. } => Some(*req),
        ClientRequest::Hello { .. }
        | ClientRequest::Heartbeat
        | ClientRequest::Submit { .. }
        | ClientRequest::Ack { .. }
        | ClientRequest::Goodbye => None,
    }
}
