//! A broker's loop over connections in memory, and peers that speak by hand.

#![allow(dead_code)] // Each test file uses a part of it.

use std::time::Duration;

use bytes::Bytes;
use ganger_broker::BrokerError;
use ganger_broker::journal::{Journal, MemoryJournal};
use ganger_broker::server::{self, Sockets, Stop};
use ganger_common::codec::{Blob, Message};
use ganger_common::message::{
    ClientHeartbeat, ClientHello, FromClient, FromWorker, NewTask, Submit, ToClient, ToWorker, WorkerHello,
};
use ganger_common::version::PROTOCOL;
use ganger_common::{
    ClientId, ConnId, Revision, SessionToken, TaskId, TaskOptions, WorkerId, decode, encode,
};
use ganger_transport::mem::{MemConnection, MemNet, MemSubscription};
use ganger_transport::{Connection, Connector, Endpoint, Limits, Subscription};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Nothing in these tests takes long; whatever takes this long will not come.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) net: MemNet,
    pub(crate) stop: mpsc::Sender<Stop>,
    pub(crate) ended: JoinHandle<Result<(), BrokerError>>,
}

pub(crate) fn endpoint(name: &str) -> Endpoint {
    Endpoint::Mem { name: name.to_owned() }
}

/// Settings with which no test takes so long that a peer counts as silent, whatever the machine does.
pub(crate) fn patient() -> ganger_scheduler::Config {
    ganger_scheduler::Config { heartbeat: DEADLINE, ..ganger_scheduler::Config::default() }
}

impl Rig {
    pub(crate) fn start() -> Self {
        Self::with(patient(), &Limits::default())
    }

    pub(crate) fn with(config: ganger_scheduler::Config, limits: &Limits) -> Self {
        Self::with_journal(config, limits, MemoryJournal::default())
    }

    pub(crate) fn with_journal(
        config: ganger_scheduler::Config,
        limits: &Limits,
        journal: impl Journal,
    ) -> Self {
        let net = MemNet::new();
        let sockets = Sockets {
            clients: net.bind(&endpoint("clients"), limits).unwrap(),
            workers: net.bind(&endpoint("workers"), limits).unwrap(),
            knowledge: net.bind_publisher(&endpoint("knowledge")).unwrap(),
        };
        let (stop, stopped) = mpsc::channel(4);
        let deadline = Duration::from_secs(5);
        let ended = tokio::spawn(server::run(config, deadline, sockets, journal, stopped));
        Self { net, stop, ended }
    }

    pub(crate) async fn connect(&self, name: &str) -> Peer {
        self.connect_with(name, &Limits::default()).await
    }

    pub(crate) async fn connect_with(&self, name: &str, limits: &Limits) -> Peer {
        Peer { link: self.net.connector().connect(&endpoint(name), limits).await.unwrap(), mark: 0 }
    }

    /// A client that has been welcomed.
    pub(crate) async fn client(&self, number: u8) -> Peer {
        let mut peer = self.connect("clients").await;
        peer.say(&client_hello(number));
        let welcome = peer.hear().await;
        assert!(matches!(to_client(&welcome), ToClient::Welcome(_)));
        peer
    }

    /// A worker that has been welcomed.
    pub(crate) async fn worker(&self, number: u8, kinds: &[&str], slots: u32) -> Peer {
        let mut peer = self.connect("workers").await;
        peer.say(&worker_hello(number, kinds, slots));
        let welcome = peer.hear().await;
        assert!(matches!(to_worker(&welcome), ToWorker::Welcome(_)));
        peer
    }

    pub(crate) async fn subscribe(&self, topic: &str) -> MemSubscription {
        let topics = [topic.to_owned()];
        self.net.connector().subscribe(&endpoint("knowledge"), &topics, &Limits::default()).await.unwrap()
    }

