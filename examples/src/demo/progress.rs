//! Progress of several stages at once: bars on a terminal, a few plain lines elsewhere.

use std::io::{self, IsTerminal};
use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Without a terminal a stage speaks whenever another of so many parts of it is done.
const PLAIN_PARTS: u64 = 4;

/// Everything that the demonstration tells while it runs.
#[derive(Debug)]
pub struct Progress {
    /// `None` without a terminal.
    bars: Option<MultiProgress>,
}

/// One stage, with a number of tasks to do.
#[derive(Debug)]
pub struct Stage {
    name: &'static str,
    total: u64,
    bar: Option<ProgressBar>,
    done: Mutex<u64>,
}

impl Progress {
    /// Looks whether standard error is a terminal.
    pub fn new() -> Self {
        Self { bars: io::stderr().is_terminal().then(MultiProgress::new) }
    }

    /// Says one thing, above the bars.
    pub fn say(&self, text: &str) {
        match &self.bars {
            // The terminal may have been closed; there is nobody left to tell that.
            Some(bars) => _ = bars.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// Takes the bars away, so that what is printed from now on stands alone.
    pub fn close(self) {
        if let Some(bars) = self.bars {
            _ = bars.clear();
        }
    }

    /// Begins a stage.
    pub fn stage(&self, name: &'static str, total: u64) -> Stage {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(total));
            if let Ok(style) =
                ProgressStyle::with_template("  {prefix:<9} {wide_bar} {pos:>4}/{len:<4} {elapsed:>4}")
            {
                bar.set_style(style);
            }
            bar.with_prefix(name)
        });
        Stage { name, total, bar, done: Mutex::new(0) }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    /// Another task is done.
    pub fn step(&self) {
        match &self.bar {
            Some(bar) => bar.inc(1),
            None => self.step_plainly(),
        }
    }

    /// It is over; a bar stays to be seen.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish();
        }
    }

    fn step_plainly(&self) {
        let mut done = self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let parts = |done: u64| done * PLAIN_PARTS / self.total.max(1);
        let before = parts(*done);
        *done += 1;
        if parts(*done) > before {
            eprintln!("  {:<9} {:>4}/{}", self.name, *done, self.total);
        }
    }
}
