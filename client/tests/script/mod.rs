//! A broker that is played by hand.

mod welcome;

use std::time::Duration;

use bytes::Bytes;
use ganger_client::{Client, ClientConfig, Result};
use ganger_common::codec::{Blob, List};
use ganger_common::message::publish::{BeatHeader, ChangeOp, DeltaHeader, encode_header};
use ganger_common::message::{
    Accepted, ChangeItem, Durability, ErrorReply, FromClient, KnowledgeAnswer, KnowledgeReply, OutcomeItem,
    Outcomes, Refusal, TaskProgress, ToClient,
};
use ganger_common::view::KnowledgeStatusView;
use ganger_common::{Attempt, ConnId, Epoch, ErrorCode, Outcome, Revision, TaskId, decode, encode};
use ganger_transport::mem::{MemNet, MemPublisher, MemServer};
use ganger_transport::{Limits, Publisher, Server, ServerEvent};
use tokio::task::JoinHandle;
use welcome::welcome;

/// Some task.
pub(crate) const ID: TaskId = TaskId::from_bytes([7; 16]);

/// Waits, but not for ever: a test that hangs should say where.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it should have happened by now")
}

/// A client that finds the broker below.
pub(crate) fn config() -> ClientConfig {
    let mut config = ClientConfig::new("mem://broker".parse().unwrap());
    config.knowledge = Some("mem://knowledge".parse().unwrap());
    config
}

/// The broker's side of one client.
pub(crate) struct Broker {
    net: MemNet,
    server: MemServer,
    publisher: MemPublisher,
    conn: Option<ConnId>,
}

impl Broker {
    /// Without a client.
    pub(crate) fn alone() -> (MemNet, Self) {
        let net = MemNet::new();
        let server = net.bind(&"mem://broker".parse().unwrap(), &Limits::default()).unwrap();
        let publisher = net.bind_publisher(&"mem://knowledge".parse().unwrap()).unwrap();
        (net.clone(), Self { net, server, publisher, conn: None })
    }

    /// With a client that was welcomed.
    pub(crate) async fn with_client() -> (Self, Client) {
        Self::with_config(|_| {}).await
    }

    /// With a client of these settings that was welcomed.
    pub(crate) async fn with_config(change: impl FnOnce(&mut ClientConfig)) -> (Self, Client) {
        let (net, mut broker) = Self::alone();
        let mut config = config();
        change(&mut config);
        let connecting = tokio::spawn(Client::connect_with(net.connector(), config));
        within(broker.greet()).await;
        (broker, within(connecting).await.unwrap().unwrap())
    }

    /// With a client that was not welcomed yet.
    pub(crate) fn with_stranger() -> (Self, JoinHandle<Result<Client>>) {
        let (net, broker) = Self::alone();
        (broker, tokio::spawn(Client::connect_with(net.connector(), config())))
    }

