//! A broker played by hand over the transport in memory.

#![allow(dead_code)] // Each test file uses a part of it.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use ganger_common::codec::Blob;
use ganger_common::message::{
    AttemptReport, BrokerHeartbeat, Dispatch, DispatchDetail, DispatchItem, Durability, FromWorker,
    ReportAck, ToWorker, Welcome,
};
use ganger_common::version::PROTOCOL;
use ganger_common::{Attempt, AttemptEnd, ConnId, Epoch, Revision, TaskId};
use ganger_transport::mem::{MemConnector, MemNet, MemServer};
use ganger_transport::{Endpoint, Limits, Server, ServerEvent};
use ganger_worker::{Builder, Stopped, Worker, WorkerError, WorkerHandle};

/// Nothing in these tests takes nearly as long unless something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test instead of waiting for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen"),
    }
}

/// The broker.
pub(crate) struct Broker {
    pub(crate) net: MemNet,
    server: MemServer,
    events: VecDeque<ServerEvent>,
    pub(crate) conn: ConnId,
    /// Ends that were reported: task, end, result, error.
    pub(crate) ends: Vec<(u8, AttemptEnd, Bytes, String)>,
    pub(crate) started: Vec<u8>,
    pub(crate) heartbeats: usize,
    pub(crate) revision: Revision,
    pub(crate) goodbye: bool,
    /// What else was said.
    pub(crate) other: Vec<String>,
    pub(crate) newest: Revision,
    mark: u64,
}

pub(crate) fn endpoint() -> Endpoint {
    "mem://broker".parse().unwrap()
}

pub(crate) fn task(number: u8) -> TaskId {
    TaskId::from_bytes([number; 16])
}

impl Broker {
    pub(crate) fn start() -> Self {
        let net = MemNet::new();
        let server = net.bind(&endpoint(), &Limits::default()).unwrap();
        Self {
            net,
            server,
            events: VecDeque::new(),
            conn: ConnId(0),
            ends: Vec::new(),
            started: Vec::new(),
            heartbeats: 0,
            revision: Revision(0),
            goodbye: false,
            other: Vec::new(),
            newest: Revision(0),
            mark: 0,
        }
    }

    /// Runs a worker against this broker.
    pub(crate) fn run(&self, builder: Builder) -> (WorkerHandle, Running) {
        let worker = self.worker(builder);
        let handle = worker.handle();
        (handle, tokio::spawn(worker.run(std::future::pending())))
    }

    pub(crate) fn worker(&self, builder: Builder) -> Worker<MemConnector> {
        builder.connect("mem://broker").build_with(self.net.connector()).unwrap()
    }

    pub(crate) fn send(&self, message: &ToWorker<'_>) {
        self.server.try_send(self.conn, ganger_common::encode(message)).unwrap();
    }

    /// Sends to a worker that may have said goodbye already.
    fn answer(&self, message: &ToWorker<'_>) {
        let _ = self.server.try_send(self.conn, ganger_common::encode(message));
    }

    /// Waits for a hello, and returns what the worker says that it holds.
    pub(crate) async fn hello(&mut self) -> Vec<(u8, bool)> {
        loop {
            let Some((conn, frame)) = self.next().await else { continue };
            if let FromWorker::Hello(hello) = ganger_common::decode(&frame).unwrap() {
                self.conn = conn;
                return hello.holding.iter().map(|held| (held.task.as_bytes()[0], held.started)).collect();
            }
        }
    }

    pub(crate) fn welcome(&self) {
        self.send(&ToWorker::Welcome(Welcome {
            protocol: PROTOCOL,
            broker: "by hand".into(),
            epoch: Epoch(1),
            heartbeat_ms: 50,
            // Far more than a busy machine can be late.
            liveness: 200,
            grace_ms: 2_000,
            durability: Durability::Memory,
            message_bytes_max: 64 << 20,
            payload_bytes_max: 16 << 20,
            batch_items_max: 4_096,
            revision: self.newest,
            knowledge_port: 1,
        }));
    }

