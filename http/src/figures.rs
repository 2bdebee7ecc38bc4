//! The broker's figures in the words of Prometheus.

use std::fmt::Error;

use ganger_common::view::{HistogramView, KindView, StatusView};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::limits::KINDS_MEASURED_MAX;

/// Counters of a status reply that go down, too.
const JOURNAL_GAUGES: [&str; 6] = [
    "journal_records",
    "journal_syncs",
    "journal_bytes",
    "journal_waiting_bytes",
    "journal_values",
    "journal_full",
];

/// A status reply, as one scrape shows it.
#[derive(Debug)]
pub(crate) struct Figures(pub(crate) StatusView);

impl Figures {
    /// A registry that shows nothing else.
    pub(crate) fn registry(self) -> Registry {
        let mut registry = Registry::with_prefix("ganger");
        registry.register_collector(Box::new(self));
        registry
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let it = &self.0;
        for (name, help, value) in [
            ("workers", "Workers that are connected", u64::from(it.workers)),
            ("slots", "Tasks that they can run at a time", u64::from(it.slots)),
            ("clients", "Clients that are connected", u64::from(it.clients)),
            ("draining", "Whether the broker takes nothing new", u64::from(it.draining)),
            ("outcomes_retained", "Outcomes that are kept", it.retained),
            ("dead_set_tasks", "Tasks in the dead set", it.dead_set),
            ("knowledge_revision", "The newest revision of the knowledge map", it.revision.0),
            ("knowledge_entries", "Entries of the knowledge map", it.knowledge_entries),
            ("kinds", "Kinds of tasks, the first 1,000 counted", it.kinds.len() as u64),
            (
                "kinds_paused",
                "Kinds that are paused",
                it.kinds.iter().filter(|kind| kind.paused).count() as u64,
            ),
        ] {
            gauge(encoder, name, help, None, value as f64)?;
        }
        let (bytes, seconds) = (Some(&Unit::Bytes), Some(&Unit::Seconds));
        gauge(encoder, "outcomes_retained", "Their results", bytes, it.retained_bytes as f64)?;
        gauge(encoder, "payload", "Payloads of tasks without an outcome", bytes, it.payload_bytes as f64)?;
        gauge(encoder, "uptime", "Since the broker started", seconds, it.uptime_ms as f64 / 1e3)
    }

    fn tasks(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let it = &self.0;
        let help = "Tasks without an outcome; queued are those that a worker serves";
        let mut family = encoder.encode_descriptor("tasks", help, None, MetricType::Gauge)?;
        for (state, count) in [
            // Parked ones are among the queued; a sum over the label must count each once.
            ("queued", it.queued.saturating_sub(it.parked)),
            ("parked", it.parked),
            ("delayed", it.delayed),
            ("assigned", it.assigned),
            ("running", it.running),
        ] {
            labelled(&mut family, &[("state", state)], count as f64)?;
        }
        Ok(())
    }

