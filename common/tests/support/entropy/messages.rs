//! One of the messages of a direction, whichever the words choose.

use ganger_common::message::publish::{BeatHeader, ChangeOp, DeltaHeader};
use ganger_common::message::*;
use ganger_common::view::{Among, Explanation, KnowledgeStatusView, StateFilter};
use ganger_common::{AttemptEnd, ClientId, Outcome, TaskOptions};

use super::Entropy;

impl<'a> Entropy<'a> {
    fn options(&mut self) -> TaskOptions {
        TaskOptions {
            priority: self.u16() as i16,
            delay_ms: self.u64(),
            ttl_ms: self.some(Self::u64),
            run_limit_ms: self.some(Self::u64),
            max_attempts: self.some(Self::u32),
            crash_limit: self.some(Self::u32),
            backoff_ms: self.some(Self::u64),
            knowledge: self.some(Self::revision),
            detached: self.bool(),
            events: self.bool(),
            trace: self.some(Self::trace),
            trace_state: self.some(Self::trace_state),
            account: None,
        }
    }

    fn new_task(&mut self) -> NewTask<'a> {
        NewTask {
            id: self.task(),
            kind: self.text(),
            payload: self.blob(),
            options: self.some(Self::options),
        }
    }

    fn task_list(&mut self) -> TaskList {
        TaskList { req: self.u64(), tasks: self.list(Self::task) }
    }

    fn one_task(&mut self) -> OneTask {
        OneTask { req: self.u64(), task: self.task() }
    }

    fn one_kind(&mut self) -> OneKind<'a> {
        OneKind { req: self.u64(), kind: self.text() }
    }

    fn verdict(&mut self) -> Verdict<'a> {
        Verdict { index: self.u32(), code: self.code(), text: self.text() }
    }

    fn goodbye(&mut self) -> Goodbye<'a> {
        Goodbye { code: self.some(Self::code), text: self.text() }
    }

    fn error(&mut self) -> ErrorReply<'a> {
        ErrorReply {
            req: self.some(Self::u64),
            code: self.code(),
            text: self.text(),
            retry_after_ms: self.some(Self::u32),
        }
    }

    fn broker_heartbeat(&mut self) -> BrokerHeartbeat {
        BrokerHeartbeat { mark: self.u64(), revision: self.revision() }
    }

    fn worker_drain(&mut self) -> WorkerDrain {
        WorkerDrain { deadline_ms: self.some(Self::u64) }
    }

    fn welcome(&mut self) -> Welcome<'a> {
        Welcome {
            protocol: self.version(),
            broker: self.text(),
            epoch: self.epoch(),
            heartbeat_ms: self.u32(),
            liveness: self.u32(),
            grace_ms: self.u32(),
            durability: self.durability(),
            message_bytes_max: self.u64(),
            payload_bytes_max: self.u64(),
            batch_items_max: self.u32(),
            revision: self.revision(),
            knowledge_port: self.u16(),
        }
    }

    fn knowledge_request(&mut self) -> KnowledgeRequest<'a> {
        let req = self.u64();
        let (topic, key) = (self.text(), self.text());
        let expect = self.some(Self::revision);
        let op = match self.u64() % 6 {
            0 => KnowledgeOp::Put { topic, key, value: self.blob(), expect },
            1 => KnowledgeOp::Delete { topic, key, expect },
            2 => KnowledgeOp::Get { topic, key },
            3 => KnowledgeOp::List {
                prefix: self.text(),
                after: self.some(|_| (topic, key)),
                keys_only: self.bool(),
                limit: self.some(Self::u32),
            },
            4 => KnowledgeOp::Since { revision: self.revision() },
            _ => KnowledgeOp::Status {},
        };
        KnowledgeRequest { req, op }
    }

    fn entry(&mut self) -> EntryItem<'a> {
        EntryItem {
            topic: self.text(),
            key: self.text(),
            revision: self.revision(),
            value: self.some(Self::blob),
        }
    }

    fn change(&mut self) -> ChangeItem<'a> {
        ChangeItem {
            revision: self.revision(),
            topic: self.text(),
            key: self.text(),
            value: self.some(Self::blob),
        }
    }

    fn knowledge_reply(&mut self) -> KnowledgeReply<'a> {
        let (req, revision) = (self.u64(), self.revision());
        let answer = match self.u64() % 5 {
            0 => KnowledgeAnswer::Written { revision },
            1 => KnowledgeAnswer::Entry(self.entry()),
            2 => KnowledgeAnswer::Entries { revision, items: self.list(Self::entry), more: self.bool() },
            3 => KnowledgeAnswer::Changes { revision, items: self.list(Self::change) },
            _ => KnowledgeAnswer::Status(KnowledgeStatusView {
                revision,
                entries: self.u64(),
                bytes: self.u64(),
                history_from: self.revision(),
                workers: self.list::<_, 9>(Self::worker_revision).0,
            }),
        };
        KnowledgeReply { req, answer }
    }

    pub fn client_says(&mut self) -> FromClient<'a> {
        match self.u64() % FromClient::KINDS.len() as u64 {
            0 => FromClient::Hello(ClientHello {
                protocol: self.version(),
                client: ClientId::from_bytes(self.id()),
                token: self.token(),
                name: self.text(),
            }),
            1 => FromClient::Heartbeat(ClientHeartbeat { mark: self.u64() }),
            2 => FromClient::Submit(Submit {
                seq: self.u64(),
                again: self.bool(),
                tasks: self.list(Self::new_task),
            }),
            3 => FromClient::Watch(Watch {
                req: self.u64(),
                tasks: self.list(Self::task),
                events: self.bool(),
            }),
            4 => FromClient::Ack(Ack { upto: self.u64() }),
            5 => FromClient::Cancel(self.task_list()),
            6 => FromClient::Retry(self.task_list()),
            7 => FromClient::Fetch(self.one_task()),
            8 => FromClient::Explain(self.one_task()),
            9 => FromClient::List(ListTasks {
                req: self.u64(),
                state: self.some(|this| this.pick(&StateFilter::ALL)),
                kind: self.some(Self::text),
                after: self.some(Self::text),
                limit: self.some(Self::u32),
            }),
            10 => FromClient::ListWorkers(Page {
                req: self.u64(),
                after: self.some(Self::text),
                limit: self.some(Self::u32),
            }),
            11 => FromClient::Status(Request { req: self.u64() }),
            12 => FromClient::Drain(Drain {
                req: self.u64(),
                workers: self.list(Self::text),
                broker: self.bool(),
                deadline_ms: self.some(Self::u64),
            }),
            13 => FromClient::Knowledge(self.knowledge_request()),
            14 => {
                FromClient::Publish(PublishRequest { req: self.u64(), topic: self.text(), body: self.blob() })
            }
            15 => FromClient::Discard(Discard {
                req: self.u64(),
                tasks: self.list(Self::task),
                among: self.some(|this| this.pick(&Among::ALL)),
                kind: self.some(Self::text),
                after: self.some(Self::text),
            }),
            16 => FromClient::Pause(self.one_kind()),
            17 => FromClient::Resume(self.one_kind()),
            18 => FromClient::Payload(self.one_task()),
            _ => FromClient::Goodbye(self.goodbye()),
        }
    }

    pub fn client_hears(&mut self) -> ToClient<'a> {
        match self.u64() % ToClient::KINDS.len() as u64 {
            0 => ToClient::Welcome(self.welcome()),
            1 => ToClient::Heartbeat(self.broker_heartbeat()),
            2 => ToClient::Accepted(Accepted {
                seq: self.u64(),
                durability: self.durability(),
                refused: self.list(|this| Refusal {
                    index: this.u32(),
                    code: this.code(),
                    text: this.text(),
                    retry_after_ms: this.some(Self::u32),
                }),
            }),
            3 => ToClient::Outcomes(Outcomes { upto: self.u64(), items: self.list(Self::outcome) }),
            4 => ToClient::Progress(TaskProgress {
                task: self.task(),
                attempt: self.attempt(),
                fraction: self.some(Self::fraction),
                text: self.text(),
            }),
            5 => ToClient::Partial(TaskPartial {
                task: self.task(),
                attempt: self.attempt(),
                index: self.u64(),
                data: self.blob(),
            }),
            6 => ToClient::Verdicts(Verdicts { req: self.u64(), refused: self.list(Self::verdict) }),
            7 => ToClient::Task(TaskReply {
                req: self.u64(),
                task: self.task_view(),
                result: self.some(Self::blob),
            }),
            8 => ToClient::Tasks(Rows {
                req: self.u64(),
                rows: self.list(Self::task_view),
                next: self.some(Self::string),
            }),
            9 => ToClient::Explanation(Body {
                req: self.u64(),
                body: Explanation { task: self.task_view(), reasons: self.list::<_, 9>(Self::reason).0 },
            }),
            10 => ToClient::Workers(Rows {
                req: self.u64(),
                rows: self.list(Self::worker_view),
                next: self.some(Self::string),
            }),
            11 => ToClient::Status(Body { req: self.u64(), body: self.status() }),
            12 => ToClient::Knowledge(self.knowledge_reply()),
            13 => ToClient::Done(Request { req: self.u64() }),
            14 => ToClient::Error(self.error()),
            15 => ToClient::Discarded(Discarded {
                req: self.u64(),
                count: self.u64(),
                refused: self.list(Self::verdict),
                next: self.some(Self::string),
            }),
            16 => ToClient::Payload(PayloadReply { req: self.u64(), payload: self.blob() }),
            _ => ToClient::Goodbye(self.goodbye()),
        }
    }

    fn outcome(&mut self) -> OutcomeItem<'a> {
        OutcomeItem {
            task: self.task(),
            outcome: self.pick(&Outcome::ALL).code(),
            attempt: self.attempt(),
            result: self.blob(),
            detail: self
                .some(|this| OutcomeDetail { error: this.some(Self::text), result_dropped: this.bool() }),
        }
    }

    pub fn worker_says(&mut self) -> FromWorker<'a> {
        match self.u64() % FromWorker::KINDS.len() as u64 {
            0 => FromWorker::Hello(WorkerHello {
                protocol: self.version(),
                worker: self.worker(),
                token: self.token(),
                name: self.text(),
                host: self.text(),
                pid: self.u32(),
                kinds: self.list(Self::text),
                slots: self.u32(),
                holding: self.list(|this| Held {
                    task: this.task(),
                    epoch: this.epoch(),
                    attempt: this.attempt(),
                    started: this.bool(),
                }),
                revision: self.revision(),
                draining: self.bool(),
            }),
            1 => FromWorker::Heartbeat(WorkerHeartbeat {
                mark: self.u64(),
                revision: self.revision(),
                quiet: self.bool(),
            }),
            2 => FromWorker::Report(Report {
                seq: self.u64(),
                started: self.list(Self::lease),
                ended: self.list(Self::end),
                waiting: self.u32(),
                recall: self.some(Self::u64),
            }),
            3 => FromWorker::Progress(AttemptProgress {
                lease: self.lease(),
                fraction: self.some(Self::fraction),
                text: self.text(),
            }),
            4 => FromWorker::Partial(AttemptPartial {
                lease: self.lease(),
                index: self.u64(),
                data: self.blob(),
            }),
            5 => FromWorker::Drain(self.worker_drain()),
            6 => FromWorker::Knowledge(self.knowledge_request()),
            _ => FromWorker::Goodbye(self.goodbye()),
        }
    }

    fn end(&mut self) -> AttemptReport<'a> {
        AttemptReport {
            task: self.task(),
            epoch: self.epoch(),
            attempt: self.attempt(),
            end: self.pick(&AttemptEnd::ALL).code(),
            run_us: self.u64(),
            result: self.blob(),
            detail: self.some(|this| EndDetail {
                error: this.some(Self::text),
                is_final: this.bool(),
                retry_after_ms: this.some(Self::u64),
            }),
        }
    }

    pub fn worker_hears(&mut self) -> ToWorker<'a> {
        match self.u64() % ToWorker::KINDS.len() as u64 {
            0 => ToWorker::Welcome(self.welcome()),
            1 => ToWorker::Heartbeat(self.broker_heartbeat()),
            2 => ToWorker::Tasks(Dispatch { epoch: self.epoch(), tasks: self.list(Self::dispatch) }),
            3 => ToWorker::Start(Leases { leases: self.list(Self::lease) }),
            4 => ToWorker::Recall(Recall { recall: self.u64(), count: self.u32() }),
            5 => {
                ToWorker::Cancel(CancelLeases { leases: self.list(Self::lease), code: self.some(Self::code) })
            }
            6 => ToWorker::Ack(ReportAck { upto: self.u64(), stale: self.list(Self::lease) }),
            7 => ToWorker::Drain(self.worker_drain()),
            8 => ToWorker::Knowledge(self.knowledge_reply()),
            9 => ToWorker::Error(self.error()),
            _ => ToWorker::Goodbye(self.goodbye()),
        }
    }

    fn dispatch(&mut self) -> DispatchItem<'a> {
        DispatchItem {
            task: self.task(),
            attempt: self.attempt(),
            kind: self.text(),
            payload: self.blob(),
            detail: self.some(|this| DispatchDetail {
                run_limit_ms: this.some(Self::u64),
                confirm: this.bool(),
                events: this.bool(),
                trace: this.some(Self::trace),
                trace_state: this.some(Self::trace_state),
            }),
        }
    }

    pub fn change_header(&mut self) -> DeltaHeader<'a> {
        DeltaHeader {
            epoch: self.epoch(),
            revision: self.revision(),
            previous: self.revision(),
            op: self.pick(&[ChangeOp::Put, ChangeOp::Delete, ChangeOp::Fetch]),
            key: self.text(),
            checksum: self.u32(),
        }
    }

    pub fn beat_header(&mut self) -> BeatHeader {
        BeatHeader { epoch: self.epoch(), revision: self.revision(), number: self.u64() }
    }
}
