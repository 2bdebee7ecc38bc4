//! Inputs in, effects out, exactly. Effects are compared as short texts; what is left over fails the next
//! comparison.

mod connecting;
mod knowing;
mod leaving;
mod tasks;
mod telling;
mod timers;

use std::time::Duration;

use bytes::Bytes;
use ganger_common::codec::Blob;
use ganger_common::message::{
    BrokerHeartbeat, CancelLeases, Dispatch, DispatchDetail, DispatchItem, Durability, FromWorker, Lease,
    Leases, Recall, ReportAck, ToWorker, Welcome,
};
use ganger_common::version::PROTOCOL;
use ganger_common::{Attempt, AttemptEnd, Epoch, ErrorCode, Revision, SessionToken, TaskId, WorkerId};

use super::*;

/// A session and the time.
struct Rig {
    session: Session,
    now: Time,
}

fn config(slots: u32) -> Config {
    Config {
        worker: WorkerId::from_bytes([7; 16]),
        token: SessionToken::from_bytes([8; 16]),
        name: "w".to_owned(),
        host: "h".to_owned(),
        pid: 1,
        kinds: std::sync::Arc::new(Kinds::new(["a", "b"])),
        slots,
        seed: 1,
        drain_deadline: Duration::from_secs(30),
        knowledge_is_set: false,
    }
}

fn lease(task: u8) -> Lease {
    Lease { task: TaskId::from_bytes([task; 16]), epoch: Epoch(1), attempt: Attempt(1) }
}

fn leases(tasks: &[u8]) -> Vec<Lease> {
    tasks.iter().map(|task| lease(*task)).collect()
}

fn ok() -> End {
    End::Succeeded(Bytes::from_static(b"r"))
}

impl Rig {
    /// Not connected.
    fn new(slots: u32) -> Self {
        Self { session: Session::new(config(slots), Knowledge::new(), Time(0)), now: Time(0) }
    }

    /// In an open session, with nothing left to do.
    fn open(slots: u32) -> Self {
        let mut rig = Self::new(slots);
        rig.connect();
        assert_eq!(rig.effects(), ["hello"]);
        rig.welcome(1);
        assert_eq!(rig.effects(), ["heartbeat mark=0 revision=0"]);
        rig
    }

    /// Until hello is on its way.
    fn connect(&mut self) {
        let due = self.session.poll_timeout().expect("a session that is not connected wants to be");
        self.now = self.now.max(due);
        self.session.handle_timeout(self.now);
        let effects = self.effects();
        assert!(effects.last().is_some_and(|effect| effect == "connect"), "{effects:?}");
        self.input(Input::Connected);
    }

    fn welcome(&mut self, epoch: u64) {
        self.tell(&ToWorker::Welcome(Welcome {
            protocol: PROTOCOL,
            broker: "b".into(),
            epoch: Epoch(epoch),
            heartbeat_ms: 1_000,
            liveness: 3,
            grace_ms: 2_000,
            durability: Durability::Memory,
            message_bytes_max: 64 << 20,
            payload_bytes_max: 1 << 20,
            batch_items_max: 4_096,
            revision: Revision(0),
            knowledge_port: 0,
        }));
    }

    fn input(&mut self, input: Input) {
        self.session.handle(self.now, input);
    }

    fn tell(&mut self, message: &ToWorker<'_>) {
        let frame = ganger_common::encode(message);
        let input = Input::frame(self.session.kinds(), &frame);
        self.input(input);
    }

    /// Dispatches tasks of kind `a`.
    fn tasks(&mut self, tasks: &[u8]) {
        self.tasks_with(tasks, "a", &DispatchDetail::default());
    }

    fn tasks_with(&mut self, tasks: &[u8], kind: &str, detail: &DispatchDetail) {
        let item = |task: &u8| DispatchItem {
            task: lease(*task).task,
            attempt: Attempt(1),
            kind: kind.into(),
            payload: Blob(b"p"),
            detail: (*detail != DispatchDetail::default()).then(|| detail.clone()),
        };
        let tasks = tasks.iter().map(item).collect();
        self.tell(&ToWorker::Tasks(Dispatch { epoch: Epoch(1), tasks }));
    }

    fn start(&mut self, tasks: &[u8]) {
        self.tell(&ToWorker::Start(Leases { leases: leases(tasks).into() }));
    }

