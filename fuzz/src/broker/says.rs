//! What hostile peers say to a broker: what their libraries might say, with any figures in it.

use ganger_broker::sans_io::Side;
use ganger_common::codec::{Blob, List};
use ganger_common::message::{
    Ack, AttemptPartial, AttemptProgress, AttemptReport, ClientHeartbeat, ClientHello, Discard, Drain,
    EndDetail, FromClient, FromWorker, Goodbye, Held, KnowledgeOp, KnowledgeRequest, Lease, ListTasks,
    NewTask, OneKind, OneTask, Page, PublishRequest, Report, Request, Submit, TaskIds, TaskList, Watch,
    WorkerDrain, WorkerHeartbeat, WorkerHello,
};
use ganger_common::version::PROTOCOL;
use ganger_common::view::{Among, StateFilter};
use ganger_common::{Revision, SessionToken, TaskOptions, encode};

use super::peer::Peer;
use crate::choices::Choices;
use crate::hostile::{self, kind, lease, task, text};

/// A hello as a library would say it.
pub(super) fn plain_hello(side: Side, name: u8) -> Vec<u8> {
    let mut nothing = Choices::new(&[]);
    match side {
        Side::Client => encode(&FromClient::Hello(client_hello(&mut nothing, name))).to_vec(),
        Side::Worker => encode(&FromWorker::Hello(worker_hello(&mut nothing, name, &[]))).to_vec(),
    }
}

/// Anything that fits the side of this peer.
pub(super) fn anything(choices: &mut Choices<'_>, peer: &Peer) -> Vec<u8> {
    match peer.side {
        Side::Client => encode(&client(choices, peer)).to_vec(),
        Side::Worker => encode(&worker(choices, peer)).to_vec(),
    }
}

fn client<'a>(choices: &mut Choices<'a>, peer: &Peer) -> FromClient<'a> {
    match choices.up_to(19) {
        0 => FromClient::Hello(client_hello(choices, peer.name)),
        1 => {
            let mark = if choices.rarely(4) { choices.number() } else { peer.mark };
            FromClient::Heartbeat(ClientHeartbeat { mark })
        }
        2..=7 => FromClient::Submit(submit(choices)),
        8 => {
            FromClient::Watch(Watch { req: choices.number(), tasks: tasks(choices), events: choices.flag() })
        }
        9 => FromClient::Ack(Ack { upto: if choices.rarely(4) { choices.number() } else { peer.upto } }),
        10 => FromClient::Cancel(TaskList { req: choices.number(), tasks: tasks(choices) }),
        11 => FromClient::Retry(TaskList { req: choices.number(), tasks: tasks(choices) }),
        12 => FromClient::Fetch(OneTask { req: choices.number(), task: task(choices) }),
        13 => FromClient::Explain(OneTask { req: choices.number(), task: task(choices) }),
        14 => FromClient::List(ListTasks {
            req: choices.number(),
            state: choices.flag().then(|| choices.pick(&StateFilter::ALL)),
            kind: choices.flag().then(|| text(choices).into()),
            after: choices.flag().then(|| text(choices).into()),
            limit: choices.flag().then(|| choices.number_32()),
        }),
        15 => FromClient::ListWorkers(Page {
            req: choices.number(),
            after: choices.flag().then(|| text(choices).into()),
            limit: choices.flag().then(|| choices.number_32()),
        }),
        16 => FromClient::Status(Request { req: choices.number() }),
        17 => FromClient::Knowledge(KnowledgeRequest { req: choices.number(), op: knowledge(choices) }),
        18 => FromClient::Publish(PublishRequest {
            req: choices.number(),
            topic: text(choices).into(),
            body: Blob(choices.bytes(20)),
        }),
        _ => match choices.up_to(6) {
            4 => FromClient::Discard(discard(choices)),
            5 => FromClient::Pause(OneKind { req: choices.number(), kind: kind(choices).into() }),
            6 => FromClient::Resume(OneKind { req: choices.number(), kind: kind(choices).into() }),
            0 => FromClient::Goodbye(Goodbye { code: None, text: "".into() }),
            _ => FromClient::Drain(Drain {
                req: choices.number(),
                workers: (0..choices.up_to(2)).map(|_| text(choices).into()).collect(),
                broker: choices.rarely(16),
                deadline_ms: choices.flag().then(|| choices.number()),
            }),
        },
    }
}

fn discard<'a>(choices: &mut Choices<'a>) -> Discard<'a> {
    let (req, by_name) = (choices.number(), choices.flag());
    Discard {
        req,
        tasks: if by_name { tasks(choices) } else { TaskIds::default() },
        among: (!by_name || choices.rarely(8)).then(|| choices.pick(&Among::ALL)),
        kind: choices.rarely(3).then(|| kind(choices).into()),
        after: choices.rarely(4).then(|| text(choices).into()),
    }
}

fn client_hello(choices: &mut Choices<'_>, name: u8) -> ClientHello<'static> {
    ClientHello { protocol: PROTOCOL, client: hostile::client(name), token: token(choices), name: "c".into() }
}

fn submit<'a>(choices: &mut Choices<'a>) -> Submit<'a> {
    let seq = choices.number();
    let again = choices.rarely(4);
    let new_task = |choices: &mut Choices<'a>| NewTask {
        id: task(choices),
        kind: kind(choices).into(),
        payload: Blob(choices.bytes(40)),
        options: choices.rarely(3).then(|| options(choices)),
    };
    Submit { seq, again, tasks: (0..choices.up_to(6)).map(|_| new_task(choices)).collect() }
}

