//! A broker, and a browser that looks at it.

use std::process::Command;
use std::time::Duration;

use ganger_tests::browser::Browser;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::web::Web;
use serde_json::{Value, json};

pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A client of a cluster's gateway.
pub(crate) fn web(cluster: &Cluster) -> Web {
    Web::new(cluster.endpoints().http.as_deref().unwrap())
}

/// Where the page of a cluster is.
pub(crate) fn address(cluster: &Cluster) -> String {
    format!("http://{}/", cluster.endpoints().http.as_deref().unwrap())
}

/// A broker with two stock workers of two slots, and a browser with its page; nothing without a browser.
pub(crate) fn opened() -> Option<(Cluster, Browser)> {
    let mut browser = Browser::start()?;
    let mut cluster = Cluster::start_with_http(&[]);
    for name in ["first", "second"] {
        cluster.add(&WorkerSpec::stock(name).slots(2));
    }
    browser.look(1_600, 1_000, false);
    browser.open(&address(&cluster));
    browser.await_value(&figure("workers"), &json!("2"));
    Some((cluster, browser))
}

/// One JSON answer of the command line.
pub(crate) fn asked(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The text of a figure of the overview.
pub(crate) fn figure(name: &str) -> String {
    text(&format!("[data-figure={name}]"))
}

/// The text of an element, or null.
pub(crate) fn text(selector: &str) -> String {
    format!("(document.querySelector({})?.textContent ?? null)", json!(selector))
}

/// The texts of the cells of the row that begins with this text, in a table with this label.
pub(crate) fn row(table: &str, first: &str) -> String {
    let rows = format!("table[aria-label={}] tbody tr", json!(table));
    format!(
        "([...document.querySelectorAll({})].map((row) => [...row.cells].map((cell) => cell.textContent)).find((cells) => cells[0] === {}) ?? null)",
        json!(rows),
        json!(first)
    )
}

/// How many rows a table with this label has.
pub(crate) fn rows(table: &str) -> String {
    format!(
        "document.querySelectorAll({}).length",
        json!(format!("table[aria-label={}] tbody tr", json!(table)))
    )
}

/// Whether the visible text of the page has these words.
pub(crate) fn says(words: &str) -> String {
    format!("(document.body?.innerText ?? '').includes({})", json!(words))
}