    fn recall(&mut self, recall: u64, count: u32) {
        self.tell(&ToWorker::Recall(Recall { recall, count }));
    }

    fn cancel(&mut self, tasks: &[u8], code: Option<ErrorCode>) {
        self.tell(&ToWorker::Cancel(CancelLeases { leases: leases(tasks).into(), code }));
    }

    fn ack(&mut self, upto: u64) {
        self.tell(&ToWorker::Ack(ReportAck { upto, stale: Vec::new().into() }));
    }

    fn beat(&mut self, mark: u64, revision: u64) {
        self.tell(&ToWorker::Heartbeat(BrokerHeartbeat { mark, revision: Revision(revision) }));
    }

    /// Lets an executor claim a task; its number.
    fn take(&mut self) -> Option<(u8, Ticket)> {
        let assignment = self.session.take(self.now)?;
        Some((assignment.lease.task.as_bytes()[0], assignment.ticket))
    }

    fn take_some(&mut self) -> Ticket {
        self.take().expect("there is a task").1
    }

    fn finish(&mut self, ticket: Ticket, end: End) {
        self.session.finish(self.now, ticket, end);
    }

    /// Lets time pass, hands every deadline back when it comes, and keeps the broker talking.
    fn pass(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn effects(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.session.poll_effect()).map(|effect| describe(&effect)).collect()
    }

    fn lose_connection(&mut self) {
        self.input(Input::Disconnected);
        assert_eq!(self.effects(), [""; 0]);
    }
}

fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Connect => "connect".to_owned(),
        Effect::Send(message) => said(&message.encode()),
        Effect::Disconnect { reason } => format!("disconnect: {reason}"),
        Effect::Subscribe { port } => format!("subscribe {port}"),
        Effect::Cancel { ticket, why } => format!("cancel handler {} {why:?}", ticket.serial),
        Effect::Broadcast { topic, .. } => format!("broadcast {topic}"),
        Effect::Stopped(stop) => {
            format!("stopped {:?} unfinished={} unreported={}", stop.reason, stop.unfinished, stop.unreported)
        }
    }
}

fn said(frame: &Bytes) -> String {
    let mut said = match ganger_common::decode::<FromWorker<'_>>(frame).unwrap() {
        FromWorker::Hello(hello) => {
            let held = hello
                .holding
                .iter()
                .map(|held| format!("{}{}", held.task.as_bytes()[0], if held.started { "*" } else { "" }));
            let held = held.collect::<Vec<_>>().join(",");
            let draining = if hello.draining { " draining" } else { "" };
            let holding = if held.is_empty() { String::new() } else { format!(" holding={held}") };
            format!("hello{holding}{draining}")
        }
        FromWorker::Heartbeat(beat) => {
            let quiet = if beat.quiet { "quiet " } else { "" };
            format!("{quiet}heartbeat mark={} revision={}", beat.mark, beat.revision)
        }
        FromWorker::Report(report) => {
            let mut text = format!("report {}", report.seq);
            for lease in report.started.iter() {
                text += &format!(" started:{}", lease.task.as_bytes()[0]);
            }
            for ended in report.ended.iter() {
                let end = AttemptEnd::from_code(ended.end).unwrap();
                text += &format!(" {}:{end}", ended.task.as_bytes()[0]);
                if let Some(detail) = &ended.detail {
                    text += if detail.is_final { "!" } else { "" };
                    text += &detail.error.map(|error| format!("({})", error.0)).unwrap_or_default();
                }
            }
            if report.waiting > 0 {
                text += &format!(" waiting={}", report.waiting);
            }
            text + &report.recall.map(|recall| format!(" recall={recall}")).unwrap_or_default()
        }
        FromWorker::Progress(progress) => {
            format!(
                "progress {} {:?} {}",
                progress.lease.task.as_bytes()[0],
                progress.fraction,
                progress.text.0
            )
        }
        FromWorker::Partial(partial) => {
            format!("partial {} {} {:?}", partial.lease.task.as_bytes()[0], partial.index, partial.data)
        }
        FromWorker::Drain(drain) => format!("drain {}ms", drain.deadline_ms.unwrap()),
        FromWorker::Knowledge(request) => format!("knowledge {} {:?}", request.req, request.op),
        FromWorker::Goodbye(_) => "goodbye".to_owned(),
    };
    said.truncate(200);
    said
}
