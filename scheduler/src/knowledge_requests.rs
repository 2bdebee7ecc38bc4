//! What clients and workers ask of the knowledge map.

use ganger_common::limits::{BATCH_BYTES_TARGET, PAGE_ROWS_MAX, PAYLOAD_BYTES_MAX};
use ganger_common::view::{KnowledgeStatusView, WorkerRevision};
use ganger_common::{ConnId, ErrorCode};

use crate::effect::{ClientReply, Effect, KnowledgeAnswer, Publication, Refused, WorkerCommand};
use crate::input::KnowledgeOp;
use crate::record::{Change, Record};
use crate::scheduler::Scheduler;
use crate::submit::STORAGE_FULL;

impl Scheduler {
    pub(crate) fn on_client_knowledge(&mut self, conn: ConnId, req: u64, op: KnowledgeOp) {
        let reply = match self.knowledge_op(op) {
            Ok(answer) => ClientReply::Knowledge { req, answer },
            Err((code, text)) => ClientReply::Error(refused(req, code, text)),
        };
        self.reply(conn, reply);
    }

    pub(crate) fn on_worker_knowledge(&mut self, conn: ConnId, req: u64, op: KnowledgeOp) {
        let command = match self.knowledge_op(op) {
            Ok(answer) => WorkerCommand::Knowledge { req, answer },
            Err((code, text)) => WorkerCommand::Error(refused(req, code, text)),
        };
        self.out.promise(Effect::ToWorker { conn, command });
    }

    fn knowledge_op(&mut self, op: KnowledgeOp) -> Result<KnowledgeAnswer, (ErrorCode, String)> {
        let revision = self.knowledge.revision();
        match op {
            KnowledgeOp::Put { topic, key, value, expect } => {
                if value.len() > PAYLOAD_BYTES_MAX {
                    return Err((ErrorCode::TooLarge, format!("at most {PAYLOAD_BYTES_MAX} bytes")));
                }
                if self.storage_full {
                    return Err((ErrorCode::StorageFull, STORAGE_FULL.to_owned()));
                }
                let bytes_max = self.config.knowledge_bytes_max;
                self.knowledge.check(&topic, &key, Some(&value), expect, bytes_max)?;
                Ok(self.write(topic, key, Some(value)))
            }
            KnowledgeOp::Delete { topic, key, expect } => {
                self.knowledge.check(&topic, &key, None, expect, self.config.knowledge_bytes_max)?;
                Ok(self.write(topic, key, None))
            }
            KnowledgeOp::Get { topic, key } => match self.knowledge.get(&topic, &key) {
                Some(entry) => Ok(KnowledgeAnswer::Entry(entry)),
                None => Err((ErrorCode::NotFound, format!("there is no {topic}/{key}"))),
            },
            KnowledgeOp::List { prefix, after, keys_only, limit } => {
                let limit = page_limit(limit);
                let (items, more) =
                    self.knowledge.list(&prefix, after.as_ref(), keys_only, limit, BATCH_BYTES_TARGET);
                Ok(KnowledgeAnswer::Entries { revision, items, more })
            }
            KnowledgeOp::Since { revision: known } => {
                match self.knowledge.since(known, PAGE_ROWS_MAX, BATCH_BYTES_TARGET) {
                    Some(items) => Ok(KnowledgeAnswer::Changes { revision, items }),
                    None => Err((ErrorCode::HistoryGone, format!("changes since {known} are not kept"))),
                }
            }
            KnowledgeOp::Status => Ok(KnowledgeAnswer::Status(self.knowledge_status())),
        }
    }

    fn write(&mut self, topic: String, key: String, value: Option<bytes::Bytes>) -> KnowledgeAnswer {
        let revision = self.knowledge.revision().next();
        let change = Change { revision, topic, key, value };
        let previous = self.knowledge.apply(&change, self.config.knowledge_history_max);
        self.append(Record::Knowledge(change.clone()));
        self.out.note_revision(revision);
        self.counters.knowledge_changes += 1;
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::RevisionBeforeSync) {
            self.out.push(Effect::Publish(Publication::Delta { change, previous }));
            return KnowledgeAnswer::Written { revision };
        }
        self.out.promise(Effect::Publish(Publication::Delta { change, previous }));
        KnowledgeAnswer::Written { revision }
    }

    fn knowledge_status(&self) -> KnowledgeStatusView {
        let mut workers: Vec<WorkerRevision> = self
            .fleet
            .iter()
            .map(|(_, worker)| WorkerRevision {
                worker: worker.id,
                name: worker.name.clone(),
                revision: worker.revision,
            })
            .collect();
        workers.sort_by_key(|worker| (worker.revision, worker.worker));
        workers.truncate(PAGE_ROWS_MAX);
        KnowledgeStatusView {
            revision: self.knowledge.revision(),
            entries: self.knowledge.entries() as u64,
            bytes: self.knowledge.bytes() as u64,
            history_from: self.knowledge.history_from(),
            workers,
        }
    }
}

/// How many rows a page has.
pub(crate) fn page_limit(asked: Option<u32>) -> usize {
    asked.map_or(PAGE_ROWS_MAX, |asked| (asked as usize).clamp(1, PAGE_ROWS_MAX))
}

fn refused(req: u64, code: ErrorCode, text: String) -> Refused {
    let is_full = matches!(code, ErrorCode::Busy | ErrorCode::StorageFull);
    let retry_after = is_full.then_some(std::time::Duration::from_secs(1));
    Refused { req: Some(req), code, text, retry_after }
}
