//! The figures of a run.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::settings::Settings;
use crate::proxy::Fired;

/// What a run came to.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// Which one.
    pub profile: super::Profile,
    /// Under which seed.
    pub seed: u64,
    /// Where the broker kept what it acknowledged.
    pub durability: super::Durability,
    /// How to have it again.
    pub command: String,
    /// How long the faults went on.
    pub faults_s: f64,
    /// How long it took afterwards until every task had its outcome.
    pub settled_after_s: f64,
    /// Tasks that were handed in.
    pub submitted: u64,
    /// Of those, acknowledged.
    pub acknowledged: u64,
    /// Acknowledged and never settled.
    pub lost: usize,
    /// Settled in two ways.
    pub settled_twice: usize,
    /// Outcomes.
    pub outcomes: BTreeMap<String, u64>,
    /// Outcomes that a second client was told, too.
    pub told_again: u64,
    /// Cancellations that were acknowledged.
    pub cancelled: u64,
    /// Entries into a handler.
    pub runs: u64,
    /// Runs that ended with their worker.
    pub interrupted: u64,
    /// Runs beyond the first of a task, by what explains them.
    pub extra_runs: BTreeMap<&'static str, u64>,
    /// Some of those.
    pub explained: BTreeMap<&'static str, Vec<String>>,
    /// Changes of knowledge that were acknowledged.
    pub knowledge_changes: u64,
    /// Workers whose replica was compared in the end.
    pub replicas: usize,
    /// What happened how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// Kills of the broker while tasks were under way.
    pub broker_kills_under_load: u64,
    /// What the proxies did.
    #[serde(serialize_with = "fired")]
    pub proxies: Fired,
    /// What is wrong, with examples.
    pub violations: BTreeMap<String, Violations>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Violations {
    /// How often.
    pub count: usize,
    /// Such as.
    pub examples: Vec<String>,
}

/// Examples of each wrong in a report.
const EXAMPLES_MAX: usize = 5;

impl Violations {
    /// Of a list.
    pub fn of(list: &[String]) -> Self {
        Self { count: list.len(), examples: list.iter().take(EXAMPLES_MAX).cloned().collect() }
    }
}

fn fired<S: serde::Serializer>(fired: &Fired, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(rows(fired))
}

fn rows(fired: &Fired) -> [(&'static str, u64); 9] {
    [
        ("connections", fired.connections),
        ("refused", fired.refused),
        ("cut", fired.cut),
        ("stalled", fired.stalled),
        ("held", fired.held),
        ("swallowed_bytes", fired.swallowed),
        ("delayed_bytes", fired.delayed),
        ("throttled", fired.throttled),
        ("passed_bytes", fired.passed),
    ]
}

impl Report {
    /// Whether everything that was promised held, and everything that was to happen did.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// The closing table.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut row = |name: &str, value: String| {
            let value = Cell::new(value).set_alignment(CellAlignment::Right);
            table.add_row(vec![Cell::new(name), value]);
        };
        row("profile", format!("{}, seed {}", self.profile, self.seed));
        row(
            "faults, then until all settled",
            format!("{:.1} s, {:.1} s", self.faults_s, self.settled_after_s),
        );
        row("tasks submitted, acknowledged", format!("{}, {}", self.submitted, self.acknowledged));
        row("lost", self.lost.to_string());
        row("settled twice", self.settled_twice.to_string());
        for (outcome, count) in &self.outcomes {
            row(outcome, count.to_string());
        }
        row("told a second client, too", self.told_again.to_string());
        row("runs, ended with their worker", format!("{}, {}", self.runs, self.interrupted));
        for (cause, count) in &self.extra_runs {
            row(&format!("extra runs: {cause}"), count.to_string());
        }
        row("knowledge changes, replicas compared", format!("{}, {}", self.knowledge_changes, self.replicas));
        for (fault, count) in &self.faults {
            row(fault, count.to_string());
        }
        if self.broker_kills_under_load > 0 {
            row("of the broker's deaths, under load", self.broker_kills_under_load.to_string());
        }
        for (name, count) in rows(&self.proxies) {
            row(&format!("proxies: {}", name.replace('_', " ")), count.to_string());
        }
        table
    }

    /// All that is wrong, for people; empty when nothing is.
    pub fn complaint(&self) -> String {
        let mut text = String::new();
        for (what, Violations { count, examples }) in &self.violations {
            let _ = writeln!(text, "{what}: {count}");
            for example in examples {
                let _ = writeln!(text, "    {example}");
            }
        }
        if !text.is_empty() {
            let _ = write!(text, "have it again: {}", self.command);
        }
        text
    }
}

/// The part of a report that is known from the start.
pub(super) fn blank(settings: &Settings) -> Report {
    Report {
        profile: settings.profile,
        seed: settings.seed,
        durability: settings.durability,
        command: settings.command(),
        faults_s: 0.0,
        settled_after_s: 0.0,
        submitted: 0,
        acknowledged: 0,
        lost: 0,
        settled_twice: 0,
        outcomes: BTreeMap::new(),
        told_again: 0,
        cancelled: 0,
        runs: 0,
        interrupted: 0,
        extra_runs: BTreeMap::new(),
        explained: BTreeMap::new(),
        knowledge_changes: 0,
        replicas: 0,
        faults: BTreeMap::new(),
        broker_kills_under_load: 0,
        proxies: Fired::default(),
        violations: BTreeMap::new(),
    }
}
