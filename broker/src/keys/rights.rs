//! What the holder of a key may do.

use std::fmt;

use ganger_scheduler::input::{Discard, KnowledgeOp};
use ganger_scheduler::record::Change;
use ganger_scheduler::{ClientRequest, WorkerRequest};
use ganger_transport::door::{Grant, PublicKey};

/// A right that can be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Hand in tasks, and see to them.
    Submit,
    /// Run tasks.
    Work,
    /// Read the knowledge map, and hear changes and broadcasts.
    KnowledgeRead,
    /// Change the knowledge map, and broadcast.
    KnowledgeWrite,
    /// See everything, and act on what others handed in; drain workers and the broker.
    Admin,
}

impl Role {
    pub(crate) const ALL: [Self; 5] =
        [Self::Submit, Self::Work, Self::KnowledgeRead, Self::KnowledgeWrite, Self::Admin];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Work => "work",
            Self::KnowledgeRead => "knowledge-read",
            Self::KnowledgeWrite => "knowledge-write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of roles. Without one, nothing is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Roles(u8);

impl Roles {
    pub(crate) fn with(self, role: Role) -> Self {
        Self(self.0 | 1 << role as u8)
    }

    pub(crate) fn has(self, role: Role) -> bool {
        self.0 & 1 << role as u8 != 0
    }

    fn has_any(self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.has(*role))
    }
}

/// Names that begin with one of some texts; every name, without any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Scope(pub(crate) Option<Vec<String>>);

impl Scope {
    pub(crate) fn is_all(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn covers(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|prefixes| prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())))
    }
}

/// How much of the broker a principal may take. Without a number there is no limit of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Quota {
    /// Tasks without an outcome.
    pub(crate) tasks: Option<usize>,
    /// Payload bytes of those.
    pub(crate) bytes: Option<usize>,
    /// Connections at a time.
    pub(crate) connections: Option<usize>,
    /// Tasks handed in a second.
    pub(crate) rate: Option<u32>,
}

/// How somebody proves to be a principal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Proof {
    /// By a CURVE handshake.
    Curve,
    /// By a token, shown to the gateway; what stands for the key is the token's fingerprint.
    Token,
    /// By nothing, to a gateway that only this machine can reach; what stands for the key is [`LOCAL`].
    Local,
}

/// Stands for the key of whoever is on this machine and has none.
pub(crate) const LOCAL: PublicKey = PublicKey::from_bytes(*b"whoever uses HTTP on the machine");

/// Which listener somebody comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Port {
    Clients,
    Workers,
    Knowledge,
}

/// The holder of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Principal {
    pub(crate) key: PublicKey,
    pub(crate) proof: Proof,
    /// What the file says of it, for logs.
    pub(crate) label: String,
    pub(crate) roles: Roles,
    /// The kinds of tasks that it may hand in, see to, and serve.
    pub(crate) kinds: Scope,
    /// The topics of knowledge and broadcasts that it may read and write.
    pub(crate) topics: Scope,
    pub(crate) quota: Quota,
}

/// What a message needs: one of these roles.
pub(super) type Needs = &'static [Role];

const ANYBODY: Needs = &[Role::Submit, Role::KnowledgeRead, Role::KnowledgeWrite, Role::Admin];
pub(super) const TASKS: Needs = &[Role::Submit, Role::Admin];
pub(super) const READS: Needs = &[Role::KnowledgeRead];
const WRITES: Needs = &[Role::KnowledgeWrite];
pub(super) const OPERATES: Needs = &[Role::Admin];
const WORKS: Needs = &[Role::Work];

/// What a client's message needs. There is no other way for it to be allowed.
pub(crate) fn of_client(request: &ClientRequest) -> (Needs, &'static str) {
    match request {
        ClientRequest::Hello { .. } => (ANYBODY, "hello"),
        ClientRequest::Heartbeat => (ANYBODY, "heartbeat"),
        ClientRequest::Goodbye => (ANYBODY, "goodbye"),
        ClientRequest::Ack { .. } => (ANYBODY, "ack"),
        ClientRequest::Status { .. } => (ANYBODY, "status"),
        ClientRequest::Submit { .. } => (&[Role::Submit], "submit"),
        ClientRequest::Watch { .. } => (TASKS, "watch"),
        ClientRequest::Cancel { .. } => (TASKS, "cancel"),
        ClientRequest::Retry { .. } => (TASKS, "retry"),
        ClientRequest::Discard { .. } => (OPERATES, "discard"),
        ClientRequest::Pause { .. } => (OPERATES, "pause"),
        ClientRequest::Resume { .. } => (OPERATES, "resume"),
        ClientRequest::Fetch { .. } => (TASKS, "fetch"),
        ClientRequest::Payload { .. } => (TASKS, "payload"),
        ClientRequest::Explain { .. } => (TASKS, "explain"),
        ClientRequest::List { .. } => (TASKS, "list"),
        ClientRequest::ListWorkers { .. } => (OPERATES, "list_workers"),
        ClientRequest::Drain { .. } => (OPERATES, "drain"),
        ClientRequest::Knowledge { op, .. } => of_knowledge(op),
        ClientRequest::Publish { .. } => (WRITES, "publish"),
    }
}

