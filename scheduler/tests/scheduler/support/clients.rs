//! Clients at the desk, in the words of a test.

use ganger_common::view::{Among, Explanation, ReasonCode, TaskView};
use ganger_common::{ClientId, ConnId, ErrorCode, Outcome, SessionToken};
use ganger_scheduler::effect::{ClientReply, Effect, KnowledgeAnswer, OutcomeItem, Refusal, Refused};
use ganger_scheduler::input::{ClientRequest, Discard, KnowledgeOp, NewTask};

use super::{Beating, Desk, id, number};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Client {
    pub(crate) conn: ConnId,
    pub(crate) id: u8,
}

impl Desk {
    /// A client joins.
    pub(crate) fn client(&mut self, n: u8) -> Client {
        let client = self.client_hello(n);
        self.alive.push(Beating::Client(client.conn));
        let conn = client.conn;
        self.pick_one("welcome", |effect| match effect {
            Effect::ToClient { conn: to, reply: ClientReply::Welcome(_) } if *to == conn => Some(()),
            _ => None,
        });
        client
    }

    /// A client says hello, and nobody looks at the answer.
    pub(crate) fn client_hello(&mut self, n: u8) -> Client {
        let conn = self.conn();
        let (client, token) = (ClientId::from_bytes([n; 16]), SessionToken::from_bytes([n; 16]));
        self.client_says(conn, ClientRequest::Hello { client, token, name: format!("client-{n}") });
        Client { conn, id: n }
    }

    /// Hands tasks in. Returns what was refused.
    pub(crate) fn submit_some(&mut self, client: Client, again: bool, tasks: Vec<NewTask>) -> Vec<Refusal> {
        self.seq += 1;
        let seq = self.seq;
        self.client_says(client.conn, ClientRequest::Submit { seq, again, tasks });
        self.pick_one("answer to a submission", |effect| match effect {
            Effect::ToClient { conn, reply: ClientReply::Accepted { seq: of, refused } } => {
                (*conn == client.conn && *of == seq).then(|| refused.clone())
            }
            _ => None,
        })
    }

    /// Hands tasks in; all are taken.
    pub(crate) fn submit(&mut self, client: Client, tasks: Vec<NewTask>) {
        assert_eq!(self.submit_some(client, false, tasks), []);
    }

    /// Hands tasks in again, after a reconnect; all are taken.
    pub(crate) fn resubmit(&mut self, client: Client, tasks: Vec<NewTask>) {
        assert_eq!(self.submit_some(client, true, tasks), []);
    }

    /// Everything that a client was told and nobody has looked at.
    pub(crate) fn replies(&mut self, client: Client) -> Vec<ClientReply> {
        self.pick(|effect| match effect {
            Effect::ToClient { conn, reply } if *conn == client.conn => Some(reply.clone()),
            _ => None,
        })
    }

    /// Outcomes that a client was told, confirmed to the scheduler.
    pub(crate) fn outcome_items(&mut self, client: Client) -> Vec<OutcomeItem> {
        let messages = self.outcome_messages(client);
        if let Some((upto, _)) = messages.last() {
            self.client_says(client.conn, ClientRequest::Ack { upto: *upto });
        }
        messages.into_iter().flat_map(|(_, items)| items).collect()
    }

    /// Messages of outcomes that a client was told, not confirmed.
    pub(crate) fn outcome_messages(&mut self, client: Client) -> Vec<(u64, Vec<OutcomeItem>)> {
        self.pick(|effect| match effect {
            Effect::ToClient { conn, reply: ClientReply::Outcomes { upto, items } } => {
                (*conn == client.conn).then(|| (*upto, items.clone()))
            }
            _ => None,
        })
    }

    pub(crate) fn outcomes(&mut self, client: Client) -> Vec<(u32, Outcome)> {
        self.outcome_items(client).iter().map(|item| (number(item.task), item.outcome)).collect()
    }

    fn ask(&mut self, client: Client, request: impl FnOnce(u64) -> ClientRequest) -> ClientReply {
        self.seq += 1;
        let wanted = self.seq;
        self.client_says(client.conn, request(wanted));
        self.pick_one("answer", |effect| match effect {
            Effect::ToClient { conn, reply } if *conn == client.conn && req_of(reply) == Some(wanted) => {
                Some(reply.clone())
            }
            _ => None,
        })
    }

    fn verdicts(
        &mut self,
        client: Client,
        request: impl FnOnce(u64) -> ClientRequest,
    ) -> Vec<(u32, ErrorCode)> {
        match self.ask(client, request) {
            ClientReply::Verdicts { refused, .. } => refused.iter().map(|no| (no.index, no.code)).collect(),
            other => panic!("no verdicts: {other:?}"),
        }
    }

    pub(crate) fn cancel(&mut self, client: Client, tasks: &[u32]) -> Vec<(u32, ErrorCode)> {
        let tasks = tasks.iter().map(|n| id(*n)).collect();
        self.verdicts(client, |req| ClientRequest::Cancel { req, tasks })
    }