    pub(crate) async fn open(&mut self) {
        self.hello().await;
        self.welcome();
    }

    pub(crate) fn dispatch(&self, tasks: &[(u8, &str, &[u8])]) {
        self.dispatch_with(tasks, &DispatchDetail::default());
    }

    pub(crate) fn dispatch_with(&self, tasks: &[(u8, &str, &[u8])], detail: &DispatchDetail) {
        let tasks = tasks
            .iter()
            .map(|(number, kind, payload)| DispatchItem {
                task: task(*number),
                attempt: Attempt(1),
                kind: (*kind).into(),
                payload: Blob(payload),
                detail: Some(detail.clone()),
            })
            .collect();
        self.send(&ToWorker::Tasks(Dispatch { epoch: Epoch(1), tasks }));
    }

    async fn next(&mut self) -> Option<(ConnId, Bytes)> {
        if self.events.is_empty() {
            let mut events = Vec::new();
            soon("a message from the worker", self.server.recv(&mut events, 64)).await;
            self.events.extend(events);
        }
        match self.events.pop_front()? {
            ServerEvent::Message { conn, body } => Some((conn, body)),
            _ => None,
        }
    }

    /// Plays the broker until something is so.
    pub(crate) async fn until(&mut self, mut is_so: impl FnMut(&Self) -> bool) {
        while !is_so(self) {
            if let Some((conn, frame)) = self.next().await
                && conn == self.conn
            {
                self.on_frame(&frame);
            }
        }
    }

    fn on_frame(&mut self, frame: &Bytes) {
        match ganger_common::decode::<FromWorker<'_>>(frame).unwrap() {
            FromWorker::Heartbeat(beat) => {
                self.heartbeats += 1;
                self.revision = beat.revision;
                self.mark += 1;
                let answer = BrokerHeartbeat { mark: self.mark, revision: self.newest };
                self.answer(&ToWorker::Heartbeat(answer));
            }
            FromWorker::Report(report) => {
                self.started.extend(report.started.iter().map(|lease| lease.task.as_bytes()[0]));
                self.ends.extend(report.ended.iter().map(end));
                if report.seq > 0 {
                    self.answer(&ToWorker::Ack(ReportAck { upto: report.seq, stale: Vec::new().into() }));
                }
            }
            FromWorker::Goodbye(_) => self.goodbye = true,
            FromWorker::Progress(progress) => {
                self.other.push(format!("progress {:?} {}", progress.fraction, progress.text.0));
            }
            FromWorker::Partial(partial) => {
                self.other.push(format!("partial {} {:?}", partial.index, partial.data.0));
            }
            other => self.other.push(format!("{other:?}")),
        }
    }

    pub(crate) fn end_of(&self, number: u8) -> Option<&(u8, AttemptEnd, Bytes, String)> {
        self.ends.iter().find(|(task, ..)| *task == number)
    }

    /// Waits for the end of a task.
    pub(crate) async fn end(&mut self, number: u8) -> (AttemptEnd, Bytes, String) {
        self.until(|broker| broker.end_of(number).is_some()).await;
        let (_, end, result, error) = self.end_of(number).unwrap();
        (*end, result.clone(), error.clone())
    }
}

fn end(report: &AttemptReport<'_>) -> (u8, AttemptEnd, Bytes, String) {
    let error = report.detail.as_ref().and_then(|detail| detail.error.map(|error| error.0.to_owned()));
    let end = AttemptEnd::from_code(report.end).unwrap();
    (report.task.as_bytes()[0], end, Bytes::copy_from_slice(report.result.0), error.unwrap_or_default())
}

/// A worker that runs.
pub(crate) type Running = tokio::task::JoinHandle<Result<Stopped, WorkerError>>;

/// Drains a worker and waits until it has left in order.
pub(crate) async fn leave(mut broker: Broker, handle: &WorkerHandle, running: Running) -> Stopped {
    handle.drain(None);
    broker.until(|broker| broker.goodbye).await;
    soon("the end of the worker", running).await.unwrap().unwrap()
}
