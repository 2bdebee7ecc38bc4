//! How many instructions a task takes: counted by `valgrind --tool=callgrind`, which repeats to within a
//! few of them on any machine, however busy.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use ganger_common::message::Durability;
use serde_json::Value;

use super::{BATCH, SchedulerExchange, ShellExchange};
use crate::binaries::repository;

/// A part that is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The scheduler, when nothing waits for a journal.
    SchedulerMemory,
    /// The scheduler, when promises wait for a journal.
    SchedulerJournal,
    /// The shell around it, with decoding and encoding on both sides of every message.
    Shell,
}

/// Turns before the ones that count: what is allocated once has been by then.
const WARM_UP: usize = 40;
/// Turns that count.
const TURNS: usize = 80;
/// A figure may grow by so much before somebody has to say why.
pub const GROWTH_MAX: f64 = 0.10;

impl Part {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::SchedulerMemory, Self::SchedulerJournal, Self::Shell];

    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::SchedulerMemory => "scheduler_memory",
            Self::SchedulerJournal => "scheduler_journal",
            Self::Shell => "shell",
        }
    }

    /// The part of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }

    /// Does the work of so many turns: what is counted.
    pub fn work(self, turns: usize) {
        match self {
            Self::SchedulerMemory => schedule(Durability::Memory, turns),
            Self::SchedulerJournal => schedule(Durability::Journal, turns),
            Self::Shell => {
                let mut exchange = ShellExchange::new();
                (0..turns).for_each(|_| exchange.turn(BATCH));
                assert_eq!(exchange.settled(), (turns * BATCH) as u64);
            }
        }
    }

    /// Instructions a task, counted in processes of this same program, which must do [`work`](Self::work)
    /// when it is called with `work`, the name, and the number of turns.
    ///
    /// # Errors
    /// When valgrind cannot be run, or says nothing that can be read.
    pub fn count(self) -> anyhow::Result<f64> {
        let few = self.collected(WARM_UP)?;
        let many = self.collected(WARM_UP + TURNS)?;
        ensure!(many > few, "{}: more work took no more instructions", self.name());
        Ok((many - few) as f64 / (TURNS * BATCH) as f64)
    }

    fn collected(self, turns: usize) -> anyhow::Result<u64> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe()?)
            .args(["work", self.name(), &turns.to_string()])
            .stdin(Stdio::null())
            .output()
            .context("valgrind cannot be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "valgrind ended with {}:\n{said}", output.status);
        // As in `==1234== Collected : 123456789`.
        let line = said.lines().find_map(|line| line.split_once("Collected : "));
        let count = line.and_then(|(_, count)| count.split_whitespace().next()?.parse().ok());
        count.with_context(|| format!("valgrind did not say how many instructions it saw:\n{said}"))
    }
}

fn schedule(durability: Durability, turns: usize) {
    let mut exchange = SchedulerExchange::new(durability);
    (0..turns).for_each(|_| exchange.turn(BATCH));
    assert_eq!(exchange.settled(), (turns * BATCH) as u64);
}

/// Whether valgrind is there.
pub fn has_valgrind() -> bool {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Where the committed figures stand.
pub fn file() -> PathBuf {
    repository().join("tests/instructions.json")
}

/// The committed figures.
///
/// # Errors
/// When the file is not there, or does not hold a number for each part.
pub fn committed() -> anyhow::Result<BTreeMap<String, f64>> {
    let text = std::fs::read_to_string(file()).context("the committed figures cannot be read")?;
    let Value::Object(object) = serde_json::from_str(&text)? else { bail!("not an object") };
    let figure = |(name, value): (String, Value)| Some((name, value.as_f64()?));
    let figures: BTreeMap<String, f64> = object.into_iter().filter_map(figure).collect();
    let missing = Part::ALL.into_iter().find(|part| !figures.contains_key(part.name()));
    match missing {
        Some(part) => bail!("there is no figure for {}", part.name()),
        None => Ok(figures),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_a_committed_figure() {
        committed().unwrap();
    }
}