    /// The next message; none when the client has gone.
    pub(crate) async fn hear(&mut self) -> Option<Bytes> {
        loop {
            let mut events = Vec::new();
            self.server.recv(&mut events, 1).await;
            match events.pop() {
                Some(ServerEvent::Up { conn, .. }) => self.conn = Some(conn),
                Some(ServerEvent::Message { conn, body }) if Some(conn) == self.conn => return Some(body),
                Some(ServerEvent::Down { conn, .. }) if Some(conn) == self.conn => {
                    self.conn = None;
                    return None;
                }
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// The next message that the test looks for. Heartbeats, and whatever else comes, are passed over.
    async fn next<T>(&mut self, mut look: impl FnMut(FromClient<'_>) -> Option<T>) -> T {
        loop {
            let Some(frame) = self.hear().await else { continue };
            if let Some(found) = look(decode(&frame).unwrap()) {
                return found;
            }
        }
    }

    pub(crate) fn say(&self, message: &ToClient<'_>) {
        self.server.try_send(self.conn.unwrap(), encode(message)).unwrap();
    }

    /// Waits for a hello and says welcome.
    pub(crate) async fn greet(&mut self) {
        self.next(|message| matches!(message, FromClient::Hello(_)).then_some(())).await;
        self.say(&ToClient::Welcome(welcome()));
    }

    /// Waits for a hello and refuses it.
    pub(crate) async fn refuse_hello(&mut self, code: ErrorCode) {
        self.next(|message| matches!(message, FromClient::Hello(_)).then_some(())).await;
        self.say(&ToClient::Error(ErrorReply { req: None, code, text: "no".into(), retry_after_ms: None }));
    }

    /// Breaks the connection.
    pub(crate) fn cut(&mut self) {
        self.net.cut(self.conn.unwrap());
    }

    /// Whether the client says goodbye before it goes.
    pub(crate) async fn said_goodbye(&mut self) -> bool {
        while let Some(frame) = self.hear().await {
            if matches!(decode(&frame), Ok(FromClient::Goodbye(_))) {
                return true;
            }
        }
        false
    }

    /// The next batch: its number and its tasks.
    pub(crate) async fn submitted(&mut self) -> (u64, Vec<TaskId>) {
        self.next(|message| match message {
            FromClient::Submit(submit) => {
                Some((submit.seq, submit.tasks.iter().map(|task| task.id).collect()))
            }
            _ => None,
        })
        .await
    }

    /// Waits for a request for outcomes.
    pub(crate) async fn watched(&mut self) {
        self.next(|message| matches!(message, FromClient::Watch(_)).then_some(())).await;
    }

    /// Waits until outcomes up to this were confirmed.
    pub(crate) async fn acknowledged(&mut self, upto: u64) {
        self.next(|message| matches!(message, FromClient::Ack(ack) if ack.upto >= upto).then_some(())).await;
    }

    /// The number of the next request of this type.
    pub(crate) async fn asked(&mut self, kind: &str) -> u64 {
        self.next(|message| match message {
            FromClient::Cancel(list) if kind == "cancel" => Some(list.req),
            FromClient::Status(request) if kind == "status" => Some(request.req),
            FromClient::Knowledge(request) if kind == "knowledge" => Some(request.req),
            _ => None,
        })
        .await
    }

    pub(crate) fn accept(&self, seq: u64) {
        let refused = List::default();
        self.say(&ToClient::Accepted(Accepted { seq, durability: Durability::Memory, refused }));
    }

    /// Refuses the first task of a batch.
    pub(crate) fn refuse(&self, seq: u64, code: ErrorCode) {
        let refusal = Refusal { index: 0, code, text: "no".into(), retry_after_ms: None };
        let refused = List(vec![refusal]);
        self.say(&ToClient::Accepted(Accepted { seq, durability: Durability::Memory, refused }));
    }

    pub(crate) fn settle(&self, upto: u64, ids: &[TaskId], result: &[u8]) {
        let item = |id: &TaskId| OutcomeItem {
            task: *id,
            outcome: Outcome::Succeeded.code(),
            attempt: Attempt(1),
            result: Blob(result),
            detail: None,
        };
        self.say(&ToClient::Outcomes(Outcomes { upto, items: ids.iter().map(item).collect() }));
    }

    pub(crate) fn progress(&self, task: TaskId, fraction: f32) {
        let fraction = Some(fraction);
        let progress = TaskProgress { task, attempt: Attempt(1), fraction, text: "on it".into() };
        self.say(&ToClient::Progress(progress));
    }

    pub(crate) fn knowledge_status(&self, req: u64, revision: u64) {
        let status = KnowledgeStatusView { revision: Revision(revision), ..Default::default() };
        self.say(&ToClient::Knowledge(KnowledgeReply { req, answer: KnowledgeAnswer::Status(status) }));
    }

    pub(crate) fn knowledge_changes(&self, req: u64, revisions: &[u64]) {
        let change = |revision: &u64| ChangeItem {
            revision: Revision(*revision),
            topic: "t".into(),
            key: "key".into(),
            value: Some(Blob(b"value")),
        };
        let revision = Revision(*revisions.last().unwrap());
        let items = revisions.iter().map(change).collect();
        let answer = KnowledgeAnswer::Changes { revision, items };
        self.say(&ToClient::Knowledge(KnowledgeReply { req, answer }));
    }

    pub(crate) fn publish(&self, revision: u64, topic: &str, key: &str, value: &'static [u8]) {
        let header = encode_header(&DeltaHeader {
            epoch: Epoch(1),
            revision: Revision(revision),
            previous: Revision(0),
            op: ChangeOp::Put,
            key: key.into(),
            checksum: crc32fast::hash(value),
        });
        let parts = [format!("k/{topic}").into(), header.into(), Bytes::from_static(value)];
        self.publisher.publish(parts).unwrap();
    }

    pub(crate) fn broadcast(&self, topic: &str, body: &'static [u8]) {
        let header = encode_header(&BeatHeader { epoch: Epoch(1), revision: Revision(0), number: 1 });
        let parts = [format!("b/{topic}").into(), header.into(), Bytes::from_static(body)];
        self.publisher.publish(parts).unwrap();
    }
}
