//! Alerts and dashboard speak of figures that there are.

use std::collections::BTreeSet;
use std::path::Path;

use ganger_tests::binaries::repository;
use ganger_tests::cluster::Cluster;
use ganger_tests::scale::shared;
use ganger_tests::web::Web;

/// What a histogram's samples are called.
const ENDS: [&str; 4] = ["_bucket", "_sum", "_count", ""];

#[test]
fn every_figure_that_an_alert_or_the_dashboard_names_is_one_that_a_broker_shows() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&["--durability", "journal"]);
    let mut web = Web::new(cluster.endpoints().http.as_deref().unwrap());
    // Each route counts its requests from the first one on.
    web.get("/health");
    let text = web.get("/metrics").text();
    let shown: BTreeSet<&str> = text.lines().filter_map(described).collect();
    for file in ["prometheus/ganger.rules.yml", "prometheus/ganger.rules.test.yml", "grafana/ganger.json"]
        .map(Path::new)
    {
        let said = std::fs::read_to_string(repository().join("deploy").join(file)).unwrap();
        let names = names(&said);
        assert!(names.len() > 5, "{}: {names:?}", file.display());
        for name in names {
            let is_shown =
                ENDS.iter().filter_map(|end| name.strip_suffix(end)).any(|name| shown.contains(name));
            assert!(is_shown, "{}: {name} is not in /metrics", file.display());
        }
    }
}

/// The name that a line describes.
fn described(line: &str) -> Option<&str> {
    line.strip_prefix("# TYPE ")?.split(' ').next()
}

/// Everything that looks like the name of a figure.
fn names(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.split(|c| !is_part(c)).filter(|word| word.starts_with("ganger_")).collect()
}
