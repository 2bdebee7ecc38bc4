//! A peer that says exactly what a test wants said: whole frames, right or wrong, and that reads only when
//! it is asked to.

use std::time::Duration;

use bytes::Bytes;
use ganger_common::message::{
    ClientHeartbeat, ClientHello, FromClient, FromWorker, Goodbye, ToClient, ToWorker, WorkerHello,
};
use ganger_common::version::PROTOCOL;
use ganger_common::{ClientId, SessionToken, WorkerId, decode, encode};
use ganger_transport::door::ClientKeys;
use ganger_transport::zmq::{ZmqConnection, ZmqConnector};
use ganger_transport::{Connection, Connector, Endpoint, Limits, SendError};
use uuid::Uuid;

use crate::wait::within;

/// An answer comes within this.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// What was said last has left by then.
const CLOSE_GRACE: Duration = Duration::from_millis(10);

/// A bare connection.
#[derive(Debug)]
pub struct Raw {
    connection: ZmqConnection,
    /// The newest mark that was read on; it proves to the broker that this peer reads.
    mark: u64,
}

impl Raw {
    /// Connects and says nothing.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn connect(to: &Endpoint) -> Self {
        Self::connect_with(to, &Limits::default()).await
    }

    /// Connects with an inbox of next to nothing: who then does not [`recv`](Self::recv) is a peer that does
    /// not read, as far as the kernel and the broker can tell.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn connect_deaf(to: &Endpoint) -> Self {
        Self::connect_with(to, &Limits { inbox_messages: 1, inbox_bytes: 1, ..Limits::default() }).await
    }

    /// Connects with limits of its own.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn connect_with(to: &Endpoint, limits: &Limits) -> Self {
        // A connector each: one connection that is full must not hold up another of the same test.
        Self::connect_by(&ZmqConnector::default(), to, limits).await
    }

    /// Connects with a key.
    ///
    /// # Panics
    /// When nobody listens, or the key is refused.
    pub async fn connect_as(keys: ClientKeys, to: &Endpoint) -> Self {
        Self::connect_by(&ZmqConnector::with_keys(keys), to, &Limits::default()).await
    }

    async fn connect_by(connector: &ZmqConnector, to: &Endpoint, limits: &Limits) -> Self {
        let connection = connector.connect(to, limits).await;
        Self { connection: connection.unwrap_or_else(|error| panic!("{error}")), mark: 0 }
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the connection is gone.
    pub fn send(&self, bytes: impl Into<Bytes>) {
        self.connection.try_send(bytes.into()).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Sends a message of a client.
    pub fn say(&self, message: &FromClient<'_>) {
        self.send(encode(message));
    }

    /// Sends a message of a worker.
    pub fn report(&self, message: &FromWorker<'_>) {
        self.send(encode(message));
    }

    /// Sends a message of a client if there is room for it.
    ///
    /// # Errors
    /// When there is none, or the connection is gone.
    pub fn try_say(&self, message: &FromClient<'_>) -> Result<(), SendError> {
        self.connection.try_send(encode(message))
    }

    /// Sends a message of a worker if there is room for it.
    ///
    /// # Errors
    /// When there is none, or the connection is gone.
    pub fn try_report(&self, message: &FromWorker<'_>) -> Result<(), SendError> {
        self.connection.try_send(encode(message))
    }

    /// Says that this client lives, and what it has read.
    ///
    /// # Errors
    /// When there is no room for it, or the connection is gone.
    pub fn beat(&self) -> Result<(), SendError> {
        self.try_say(&FromClient::Heartbeat(ClientHeartbeat { mark: self.mark }))
    }

    /// Reads what has come to a client, and remembers nothing of it but the mark.
    pub fn read_on(&mut self) {
        while let Ok(Some(frame)) = self.connection.try_recv() {
            if let Ok(ToClient::Heartbeat(beat)) = decode(&frame) {
                self.mark = beat.mark;
            }
        }
    }

    /// The next frame.
    ///
    /// # Panics
    /// When none comes, or the connection ends.
    pub async fn recv(&mut self) -> Bytes {
        let received = within("an answer", ANSWER_DEADLINE, self.connection.recv()).await;
        received.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Whether the other side has ended the connection by the deadline; what comes before the end is
    /// thrown away.
    pub async fn is_closed_within(&mut self, deadline: Duration) -> bool {
        let end = async { while self.connection.recv().await.is_ok() {} };
        tokio::time::timeout(deadline, end).await.is_ok()
    }

    /// Reads on until a message of the broker to a client matches.
    ///
    /// # Panics
    /// When none does, or something comes that is no message.
    pub async fn hear<T>(&mut self, mut pick: impl FnMut(&ToClient<'_>) -> Option<T>) -> T {
        loop {
            let frame = self.recv().await;
            let message = decode::<ToClient<'_>>(&frame).unwrap_or_else(|error| panic!("{error}"));
            if let Some(found) = pick(&message) {
                return found;
            }
        }
    }

    /// Reads on until a message of the broker to a worker matches.
    ///
    /// # Panics
    /// When none does, or something comes that is no message.
    pub async fn hear_as_worker<T>(&mut self, mut pick: impl FnMut(&ToWorker<'_>) -> Option<T>) -> T {
        loop {
            let frame = self.recv().await;
            let message = decode::<ToWorker<'_>>(&frame).unwrap_or_else(|error| panic!("{error}"));
            if let Some(found) = pick(&message) {
                return found;
            }
        }
    }

    /// Ends a client's session.
    pub fn goodbye_client(&self) {
        self.say(&FromClient::Goodbye(Goodbye { code: None, text: "".into() }));
    }

    /// Ends a worker's session.
    pub fn goodbye_worker(&self) {
        self.report(&FromWorker::Goodbye(Goodbye { code: None, text: "".into() }));
    }

    /// Lets what was said leave, and closes the connection.
    pub async fn close(self) {
        self.connection.close(CLOSE_GRACE).await;
    }

    /// Opens a client's session.
    pub async fn hello_client(&mut self) {
        self.say(&FromClient::Hello(client_hello()));
        self.hear(|message| matches!(message, ToClient::Welcome(_)).then_some(())).await;
    }

    /// Opens a worker's session for some kinds.
    pub async fn hello_worker(&mut self, kinds: &[&str], slots: u32) -> WorkerId {
        let hello = worker_hello(kinds, slots);
        let id = hello.worker;
        self.report(&FromWorker::Hello(hello));
        self.hear_as_worker(|message| matches!(message, ToWorker::Welcome(_)).then_some(())).await;
        id
    }
}

/// A client's greeting with ids of its own.
pub fn client_hello() -> ClientHello<'static> {
    ClientHello {
        protocol: PROTOCOL,
        client: ClientId(Uuid::now_v7()),
        token: SessionToken(Uuid::new_v4()),
        name: "raw".into(),
    }
}

/// A worker's greeting with ids of its own.
pub fn worker_hello<'a>(kinds: &[&'a str], slots: u32) -> WorkerHello<'a> {
    WorkerHello {
        protocol: PROTOCOL,
        worker: WorkerId(Uuid::now_v7()),
        token: SessionToken(Uuid::new_v4()),
        name: "raw".into(),
        host: "localhost".into(),
        pid: std::process::id(),
        kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
        slots,
        holding: Vec::new().into(),
        revision: ganger_common::Revision(0),
        draining: false,
    }
}
