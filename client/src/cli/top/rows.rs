//! The rows of the two tables: which, in which order, and what they say.

use std::cmp::Reverse;
use std::time::Duration;

use ganger_common::view::{KindView, WorkerState, WorkerView};

use super::screen::{Order, Screen};
use crate::cli::output::{Tone, printable, time};

/// A heartbeat comes every second unless a broker is told otherwise; who is silent for longer is late.
const LATE: Duration = Duration::from_millis(2_500);

/// A cell: what it says, and what that means.
pub(crate) type Cell = (String, Tone);

/// The heads of the kinds' columns, with their widths.
pub(crate) const KIND_COLUMNS: [(&str, u16); 5] =
    [("KIND", 0), ("QUEUED", 11), ("WITH WORKERS", 12), ("WORKERS", 7), ("OLDEST", 10)];

/// The heads of the workers' columns, with their widths.
pub(crate) const WORKER_COLUMNS: [(&str, u16); 9] = [
    ("WORKER", 0),
    ("STATE", 8),
    ("BUSY", 5),
    ("SLOTS", 9),
    ("RESERVE", 7),
    ("ENDED/S", 9),
    ("RUN", 9),
    ("HEARD", 8),
    ("KNOWLEDGE", 10),
];

impl Screen {
    /// The kinds that fit the filter, in order.
    pub(crate) fn kinds(&self) -> Vec<&KindView> {
        let Some(last) = &self.past.last else { return Vec::new() };
        let mut kinds: Vec<&KindView> =
            last.status.kinds.iter().filter(|kind| self.fits(&[&kind.kind])).collect();
        match self.order {
            Order::Name => {}
            Order::Load => kinds.sort_by_key(|kind| Reverse(kind.queued.saturating_add(kind.leased))),
            Order::Age => kinds.sort_by_key(|kind| Reverse(if kind.queued > 0 { kind.oldest_ms } else { 0 })),
        }
        kinds
    }

    /// The workers that fit the filter, in order.
    pub(crate) fn workers(&self) -> Vec<&WorkerView> {
        let all = self.past.last.as_ref().and_then(|last| last.workers.as_deref()).unwrap_or_default();
        let fits = |worker: &&WorkerView| {
            self.fits(&[&worker.name, &worker.host])
                || worker.kinds.iter().any(|kind| self.fits(&[kind.as_str()]))
        };
        let mut workers: Vec<&WorkerView> = all.iter().filter(fits).collect();
        workers.sort_by(|one, other| one.name.cmp(&other.name).then(one.id.cmp(&other.id)));
        match self.order {
            Order::Name => {}
            Order::Load => workers.sort_by_key(|worker| Reverse((self.busy(worker) * 1e3) as u64)),
            Order::Age => workers.sort_by_key(|worker| Reverse(worker.silent_ms)),
        }
        workers
    }

    fn fits(&self, texts: &[&str]) -> bool {
        let wanted = self.filter.to_lowercase();
        texts.iter().any(|text| text.to_lowercase().contains(&wanted))
    }

    fn busy(&self, worker: &WorkerView) -> f64 {
        let flow = self.past.flow.as_ref();
        flow.and_then(|flow| flow.workers.get(&worker.id)).map_or(0.0, |(busy, _)| *busy)
    }

    pub(crate) fn worker_cells(&self, worker: &WorkerView) -> [Cell; 9] {
        let flow = self.past.flow.as_ref().and_then(|flow| flow.workers.get(&worker.id));
        let newest = self.past.last.as_ref().map_or(worker.revision, |last| last.status.revision);
        let silent = Duration::from_millis(worker.silent_ms);
        let state = match worker.state {
            WorkerState::Ready => Tone::Good,
            WorkerState::Draining => Tone::Careful,
            WorkerState::Away => Tone::Bad,
        };
        let knowledge = if worker.revision < newest { Tone::Careful } else { Tone::Plain };
        [
            plain(printable(&worker.name)),
            (worker.state.as_str().to_owned(), state),
            plain(flow.map_or_else(|| "-".to_owned(), |(busy, _)| percent(*busy))),
            plain(format!("{}/{}", worker.running, worker.slots)),
            plain(worker.waiting.to_string()),
            plain(flow.map_or_else(|| "-".to_owned(), |(_, ended)| rate(*ended))),
            plain(run(worker.average_run_us)),
            (time(silent), if silent > LATE { Tone::Bad } else { Tone::Plain }),
            (worker.revision.to_string(), knowledge),
        ]
    }
}

pub(crate) fn kind_cells(kind: &KindView) -> [Cell; 5] {
    let is_parked = kind.workers == 0 && kind.queued > 0;
    let tone = if is_parked { Tone::Careful } else { Tone::Plain };
    let oldest = match kind.queued {
        0 => "-".to_owned(),
        _ => time(Duration::from_millis(kind.oldest_ms)),
    };
    [
        plain(printable(&kind.kind)),
        (grouped(kind.queued), tone),
        plain(grouped(kind.leased)),
        (kind.workers.to_string(), tone),
        plain(oldest),
    ]
}

fn plain(text: String) -> Cell {
    (text, Tone::Plain)
}

/// A share of a whole.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// So many a second.
pub(crate) fn rate(a_second: f64) -> String {
    match a_second {
        few if few > 0.0 && few < 10.0 => format!("{few:.1}"),
        many => grouped(many.round() as u64),
    }
}

/// How long a handler runs, which may be very short.
pub(crate) fn run(micros: u64) -> String {
    match micros {
        0 => "-".to_owned(),
        1..10_000 => format!("{micros}us"),
        micros => time(Duration::from_micros(micros)),
    }
}

/// A number as people read it: 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
