//! The queue of spans, and the thread that empties it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::collector::{Collector, Refusal};
use crate::proto;
use crate::span::Span;

/// Spans that may wait to be sent. What comes when so many wait is dropped: some megabytes are what it may cost
/// that a collector is away.
pub const QUEUE_SPANS_MAX: usize = 8_192;
/// Spans of one request.
const BATCH_SPANS_MAX: usize = 512;
/// How long the first span of a request waits for others.
const GATHER: Duration = Duration::from_millis(500);
/// First pause before a collector that was away is tried again; each further one doubles it.
const RETRY: Duration = Duration::from_secs(1);
/// Longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long a program that ends waits for its last spans to be sent.
pub const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// What became of spans so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// A collector took them.
    pub exported: u64,
    /// They did not fit, a collector would not have them, or there was no time.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Counters {
    exported: AtomicU64,
    dropped: AtomicU64,
}

/// Takes spans from any thread, and sends them to a collector.
#[derive(Clone, Debug)]
pub struct Exporter {
    spans: mpsc::Sender<Span>,
    counters: Arc<Counters>,
    /// Set to when the rest must have been sent.
    until: Arc<watch::Sender<Option<Instant>>>,
}

/// The thread of an exporter.
#[derive(Debug)]
pub struct Sending {
    exporter: Exporter,
    thread: JoinHandle<()>,
}

impl Exporter {
    /// Starts the thread that sends; `service` is what the collector calls this program.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(collector: Collector, service: &'static str) -> io::Result<Sending> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (spans, queue) = mpsc::channel(QUEUE_SPANS_MAX);
        let (until, told) = watch::channel(None);
        let exporter = Self { spans, counters: Arc::default(), until: Arc::new(until) };
        let counters = exporter.counters.clone();
        let sender = Sender { collector, service, queue, told, counters, is_said: false };
        let thread = std::thread::Builder::new().name("ganger-otlp".to_owned()).spawn(move || {
            runtime.block_on(sender.run());
            // The look-up of a name that nobody answers would be waited for.
            runtime.shutdown_background();
        })?;
        Ok(Sending { exporter, thread })
    }

    /// Takes a span, or drops it when too many wait. Never waits.
    pub fn offer(&self, span: Span) {
        if self.spans.try_send(span).is_err() {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What became of spans so far.
    pub fn counts(&self) -> Counts {
        Counts {
            exported: self.counters.exported.load(Ordering::Relaxed),
            dropped: self.counters.dropped.load(Ordering::Relaxed),
        }
    }
}

impl Sending {
    /// Where spans are handed in.
    pub fn exporter(&self) -> &Exporter {
        &self.exporter
    }

    /// Sends what waits, for at most [`FINISH_WITHIN`], and ends the thread.
    pub fn finish(self) {
        self.exporter.until.send_replace(Some(Instant::now() + FINISH_WITHIN));
        // Its own panic was told by itself; there is nothing to add.
        let _ = self.thread.join();
        let Counts { exported, dropped } = self.exporter.counts();
        match dropped {
            0 => tracing::debug!(exported, "all spans were exported"),
            _ => tracing::warn!(exported, dropped, "not all spans were exported"),
        }
    }
}

/// What the thread does.
struct Sender {
    collector: Collector,
    service: &'static str,
    queue: mpsc::Receiver<Span>,
    told: watch::Receiver<Option<Instant>>,
    counters: Arc<Counters>,
    /// The last request was not taken: that was said, and is not said again.
    is_said: bool,
}

impl Sender {
    async fn run(mut self) {
        let mut batch = Vec::new();
        while self.gather(&mut batch).await {
            self.deliver(&batch).await;
            batch.clear();
        }
    }

    /// Takes the spans of the next request. Returns whether there are any: not when nobody hands in any more.
    async fn gather(&mut self, batch: &mut Vec<Span>) -> bool {
        let mut told = self.told.clone();
        let first = tokio::select! {
            span = self.queue.recv() => span,
            () = asked(&mut told) => {
                self.queue.close();
                self.queue.recv().await
            }
        };
        let Some(first) = first else { return false };
        batch.push(first);
        let by = Instant::now() + GATHER;
        while batch.len() < BATCH_SPANS_MAX {
            tokio::select! {
                biased;
                span = self.queue.recv() => match span {
                    Some(span) => batch.push(span),
                    None => break,
                },
                () = asked(&mut told) => break,
                () = sleep_until(by) => break,
            }
        }
        true
    }

    /// Sends until they are taken, refused, or there is no time.
    async fn deliver(&mut self, spans: &[Span]) {
        let (count, mut pause) = (spans.len() as u64, RETRY);
        let body = Bytes::from(proto::request(self.service, spans));
        let mut told = self.told.clone();
        loop {
            let posted = tokio::select! {
                biased;
                () = over(&mut told) => Err(Refusal::Away("there was no time".to_owned())),
                posted = self.collector.post(body.clone()) => posted,
            };
            let error = match posted {
                Ok(()) => {
                    self.counters.exported.fetch_add(count, Ordering::Relaxed);
                    if std::mem::take(&mut self.is_said) {
                        tracing::info!(collector = %self.collector, "spans are exported again");
                    }
                    return;
                }
                Err(error) => error,
            };
            if !std::mem::replace(&mut self.is_said, true) {
                tracing::warn!(collector = %self.collector, %error, "spans cannot be exported");
            }
            if matches!(error, Refusal::Refused(_)) || is_asked(&self.told) {
                self.counters.dropped.fetch_add(count, Ordering::Relaxed);
                return;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = asked(&mut told) => {}
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }
}

/// Whether the end was asked for, or nobody is left who could.
fn is_asked(told: &watch::Receiver<Option<Instant>>) -> bool {
    told.borrow().is_some() || told.has_changed().is_err()
}

/// Waits for that.
async fn asked(told: &mut watch::Receiver<Option<Instant>>) {
    let _ = told.wait_for(Option::is_some).await;
}

/// Waits until there is no time any more.
async fn over(told: &mut watch::Receiver<Option<Instant>>) {
    let until = told.wait_for(Option::is_some).await.ok().and_then(|until| *until);
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
