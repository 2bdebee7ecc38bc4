//! Kinds are paused and resumed.
//!
//! Tasks of a paused kind are taken and wait; what workers have of it goes on. The pause is on record, so that it
//! survives whatever its tasks survive. It costs those who are served nothing: a paused kind just has no place
//! among those whose turn it may be.

use std::sync::Arc;

use ganger_common::limits::PAUSED_KINDS_MAX;
use ganger_common::{ConnId, ErrorCode};

use crate::effect::ClientReply;
use crate::record::Record;
use crate::scheduler::Scheduler;

impl Scheduler {
    pub(crate) fn on_pause(&mut self, conn: ConnId, req: u64, kind: Arc<str>) {
        let is_paused = self.queues.is_paused(&kind);
        if !is_paused && self.queues.paused().len() >= PAUSED_KINDS_MAX {
            let text = format!("{PAUSED_KINDS_MAX} kinds are paused already");
            return self.refuse(conn, Some(req), ErrorCode::TooMany, &text);
        }
        if !is_paused {
            self.commit(Record::KindPaused { kind });
        }
        self.reply(conn, ClientReply::Done { req });
    }

    pub(crate) fn on_resume(&mut self, conn: ConnId, req: u64, kind: Arc<str>) {
        if self.queues.is_paused(&kind) {
            self.commit(Record::KindResumed { kind });
        }
        self.reply(conn, ClientReply::Done { req });
    }
}
