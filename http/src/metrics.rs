//! What the gateway counts of itself.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::app::App;
use crate::handshake::Handshake;

/// Upper ends of the buckets of durations, in seconds: from a question that the broker answers at once to the
/// longest wait.
const BUCKETS: [f64; 10] = [0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Answered {
    route: String,
    status: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Shaken {
    end: &'static str,
}

/// The gateway's own figures.
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    requests: Family<Answered, Counter>,
    durations: Family<Route, Histogram>,
    connections: Gauge,
    sockets: Gauge,
    watchers: Gauge,
    handshakes: Family<Shaken, Counter>,
}

/// Something that is counted as long as this is there.
pub(crate) struct Counted(Gauge<i64, AtomicI64>);

impl Counted {
    fn one(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("ganger_http");
        let requests = Family::default();
        let durations = Family::new_with_constructor(new_histogram as fn() -> Histogram);
        let [connections, sockets, watchers]: [Gauge; 3] = Default::default();
        let handshakes = Family::default();
        registry.register("requests", "Requests answered, by route and status", requests.clone());
        registry.register_with_unit(
            "request_duration",
            "From the head of a request to the head of its answer, waits included",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register("connections", "Connections that are open", connections.clone());
        registry.register("websockets", "WebSockets that are open", sockets.clone());
        registry.register("watchers", "Those who watch what happens", watchers.clone());
        registry.register("handshakes", "TLS handshakes, by how they ended", handshakes.clone());
        Self { registry, requests, durations, connections, sockets, watchers, handshakes }
    }

    pub(crate) fn connection(&self) -> Counted {
        Counted::one(&self.connections)
    }

    pub(crate) fn socket(&self) -> Counted {
        Counted::one(&self.sockets)
    }

    pub(crate) fn watcher(&self) -> Counted {
        Counted::one(&self.watchers)
    }

    pub(crate) fn handshake(&self, how: Handshake) {
        self.handshakes.get_or_create(&Shaken { end: how.as_str() }).inc();
    }

    fn count(&self, route: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        self.durations.get_or_create(&Route { route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answered { route, status }).inc();
    }
}

fn new_histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

/// Counts a request. By the route that it matched, of which there are few: a path may be anything.
pub(crate) async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let path = request.extensions().get::<MatchedPath>();
    let route = path.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    app.metrics.count(&route, response.status().as_u16(), begun.elapsed());
    response
}
