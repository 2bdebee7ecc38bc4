//! The span of each task that belongs to a sampled trace: from its submission to its outcome.
//!
//! It is read off the records on their way out, so the scheduler knows nothing of it. An outcome is told when its
//! record is safe: a task that a crash takes back would else have two spans of one name.

use std::collections::VecDeque;

use ganger_common::{Attempt, Epoch, Outcome, SpanId};
use ganger_otlp::{Exporter, QUEUE_SPANS_MAX, Role, Span};
use ganger_scheduler::record::Settlement;
use ganger_scheduler::{Lsn, Record, Scheduler, Wall};

/// Longest error text of a span; the whole text is in the task's history.
const ERROR_BYTES_MAX: usize = 1_024;

/// Makes spans and hands them in.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    exporter: Option<Exporter>,
    /// Those whose records are not safe yet.
    waiting: VecDeque<(Lsn, Span)>,
    /// Those that found too many waiting.
    dropped: u64,
}

impl Spans {
    pub(crate) fn to(exporter: Option<Exporter>) -> Self {
        Self { exporter, ..Self::default() }
    }

    /// Something was decided.
    pub(super) fn record(&mut self, lsn: Lsn, record: &Record, scheduler: &Scheduler) {
        if self.exporter.is_none() {
            return;
        }
        if let Record::Settled { at, tasks } = record {
            for span in tasks.iter().filter_map(|settlement| span(*at, settlement, scheduler)) {
                match self.waiting.len() < QUEUE_SPANS_MAX {
                    true => self.waiting.push_back((lsn, span)),
                    false => self.dropped += 1,
                }
            }
        }
    }

    /// Everything up to this record is safe.
    pub(super) fn safe(&mut self, upto: Lsn) {
        let Some(exporter) = &self.exporter else { return };
        while let Some((_, span)) = self.waiting.pop_front_if(|(lsn, _)| *lsn <= upto) {
            exporter.offer(span);
        }
    }

    /// What became of spans, as a status reply shows it.
    pub(super) fn figures(&self) -> impl Iterator<Item = (String, u64)> + use<> {
        let counts = self.exporter.as_ref().map(Exporter::counts);
        let dropped = self.dropped;
        counts.into_iter().flat_map(move |counts| {
            [
                ("spans_exported".to_owned(), counts.exported),
                ("spans_dropped".to_owned(), counts.dropped + dropped),
            ]
        })
    }
}

fn span(at: Wall, settlement: &Settlement, scheduler: &Scheduler) -> Option<Span> {
    let task = scheduler.traced(settlement.task).filter(|task| task.context.is_sampled())?;
    let Settlement { outcome, attempt, .. } = settlement;
    // No attempt has this id: the epoch of theirs is above 0.
    let own = SpanId::of(settlement.task, Epoch(0), Attempt(attempt.0));
    let said = settlement.ended.as_ref().and_then(|ended| ended.error.as_deref()).unwrap_or_default();
    let is_error = !matches!(outcome, Outcome::Succeeded | Outcome::Cancelled);
    Some(Span {
        context: task.context.child(own),
        state: task.state.cloned(),
        parent: task.context.span_id(),
        name: format!("task {}", task.kind),
        role: Role::Internal,
        began: nanoseconds(task.submitted),
        ended: nanoseconds(at),
        error: is_error.then(|| said[..said.floor_char_boundary(ERROR_BYTES_MAX)].to_owned()),
        attributes: vec![
            ("messaging.system", "ganger".into()),
            ("ganger.task.id", settlement.task.to_string().into()),
            ("ganger.task.kind", task.kind.into()),
            ("ganger.task.attempts", attempt.0.into()),
            ("ganger.task.outcome", outcome.as_str().into()),
        ],
    })
}

fn nanoseconds(wall: Wall) -> u64 {
    wall.0.saturating_mul(1_000_000)
}