    /// Waits for the end of the loop.
    pub(crate) async fn end(self) -> Result<(), BrokerError> {
        tokio::time::timeout(DEADLINE, self.ended).await.expect("the broker ends in time").unwrap()
    }

    /// Stops the loop and checks that it ends well: nothing that happened has hurt it.
    pub(crate) async fn finish(self) {
        self.stop.send(Stop::Now).await.unwrap();
        self.end().await.unwrap();
    }
}

pub(crate) struct Peer {
    pub(crate) link: MemConnection,
    /// The newest mark that was heard.
    pub(crate) mark: u64,
}

impl Peer {
    pub(crate) fn conn(&self) -> ConnId {
        self.link.conn()
    }

    pub(crate) fn say<'a, M: Message<'a>>(&self, message: &M) {
        self.link.try_send(encode(message)).unwrap();
    }

    pub(crate) fn say_bytes(&self, bytes: &[u8]) {
        self.link.try_send(Bytes::copy_from_slice(bytes)).unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Bytes {
        tokio::time::timeout(DEADLINE, self.link.recv()).await.expect("an answer in time").unwrap()
    }

    /// What comes until the connection ends.
    pub(crate) async fn hear_out(&mut self) -> Vec<Bytes> {
        let mut heard = Vec::new();
        while let Ok(frame) = tokio::time::timeout(DEADLINE, self.link.recv()).await.expect("an end in time")
        {
            heard.push(frame);
        }
        heard
    }

    /// Says that a client lives and what it has read, and waits until the broker knows: everything that was
    /// said before has been answered then, unless it waits for its turn. Returns what came before.
    pub(crate) async fn sync(&mut self) -> Vec<Bytes> {
        self.say(&FromClient::Heartbeat(ClientHeartbeat { mark: self.mark }));
        let mut before = Vec::new();
        loop {
            let frame = self.hear().await;
            if let ToClient::Heartbeat(beat) = to_client(&frame) {
                self.mark = beat.mark;
                return before;
            }
            before.push(frame);
        }
    }
}

pub(crate) fn to_client(frame: &[u8]) -> ToClient<'_> {
    decode(frame).unwrap()
}

pub(crate) fn to_worker(frame: &[u8]) -> ToWorker<'_> {
    decode(frame).unwrap()
}

pub(crate) fn client_hello(number: u8) -> FromClient<'static> {
    FromClient::Hello(ClientHello {
        protocol: PROTOCOL,
        client: ClientId::from_bytes([number; 16]),
        token: SessionToken::from_bytes([number; 16]),
        name: "tester".into(),
    })
}

pub(crate) fn worker_hello<'a>(number: u8, kinds: &[&'a str], slots: u32) -> FromWorker<'a> {
    FromWorker::Hello(WorkerHello {
        protocol: PROTOCOL,
        worker: WorkerId::from_bytes([number; 16]),
        token: SessionToken::from_bytes([number; 16]),
        name: "tester".into(),
        host: "here".into(),
        pid: 1,
        kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
        slots,
        holding: Vec::new().into(),
        revision: Revision(0),
        draining: false,
    })
}

pub(crate) fn task_id(number: u128) -> TaskId {
    TaskId::from_bytes(number.to_be_bytes())
}

pub(crate) fn task(number: u128, kind: &str) -> NewTask<'_> {
    NewTask { id: task_id(number), kind: kind.into(), payload: Blob(b"payload"), options: None }
}

pub(crate) fn task_with(number: u128, kind: &str, options: TaskOptions) -> NewTask<'_> {
    NewTask { options: Some(options), ..task(number, kind) }
}

pub(crate) fn submit(seq: u64, tasks: Vec<NewTask<'_>>) -> FromClient<'_> {
    FromClient::Submit(Submit { seq, again: false, tasks: tasks.into() })
}

pub(crate) async fn published(subscription: &mut MemSubscription) -> [Bytes; 3] {
    tokio::time::timeout(DEADLINE, subscription.recv()).await.expect("a publication in time").unwrap()
}