    /// The kinds with most tasks.
    fn largest_kinds(&self) -> Vec<&KindView> {
        let mut kinds: Vec<&KindView> = self.0.kinds.iter().collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.queued.saturating_add(kind.leased)));
        kinds.truncate(KINDS_MEASURED_MAX);
        kinds
    }

    fn kinds(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let kinds = self.largest_kinds();
        let help = "Tasks of a kind: ready, or with workers";
        let mut family = encoder.encode_descriptor("kind_tasks", help, None, MetricType::Gauge)?;
        for kind in &kinds {
            labelled(&mut family, &[("kind", &kind.kind), ("state", "queued")], kind.queued as f64)?;
            labelled(&mut family, &[("kind", &kind.kind), ("state", "leased")], kind.leased as f64)?;
        }
        let help = "Workers that serve a kind";
        let mut family = encoder.encode_descriptor("kind_workers", help, None, MetricType::Gauge)?;
        for kind in &kinds {
            labelled(&mut family, &[("kind", &kind.kind)], f64::from(kind.workers))?;
        }
        let help = "Whether a kind is paused";
        let mut family = encoder.encode_descriptor("kind_paused", help, None, MetricType::Gauge)?;
        for kind in &kinds {
            labelled(&mut family, &[("kind", &kind.kind)], f64::from(u8::from(kind.paused)))?;
        }
        let help = "Since the first ready task of a kind was submitted";
        let unit = Some(&Unit::Seconds);
        let mut family = encoder.encode_descriptor("kind_oldest", help, unit, MetricType::Gauge)?;
        for kind in &kinds {
            labelled(&mut family, &[("kind", &kind.kind)], kind.oldest_ms as f64 / 1e3)?;
        }
        Ok(())
    }

    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        for (name, count) in &self.0.counters {
            let help = "See the specification, ganger status";
            if JOURNAL_GAUGES.contains(&name.as_str()) {
                gauge(encoder, name, help, None, *count as f64)?;
            } else if ![ERRORS, DOOR, WATCHDOG].iter().any(|prefix| name.starts_with(prefix)) {
                let counter = ConstCounter::new(*count);
                counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
            }
        }
        self.by_label(encoder, ERRORS, ("errors", "code", "Refusals, by code"))?;
        self.by_label(encoder, DOOR, ("door", "event", "What happened at the door"))
    }

    /// What must be zero.
    fn watchdogs(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "What must be zero, by what it is; see docs/http.md, Watchdogs";
        let mut family = encoder.encode_descriptor("watchdog", help, None, MetricType::Gauge)?;
        for (name, count) in &self.0.counters {
            if let Some(check) = name.strip_prefix(WATCHDOG) {
                labelled(&mut family, &[("check", check)], *count as f64)?;
            }
        }
        Ok(())
    }

    fn durations(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        for histogram in &self.0.durations {
            let help = match histogram.name.as_str() {
                "attempt_run" => "How long attempts ran, as their workers tell it",
                "queue_wait" => "From when a task was taken, or was due, to its first lease",
                "submit_to_settle" => "From when a task was taken to its outcome",
                _ => "How long something took",
            };
            let unit = Some(&Unit::Seconds);
            let encoder = encoder.encode_descriptor(&histogram.name, help, unit, MetricType::Histogram)?;
            buckets(encoder, histogram)?;
        }
        Ok(())
    }

    /// Counters whose names differ in their ends, as one with a label.
    fn by_label(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        prefix: &str,
        (name, label, help): (&str, &str, &str),
    ) -> Result<(), Error> {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (name, count) in &self.0.counters {
            if let Some(end) = name.strip_prefix(prefix) {
                let labels = [(label, end)];
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

const ERRORS: &str = "errors_";
const DOOR: &str = "door_";
const WATCHDOG: &str = "watchdog_";

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.gauges(&mut encoder)?;
        self.tasks(&mut encoder)?;
        self.kinds(&mut encoder)?;
        self.counters(&mut encoder)?;
        self.watchdogs(&mut encoder)?;
        self.durations(&mut encoder)
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: f64,
) -> Result<(), Error> {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)
}

/// A histogram whose last bucket has no end, as they all must.
fn buckets(mut encoder: MetricEncoder<'_>, of: &HistogramView) -> Result<(), Error> {
    let ends = of.bounds_us.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = ends.zip(of.counts.iter().copied()).collect();
    let count = of.counts.iter().sum();
    encoder.encode_histogram::<NoLabelSet>(of.sum_us as f64 / 1e6, count, &buckets, None)
}

fn labelled(family: &mut MetricEncoder<'_>, labels: &[(&str, &str)], value: f64) -> Result<(), Error> {
    let labels: Vec<(&str, &str)> = labels.to_vec();
    ConstGauge::new(value).encode(family.encode_family(&labels)?)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn shown(status: StatusView) -> String {
        let mut text = String::new();
        encode(&mut text, &Figures(status).registry()).unwrap();
        text
    }

    #[test]
    fn every_figure_has_its_name_and_every_task_one_state() {
        let counters = [
            ("tasks_accepted", 7),
            ("errors_busy", 3),
            ("door_old_zmtp", 2),
            ("journal_bytes", 5),
            ("watchdog_held_too_long", 4),
        ];
        let text = shown(StatusView {
            queued: 5,
            parked: 2,
            retained_bytes: 9,
            uptime_ms: 1_500,
            counters: counters.map(|(name, count)| (name.to_owned(), count)).into(),
            durations: vec![HistogramView {
                name: "queue_wait".to_owned(),
                bounds_us: vec![100, 2_500_000],
                counts: vec![4, 2, 1],
                sum_us: 7_500_000,
            }],
            ..StatusView::default()
        });
        for line in [
            "ganger_tasks{state=\"queued\"} 3",
            "ganger_tasks{state=\"parked\"} 2",
            "ganger_outcomes_retained_bytes 9",
            "ganger_uptime_seconds 1.5",
            "ganger_tasks_accepted_total 7",
            "ganger_errors_total{code=\"busy\"} 3",
            "ganger_door_total{event=\"old_zmtp\"} 2",
            "ganger_journal_bytes 5",
            "ganger_watchdog{check=\"held_too_long\"} 4",
            "ganger_queue_wait_seconds_bucket{le=\"0.0001\"} 4",
            "ganger_queue_wait_seconds_bucket{le=\"2.5\"} 6",
            "ganger_queue_wait_seconds_bucket{le=\"+Inf\"} 7",
            "ganger_queue_wait_seconds_count 7",
            "ganger_queue_wait_seconds_sum 7.5",
        ] {
            let is_it = |shown: &str| shown == line || shown.strip_suffix(".0") == Some(line);
            assert!(text.lines().any(is_it), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn names_that_somebody_makes_up_do_not_fill_a_database() {
        let kind = |number: u64| KindView {
            kind: format!("made-up-{number}"),
            queued: number,
            leased: 0,
            workers: 0,
            oldest_ms: 0,
            paused: false,
        };
        let text = shown(StatusView { kinds: (0..1_000).map(kind).collect(), ..StatusView::default() });
        assert_eq!(text.matches("ganger_kind_workers{").count(), KINDS_MEASURED_MAX);
        assert!(text.contains("made-up-999\"") && !text.contains("made-up-1\""));
    }
}
