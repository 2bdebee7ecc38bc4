//! Publications and answers in, questions and the map out.

mod publications;
mod room;
mod subscribing;
mod syncing;

use ganger_common::message::{FromWorker, KnowledgeOp};

use super::*;

const SILENCE: Duration = Duration::from_secs(3);

struct Rig {
    replica: Replica,
    knowledge: Knowledge,
    now: Time,
}

impl Rig {
    /// Of a broker whose map is empty, without a knowledge socket.
    fn following() -> Self {
        let mut rig = Self::new();
        rig.attach(1, 0, None);
        assert_eq!(rig.effects(), [""; 0]);
        rig
    }

    fn new() -> Self {
        let knowledge = Knowledge::new();
        Self { replica: Replica::new(knowledge.clone(), 1), knowledge, now: Time(0) }
    }

    fn attach(&mut self, epoch: u64, newest: u64, port: Option<u16>) {
        self.replica.on_attached(self.now, Epoch(epoch), Revision(newest), port, SILENCE);
    }

    fn effects(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.replica.poll_effect()).map(|effect| describe(&effect)).collect()
    }

    /// Publishes `k<revision mod 10> = v<revision>`.
    fn publish(&mut self, revision: u64) {
        let publication = Publication::Change { epoch: Epoch(1), change: change(revision) };
        self.replica.on_publication(self.now, publication);
    }

    fn changes(&mut self, req: u64, newest: u64, revisions: std::ops::RangeInclusive<u64>) {
        let changes = revisions.map(change).collect();
        let answer = Answer::Changes { newest: Revision(newest), changes };
        self.replica.on_answer(self.now, req, answer);
    }

    fn page(&mut self, req: u64, newest: u64, revisions: &[u64], more: bool) {
        let entries = revisions.iter().copied().map(change).collect();
        let answer = Answer::Entries { newest: Revision(newest), entries, more };
        self.replica.on_answer(self.now, req, answer);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.plus(time);
        while let Some(due) = self.replica.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.replica.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn value(&self, key: &str) -> Option<String> {
        self.knowledge.get("t", key).map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    /// The revision, which the machine and the map agree on.
    fn revision(&self) -> u64 {
        assert_eq!(self.replica.revision(), self.knowledge.revision());
        self.knowledge.revision().0
    }
}

fn change(revision: u64) -> Change {
    Change {
        revision: Revision(revision),
        topic: "t".to_owned(),
        key: format!("k{}", revision % 10),
        value: Some(format!("v{revision}").into()),
    }
}

fn describe(effect: &ReplicaEffect) -> String {
    match effect {
        ReplicaEffect::Subscribe { port } => format!("subscribe {port}"),
        ReplicaEffect::Broadcast { topic, .. } => format!("broadcast {topic}"),
        ReplicaEffect::Ask(frame) => match ganger_common::decode(frame).unwrap() {
            FromWorker::Knowledge(request) => match request.op {
                KnowledgeOp::Since { revision } => format!("{}: since {revision}", request.req),
                KnowledgeOp::List { after, .. } => {
                    let after = after.map(|(topic, key)| format!(" after {}/{}", topic.0, key.0));
                    format!("{}: list{}", request.req, after.unwrap_or_default())
                }
                other => format!("{other:?}"),
            },
            other => format!("{other:?}"),
        },
    }
}
