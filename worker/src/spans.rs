//! The span of each attempt at a task that belongs to a sampled trace.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ganger_common::SpanId;
use ganger_otlp::{Exporter, Role, Span};

use crate::session::{End, Ticket};
use crate::shared::Seat;
use crate::task::{Context, Task};

/// Longest error text of a span; the whole text is in the task's history.
const ERROR_BYTES_MAX: usize = 1_024;

/// Where spans go, and whose they are.
#[derive(Clone, Debug)]
pub(crate) struct Tracer {
    pub(crate) exporter: Exporter,
    /// The worker's label.
    pub(crate) worker: String,
}

/// An attempt that runs. Its span is handed in when this is dropped, so that an attempt that is given up halfway
/// has one, too.
pub(crate) struct RunSpan {
    seat: Arc<Seat>,
    ticket: Ticket,
    began: Instant,
    span: Option<Span>,
}

impl RunSpan {
    /// Begins the span of an attempt, if there is to be one. What the handler calls belongs to it from now on.
    pub(crate) fn begin(task: &Task, context: &mut Context) -> Option<Box<Self>> {
        // Nearly no task has a trace: this is all that it costs the others.
        let trace = context.trace.as_mut()?;
        let tracer = context.seat.shared().tracer.as_ref()?;
        if !trace.context.is_sampled() {
            return None;
        }
        let (lease, parent) = (context.lease, trace.context.span_id());
        trace.context = trace.context.child(SpanId::of(lease.task, lease.epoch, lease.attempt));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let span = Span {
            context: trace.context,
            state: trace.state.clone(),
            parent,
            name: format!("run {}", task.kind),
            role: Role::Consumer,
            began: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            ended: 0,
            error: Some("the worker gave it up".to_owned()),
            attributes: vec![
                ("messaging.system", "ganger".into()),
                ("ganger.task.id", task.id.to_string().into()),
                ("ganger.task.attempt", lease.attempt.0.into()),
                ("ganger.task.kind", (&*task.kind).into()),
                ("ganger.worker.name", tracer.worker.as_str().into()),
            ],
        };
        let (seat, ticket) = (context.seat.clone(), context.ticket);
        Some(Box::new(Self { seat, ticket, began: Instant::now(), span: Some(span) }))
    }

    /// The attempt has ended.
    pub(crate) fn end(&mut self, end: &End) {
        let is_stopped = self.seat.shared().cell(self.ticket).is_cancelled(self.ticket);
        let error = match end {
            End::Failed(failure) => Some(cut(&failure.text)),
            // Nobody waits for what it brought.
            End::Succeeded(_) => is_stopped.then(|| "it was stopped".to_owned()),
        };
        if let Some(span) = &mut self.span {
            span.error = error;
        }
    }
}

impl Drop for RunSpan {
    fn drop(&mut self) {
        let (Some(mut span), Some(tracer)) = (self.span.take(), &self.seat.shared().tracer) else { return };
        let ran = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        span.ended = span.began.saturating_add(ran);
        tracer.exporter.offer(span);
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(ERROR_BYTES_MAX)].to_owned()
}
