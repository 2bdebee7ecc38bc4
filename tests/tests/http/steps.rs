//! A worker whose tasks say how far they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ganger_tests::cluster::Cluster;
use ganger_tests::wait::Metronome;
use ganger_worker::{Context, HandlerError, Stopped, Worker, WorkerError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A worker in this process that serves the kind `steps`.
pub(crate) struct Steps {
    end: oneshot::Sender<()>,
    running: JoinHandle<Result<Stopped, WorkerError>>,
}

/// When a task gives a part of its result.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    First,
    Last,
}

impl Steps {
    /// Starts it. A task says how far it is until somebody has heard it, and gives a part of its result before
    /// that, or after.
    pub(crate) fn start(cluster: &Cluster, part: Part, is_heard: Arc<AtomicBool>) -> Self {
        let worker = Worker::builder()
            .connect(cluster.endpoints().workers.clone())
            .handler("steps", move |_, context| run(context, part, is_heard.clone()))
            .build()
            .unwrap();
        let (end, ends) = oneshot::channel::<()>();
        let running = tokio::spawn(worker.run(async { drop(ends.await) }));
        Self { end, running }
    }

    /// Lets it leave in order.
    pub(crate) async fn stop(self) {
        drop(self.end);
        self.running.await.unwrap().unwrap();
    }
}

async fn run(context: Context, part: Part, is_heard: Arc<AtomicBool>) -> Result<String, HandlerError> {
    if matches!(part, Part::First) {
        context.partial("the first part");
    }
    let mut beats = Metronome::new(Duration::from_millis(20));
    while !is_heard.load(Ordering::Relaxed) && !context.is_cancelled() {
        context.progress(0.5, "half of it");
        beats.beat().await;
    }
    if matches!(part, Part::Last) {
        context.partial("the last part");
    }
    Ok("all of it".to_owned())
}
