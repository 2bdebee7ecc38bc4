//! The load: tasks in at one end, outcomes out at the other.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ganger_client::{Client, NewTask, PipeConfig, PipeItem, PipeReceiver, PipeSender};
use indicatif::ProgressBar;

use super::super::exit::Exit;
use super::durations::Durations;
use super::figures::Figures;

/// What one client hands in.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) kind: String,
    pub(super) tasks: u32,
    pub(super) payload: usize,
    pub(super) durations: Option<Durations>,
    /// Most tasks submitted and not settled.
    pub(super) window: usize,
    /// Tasks handed in together.
    pub(super) batch: u32,
    /// Most tasks handed in a second.
    pub(super) rate: Option<f64>,
}

/// A load with a rate is handed in so often: seldom enough for timers, often enough to be a stream.
const PULSE: Duration = Duration::from_millis(2);

impl Load {
    fn tasks(&self, from: u32, count: u32) -> Vec<NewTask> {
        match self.durations {
            None => {
                let task = NewTask::new(self.kind.as_str(), Bytes::from(vec![0x61; self.payload]));
                vec![task; count as usize]
            }
            Some(durations) => {
                let kind: std::sync::Arc<str> = self.kind.as_str().into();
                let task = |number| NewTask::new(kind.clone(), durations.payload(number));
                (from..from + count).map(task).collect()
            }
        }
    }

    /// How many tasks should have been handed in by now.
    fn due(&self, begin: Instant) -> u32 {
        let most = f64::from(self.tasks);
        self.rate.map_or(most, |rate| (begin.elapsed().as_secs_f64() * rate).min(most)) as u32
    }

    /// Hands everything in as fast as the window, or its rate, allows.
    async fn send(
        self,
        mut sender: PipeSender,
        told: tokio::sync::mpsc::UnboundedSender<(usize, Instant)>,
    ) -> Result<(), Exit> {
        let batch = self.batch.min(u32::try_from(self.window).unwrap_or(u32::MAX)).max(1);
        let mut done = 0;
        let begin = Instant::now();
        while done < self.tasks {
            let due = self.due(begin).saturating_sub(done);
            if due == 0 {
                tokio::time::sleep(PULSE).await;
                continue;
            }
            let count = batch.min(due);
            // From the moment when there is room: to wait for that is this side's own doing.
            let entering = |count| {
                // The other half only leaves when everything is over.
                let _ = told.send((count, Instant::now()));
            };
            sender.send_many_noting(self.tasks(done, count), entering).await?;
            done += count;
        }
        Ok(())
    }
}

/// A load on its way.
pub(super) struct Run {
    receiver: PipeReceiver,
    sending: tokio::task::JoinHandle<Result<(), Exit>>,
    handed_in: tokio::sync::mpsc::UnboundedReceiver<(usize, Instant)>,
    begin: Instant,
    /// When each task was handed in, by its tag.
    begun: Vec<Instant>,
    figures: Figures,
    items: Vec<PipeItem>,
    accepted: u32,
}

impl Run {
    pub(super) fn start(client: &Client, load: Load) -> Result<Self, Exit> {
        let (sender, receiver) = client.pipe(PipeConfig { in_flight: load.window, accepted: true });
        // Written by the sending half, read by the receiving one.
        let (told, handed_in) = tokio::sync::mpsc::unbounded_channel();
        let begun = Vec::with_capacity(load.tasks as usize);
        let sending = tokio::spawn(load.send(sender, told));
        Ok(Self {
            receiver,
            sending,
            handed_in,
            begin: Instant::now(),
            begun,
            figures: Figures::new()?,
            items: Vec::new(),
            accepted: 0,
        })
    }

    /// Waits until so many tasks are acknowledged; nothing settles before a worker comes.
    pub(super) async fn until_accepted(&mut self, tasks: u32, bar: &ProgressBar) -> Result<Duration, Exit> {
        while self.accepted < tasks && self.take().await? > 0 {
            bar.set_position(u64::from(self.accepted));
        }
        Ok(self.begin.elapsed())
    }

    /// Measures from now on: what comes is the time that it takes to work off what waits.
    pub(super) fn restart_clock(&mut self) {
        self.begin = Instant::now();
    }

    /// Waits until everything has its outcome.
    pub(super) async fn finish(mut self, bar: &ProgressBar) -> Result<Figures, Exit> {
        while self.take().await? > 0 {
            bar.set_position(self.figures.ended());
        }
        self.figures.elapsed = self.begin.elapsed();
        self.sending.await.unwrap_or_else(|error| Err(Exit::Failed(error.to_string())))?;
        Ok(self.figures)
    }

    async fn take(&mut self) -> Result<usize, Exit> {
        let count = self.receiver.recv_many(&mut self.items).await;
        let now = Instant::now();
        while let Ok((count, at)) = self.handed_in.try_recv() {
            self.begun.extend(std::iter::repeat_n(at, count));
        }
        for item in self.items.drain(..) {
            self.accepted += u32::from(matches!(item, PipeItem::Accepted { .. }));
            self.figures.note(&item, &self.begun, now)?;
        }
        Ok(count)
    }
}
