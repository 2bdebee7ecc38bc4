//! Handlers: what runs when a task comes.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;

use crate::error::HandlerError;
use crate::session::{End, Failure};
use crate::spans::RunSpan;
use crate::task::{Context, Task};

type Running = Pin<Box<dyn Future<Output = Result<Bytes, HandlerError>> + Send>>;
type AsyncHandler = dyn Fn(Task, Context) -> Running + Send + Sync;
type BlockingHandler = dyn Fn(Task, Context) -> Result<Bytes, HandlerError> + Send + Sync;
/// Takes the topic and the bytes of a broadcast.
pub(crate) type BroadcastHandler = dyn Fn(&str, Bytes) + Send + Sync;

/// A handler of one kind.
#[derive(Clone)]
pub(crate) enum Handler {
    /// Runs on the runtime of the executors, or as if it did.
    Async(Arc<AsyncHandler>),
    /// Runs on a thread of its slot.
    Blocking(Arc<BlockingHandler>),
}

impl Handler {
    pub(crate) fn asynchronous<F, Fut, R>(handler: F) -> Self
    where
        F: Fn(Task, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, HandlerError>> + Send + 'static,
        R: Into<Bytes>,
    {
        Self::Async(Arc::new(move |task, context| {
            let running = handler(task, context);
            Box::pin(async move { running.await.map(Into::into) })
        }))
    }

    pub(crate) fn blocking<F, R>(handler: F) -> Self
    where
        F: Fn(Task, Context) -> Result<R, HandlerError> + Send + Sync + 'static,
        R: Into<Bytes>,
    {
        Self::Blocking(Arc::new(move |task, context| handler(task, context).map(Into::into)))
    }
}

/// Runs an asynchronous handler to its end, whatever that is.
pub(crate) async fn run_async(handler: &AsyncHandler, task: Task, mut context: Context) -> End {
    let span = RunSpan::begin(&task, &mut context);
    let end = poll_to_its_end(handler, task, context).await;
    if let Some(mut span) = span {
        span.end(&end);
    }
    end
}

async fn poll_to_its_end(handler: &AsyncHandler, task: Task, context: Context) -> End {
    // The handler's own values may be left half-changed by a panic; they are its author's.
    let running = match catch_unwind(AssertUnwindSafe(|| handler(task, context))) {
        Ok(running) => running,
        Err(panic) => return panicked(&*panic),
    };
    match AssertUnwindSafe(running).catch_unwind().await {
        Ok(result) => ended(result),
        Err(panic) => panicked(&*panic),
    }
}

/// Runs a blocking handler to its end, whatever that is.
pub(crate) fn run_blocking(handler: &BlockingHandler, task: Task, mut context: Context) -> End {
    let span = RunSpan::begin(&task, &mut context);
    let end = match catch_unwind(AssertUnwindSafe(|| handler(task, context))) {
        Ok(result) => ended(result),
        Err(panic) => panicked(&*panic),
    };
    if let Some(mut span) = span {
        span.end(&end);
    }
    end
}

fn ended(result: Result<Bytes, HandlerError>) -> End {
    match result {
        Ok(result) => End::Succeeded(result),
        Err(error) => End::Failed(Failure {
            text: error.text,
            is_final: error.is_final,
            retry_after_ms: error.retry_after.map(|pause| pause.as_millis() as u64),
        }),
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> End {
    let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => "(no message)",
    };
    End::Failed(Failure { text: format!("the handler panicked: {text}"), ..Failure::default() })
}