/// What a worker's message needs.
pub(crate) fn of_worker(request: &WorkerRequest) -> (Needs, &'static str) {
    match request {
        WorkerRequest::Hello(_) => (WORKS, "hello"),
        WorkerRequest::Heartbeat { .. } => (WORKS, "heartbeat"),
        WorkerRequest::Report { .. } => (WORKS, "report"),
        WorkerRequest::Progress { .. } => (WORKS, "progress"),
        WorkerRequest::Partial { .. } => (WORKS, "partial"),
        WorkerRequest::Drain { .. } => (WORKS, "drain"),
        WorkerRequest::Goodbye => (WORKS, "goodbye"),
        WorkerRequest::Knowledge { op, .. } => of_knowledge(op),
    }
}

fn of_knowledge(op: &KnowledgeOp) -> (Needs, &'static str) {
    match op {
        KnowledgeOp::Put { .. } => (WRITES, "knowledge put"),
        KnowledgeOp::Delete { .. } => (WRITES, "knowledge delete"),
        KnowledgeOp::Get { .. } => (READS, "knowledge get"),
        KnowledgeOp::List { .. } => (READS, "knowledge list"),
        KnowledgeOp::Since { .. } => (READS, "knowledge since"),
        KnowledgeOp::Status => (READS, "knowledge status"),
    }
}

impl Principal {
    /// Whether it has one of these roles.
    pub(crate) fn may(&self, needs: Needs) -> bool {
        self.roles.has_any(needs)
    }

    /// Why what a message names is not for this principal, if it is not.
    pub(crate) fn scope_of_client(&self, request: &ClientRequest) -> Result<(), String> {
        match request {
            ClientRequest::List { filter, .. } if !self.kinds.is_all() => match &filter.kind {
                Some(kind) => self.kind(kind),
                None => Err("this key is for some kinds only: name one of them".to_owned()),
            },
            ClientRequest::Discard { which: Discard::All { kind, .. }, .. } if !self.kinds.is_all() => {
                match kind {
                    Some(kind) => self.kind(kind),
                    None => Err("this key is for some kinds only: name one of them".to_owned()),
                }
            }
            ClientRequest::Pause { kind, .. } | ClientRequest::Resume { kind, .. } => self.kind(kind),
            ClientRequest::Knowledge { op, .. } => self.scope_of_knowledge(op),
            ClientRequest::Publish { topic, .. } => self.topic(topic),
            _ => Ok(()),
        }
    }

    /// Why what a message names is not for this principal, if it is not.
    pub(crate) fn scope_of_worker(&self, request: &WorkerRequest) -> Result<(), String> {
        match request {
            WorkerRequest::Hello(hello) => hello.kinds.iter().try_for_each(|kind| self.kind(kind)),
            WorkerRequest::Knowledge { op, .. } => self.scope_of_knowledge(op),
            _ => Ok(()),
        }
    }

    fn scope_of_knowledge(&self, op: &KnowledgeOp) -> Result<(), String> {
        match op {
            KnowledgeOp::Put { topic, .. }
            | KnowledgeOp::Delete { topic, .. }
            | KnowledgeOp::Get { topic, .. }
            // What begins with a prefix that is covered is covered.
            | KnowledgeOp::List { prefix: topic, .. } => self.topic(topic),
            // What is not for this key is blotted out of the answer: see [`Self::blot_out`].
            KnowledgeOp::Since { .. } | KnowledgeOp::Status => Ok(()),
        }
    }

    /// Takes what is not for this principal out of a run of changes. Its place stays, because a run without
    /// gaps is what tells a reader that it has missed nothing: a removal without topic and key, which no map
    /// has, so it changes nothing wherever it is applied.
    pub(crate) fn blot_out(&self, changes: &mut [Change]) {
        for change in changes.iter_mut().filter(|change| !self.topics.covers(&change.topic)) {
            (change.topic, change.key, change.value) = (String::new(), String::new(), None);
        }
    }

    /// Whether it may have to do with tasks of a kind.
    pub(crate) fn kind(&self, kind: &str) -> Result<(), String> {
        match self.kinds.covers(kind) {
            true => Ok(()),
            false => Err(format!("this key is not for the kind {kind:?}")),
        }
    }

    fn topic(&self, topic: &str) -> Result<(), String> {
        match self.topics.covers(topic) {
            true => Ok(()),
            false => Err(format!("this key is not for the topic {topic:?}")),
        }
    }

    /// What it is granted at a listener, if anything.
    pub(crate) fn grant(&self, port: Port) -> Option<Grant> {
        use ganger_common::message::publish::{BEAT, BROADCAST_PREFIX, KNOWLEDGE_PREFIX, PULSE};
        let needs = match port {
            Port::Clients => ANYBODY,
            Port::Workers => WORKS,
            Port::Knowledge => READS,
        };
        let of_topics = |prefixes: &Vec<String>| {
            let topics = prefixes.iter().flat_map(|prefix| {
                [KNOWLEDGE_PREFIX, BROADCAST_PREFIX].map(|part| format!("{part}{prefix}"))
            });
            topics.chain([BEAT, PULSE].map(str::to_owned)).collect()
        };
        self.may(needs).then(|| Grant {
            connections: self.quota.connections,
            topics: self.topics.0.as_ref().filter(|_| port == Port::Knowledge).map(of_topics),
        })
    }
}
