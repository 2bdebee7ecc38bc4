//! What listings show.

use ganger_common::view::*;
use ganger_common::{AttemptEnd, Outcome};

use super::Entropy;

impl Entropy<'_> {
    pub(super) fn worker_revision(&mut self) -> WorkerRevision {
        WorkerRevision { worker: self.worker(), name: self.string(), revision: self.revision() }
    }

    fn state(&mut self) -> TaskState {
        use TaskState::*;
        self.pick(&[Queued, Parked, Delayed, Assigned, Running, Settled])
    }

    pub(super) fn task_view(&mut self) -> TaskView {
        TaskView {
            id: self.task(),
            kind: self.string(),
            state: self.state(),
            outcome: self.some(|this| this.pick(&Outcome::ALL)),
            priority: self.u16() as i16,
            attempt: self.attempt(),
            failures: self.u32(),
            timeouts: self.u32(),
            crashes: self.u32(),
            submitted_unix_ms: self.u64(),
            settled_unix_ms: self.some(Self::u64),
            payload_bytes: self.u64(),
            result_bytes: self.u64(),
            worker: self.some(Self::worker),
            worker_name: self.some(Self::string),
            error: self.some(Self::string),
            trace_id: self.some(|this| this.trace().trace_id()),
            attempts: self.list::<_, 9>(Self::attempt_view).0,
        }
    }

    fn attempt_view(&mut self) -> AttemptView {
        AttemptView {
            attempt: self.attempt(),
            worker: self.worker(),
            worker_name: self.string(),
            end: self.pick(&AttemptEnd::ALL),
            at_unix_ms: self.u64(),
            run_us: self.u64(),
            error: self.some(Self::string),
        }
    }

    pub(super) fn reason(&mut self) -> Reason {
        use ReasonCode::*;
        let code =
            self.pick(&[KindPaused, NoWorkerForKind, Backoff, NoCredit, WorkerAway, CrashLimit, Recovering]);
        Reason { code, text: self.string() }
    }

    pub(super) fn worker_view(&mut self) -> WorkerView {
        WorkerView {
            id: self.worker(),
            name: self.string(),
            host: self.string(),
            pid: self.u32(),
            state: self.pick(&[WorkerState::Ready, WorkerState::Draining, WorkerState::Away]),
            kinds: self.list::<_, 9>(Self::string).0,
            slots: self.u32(),
            credit: self.u32(),
            running: self.u32(),
            waiting: self.u32(),
            ended: self.u64(),
            silent_ms: self.u64(),
            revision: self.revision(),
            average_run_us: self.u64(),
            busy_us: self.u64(),
        }
    }

    pub(super) fn status(&mut self) -> StatusView {
        StatusView {
            broker: self.string(),
            epoch: self.epoch(),
            uptime_ms: self.u64(),
            draining: self.bool(),
            slots: self.u32(),
            queued: self.u64(),
            revision: self.revision(),
            counters: self.list::<_, 9>(|this| (this.string(), this.u64())).into_iter().collect(),
            kinds: self.list::<_, 9>(Self::kind_view).0,
            ..StatusView::default()
        }
    }

    fn kind_view(&mut self) -> KindView {
        KindView {
            kind: self.string(),
            queued: self.u64(),
            leased: self.u64(),
            workers: self.u32(),
            oldest_ms: self.u64(),
            paused: self.bool(),
        }
    }
}