    pub(crate) fn retry(&mut self, client: Client, tasks: &[u32]) -> Vec<(u32, ErrorCode)> {
        let tasks = tasks.iter().map(|n| id(*n)).collect();
        self.verdicts(client, |req| ClientRequest::Retry { req, tasks })
    }

    /// Lets tasks go. Returns how many that were, and what was refused.
    pub(crate) fn discard(&mut self, client: Client, tasks: &[u32]) -> (u64, Vec<(u32, ErrorCode)>) {
        let which = Discard::Tasks(tasks.iter().map(|n| id(*n)).collect());
        match self.ask(client, |req| ClientRequest::Discard { req, which }) {
            ClientReply::Discarded { count, refused, next: None, .. } => {
                (count, refused.iter().map(|no| (no.index, no.code)).collect())
            }
            other => panic!("nothing discarded: {other:?}"),
        }
    }

    /// Lets a part of the dead set go. Returns how many tasks that were, and where to go on.
    pub(crate) fn discard_some(
        &mut self,
        client: Client,
        among: Among,
        kind: Option<&str>,
        after: Option<String>,
    ) -> (u64, Option<String>) {
        let which = Discard::All { among, kind: kind.map(str::to_owned), after };
        match self.ask(client, |req| ClientRequest::Discard { req, which }) {
            ClientReply::Discarded { count, refused, next, .. } if refused.is_empty() => (count, next),
            other => panic!("nothing discarded: {other:?}"),
        }
    }

    pub(crate) fn pause(&mut self, client: Client, kind: &str) -> Result<(), ErrorCode> {
        let kind = kind.into();
        self.done(client, |req| ClientRequest::Pause { req, kind })
    }

    pub(crate) fn resume(&mut self, client: Client, kind: &str) -> Result<(), ErrorCode> {
        let kind = kind.into();
        self.done(client, |req| ClientRequest::Resume { req, kind })
    }

    fn done(&mut self, client: Client, request: impl FnOnce(u64) -> ClientRequest) -> Result<(), ErrorCode> {
        match self.ask(client, request) {
            ClientReply::Done { .. } => Ok(()),
            ClientReply::Error(refused) => Err(refused.code),
            other => panic!("not done: {other:?}"),
        }
    }

    pub(crate) fn watch(&mut self, client: Client, tasks: &[u32], events: bool) -> Vec<(u32, ErrorCode)> {
        let tasks = tasks.iter().map(|n| id(*n)).collect();
        self.verdicts(client, |req| ClientRequest::Watch { req, tasks, events })
    }

    pub(crate) fn drain_workers(&mut self, client: Client, workers: &[&str]) -> Vec<(u32, ErrorCode)> {
        let workers = workers.iter().map(|name| (*name).to_owned()).collect();
        self.verdicts(client, |req| ClientRequest::Drain { req, workers, broker: false, deadline: None })
    }

    pub(crate) fn fetch(&mut self, client: Client, n: u32) -> Option<TaskView> {
        match self.ask(client, |req| ClientRequest::Fetch { req, task: id(n) }) {
            ClientReply::Task { task, .. } => Some(*task),
            ClientReply::Error(Refused { code: ErrorCode::UnknownTask, .. }) => None,
            other => panic!("no task: {other:?}"),
        }
    }

    pub(crate) fn explain(&mut self, client: Client, n: u32) -> Explanation {
        match self.ask(client, |req| ClientRequest::Explain { req, task: id(n) }) {
            ClientReply::Explanation { explanation, .. } => *explanation,
            other => panic!("no explanation: {other:?}"),
        }
    }

    pub(crate) fn reasons(&mut self, client: Client, n: u32) -> Vec<ReasonCode> {
        let explanation = self.explain(client, n);
        assert!(!explanation.reasons.is_empty(), "an explanation gives a reason");
        explanation.reasons.iter().map(|reason| reason.code).collect()
    }

    pub(crate) fn request(
        &mut self,
        client: Client,
        request: impl FnOnce(u64) -> ClientRequest,
    ) -> ClientReply {
        self.ask(client, request)
    }

    pub(crate) fn know(&mut self, client: Client, op: KnowledgeOp) -> Result<KnowledgeAnswer, ErrorCode> {
        match self.ask(client, |req| ClientRequest::Knowledge { req, op }) {
            ClientReply::Knowledge { answer, .. } => Ok(answer),
            ClientReply::Error(refused) => Err(refused.code),
            other => panic!("no answer: {other:?}"),
        }
    }
}

fn req_of(reply: &ClientReply) -> Option<u64> {
    match reply {
        ClientReply::Verdicts { req, .. }
        | ClientReply::Discarded { req, .. }
        | ClientReply::Task { req, .. }
        | ClientReply::Payload { req, .. }
        | ClientReply::Tasks { req, .. }
        | ClientReply::Explanation { req, .. }
        | ClientReply::Workers { req, .. }
        | ClientReply::Status { req, .. }
        | ClientReply::Knowledge { req, .. }
        | ClientReply::Done { req } => Some(*req),
        ClientReply::Error(refused) => refused.req,
        _ => None,
    }
}