fn options(choices: &mut Choices<'_>) -> TaskOptions {
    let mut options = TaskOptions::default();
    for _ in 0..=choices.up_to(2) {
        match choices.up_to(11) {
            0 => options.priority = choices.number() as i16,
            1 => options.delay_ms = choices.number(),
            2 => options.ttl_ms = Some(choices.number()),
            3 => options.run_limit_ms = Some(choices.number()),
            4 => options.max_attempts = Some(choices.number_32()),
            5 => options.crash_limit = Some(choices.number_32()),
            6 => options.backoff_ms = Some(choices.number()),
            7 => options.knowledge = Some(Revision(choices.number())),
            8 => options.detached = true,
            9 => options.trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok(),
            // Refused without the one before.
            10 => options.trace_state = "a=1".parse().ok(),
            _ => options.events = true,
        }
    }
    options
}

fn tasks(choices: &mut Choices<'_>) -> TaskIds {
    (0..choices.up_to(5)).map(|_| task(choices)).collect()
}

fn knowledge<'a>(choices: &mut Choices<'a>) -> KnowledgeOp<'a> {
    let (topic, key) = (text(choices).into(), text(choices).into());
    match choices.up_to(7) {
        0..=2 => {
            let expect = choices.rarely(4).then(|| Revision(choices.number()));
            KnowledgeOp::Put { topic, key, value: Blob(choices.bytes(300)), expect }
        }
        3 => {
            KnowledgeOp::Delete { topic, key, expect: choices.rarely(4).then(|| Revision(choices.number())) }
        }
        4 => KnowledgeOp::Get { topic, key },
        5 => KnowledgeOp::List {
            prefix: topic,
            after: choices.flag().then(|| (text(choices).into(), key)),
            keys_only: choices.flag(),
            limit: choices.flag().then(|| choices.number_32()),
        },
        6 => KnowledgeOp::Since { revision: Revision(choices.number()) },
        _ => KnowledgeOp::Status {},
    }
}

fn worker<'a>(choices: &mut Choices<'a>, peer: &Peer) -> FromWorker<'a> {
    match choices.up_to(15) {
        0 | 1 => FromWorker::Hello(worker_hello(choices, peer.name, &peer.leases)),
        2 | 3 => {
            let mark = if choices.rarely(4) { choices.number() } else { peer.mark };
            let (revision, quiet) = (Revision(choices.number()), choices.flag());
            FromWorker::Heartbeat(WorkerHeartbeat { mark, revision, quiet })
        }
        4..=10 => FromWorker::Report(report(choices, peer)),
        11 => {
            let fraction = choices.flag().then_some(f32::from(choices.up_to(2)) / 0.0);
            FromWorker::Progress(AttemptProgress { lease: held(choices, peer), fraction, text: "".into() })
        }
        12 => {
            let (index, data) = (choices.number(), Blob(choices.bytes(20)));
            FromWorker::Partial(AttemptPartial { lease: held(choices, peer), index, data })
        }
        13 => FromWorker::Knowledge(KnowledgeRequest { req: choices.number(), op: knowledge(choices) }),
        _ => match choices.up_to(3) {
            0 => FromWorker::Goodbye(Goodbye { code: None, text: "".into() }),
            1 => FromWorker::Drain(WorkerDrain { deadline_ms: choices.flag().then(|| choices.number()) }),
            _ => FromWorker::Report(report(choices, peer)),
        },
    }
}

fn worker_hello(choices: &mut Choices<'_>, name: u8, leases: &[Lease]) -> WorkerHello<'static> {
    let kinds = match choices.up_to(3) {
        0 => vec!["resize".into(), "a".into(), "thumb".into()],
        _ => (0..=choices.up_to(3)).map(|_| kind(choices).into()).collect(),
    };
    let started = choices.flag();
    let told = |lease: &Lease| Held { task: lease.task, epoch: lease.epoch, attempt: lease.attempt, started };
    let mut holding: Vec<Held> = leases.iter().map(told).collect();
    for _ in 0..choices.up_to(3).saturating_sub(1) {
        holding.push(told(&lease(choices)));
    }
    WorkerHello {
        protocol: PROTOCOL,
        worker: hostile::worker(name),
        token: token(choices),
        name: "w".into(),
        host: "h".into(),
        pid: 1,
        kinds: List(kinds),
        slots: if choices.rarely(4) { choices.number_32() } else { 2 },
        holding: List(holding),
        revision: Revision(choices.number()),
        draining: choices.rarely(8),
    }
}

fn token(choices: &mut Choices<'_>) -> SessionToken {
    hostile::token(choices)
}

fn report<'a>(choices: &mut Choices<'a>, peer: &Peer) -> Report<'a> {
    let started = (0..choices.up_to(2)).map(|_| held(choices, peer)).collect();
    let ended = (0..choices.up_to(3)).map(|_| ended(choices, peer)).collect();
    let recall = choices.flag().then_some(peer.recall);
    Report { seq: choices.number(), started, ended, waiting: choices.number_32(), recall }
}

fn ended<'a>(choices: &mut Choices<'a>, peer: &Peer) -> AttemptReport<'a> {
    let Lease { task, epoch, attempt } = held(choices, peer);
    let detail = EndDetail {
        error: choices.flag().then(|| text(choices).into()),
        is_final: choices.rarely(4),
        retry_after_ms: choices.rarely(4).then(|| choices.number()),
    };
    AttemptReport {
        task,
        epoch,
        attempt,
        end: hostile::end(choices),
        run_us: choices.number(),
        result: Blob(choices.bytes(30)),
        detail: choices.flag().then_some(detail),
    }
}

/// A lease that the worker holds, rarely one that it does not.
fn held(choices: &mut Choices<'_>, peer: &Peer) -> Lease {
    match choices.rarely(6) {
        true => lease(choices),
        false => choices.pick_some(&peer.leases).unwrap_or_else(|| lease(choices)),
    }
}
