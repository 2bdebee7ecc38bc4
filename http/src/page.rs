//! The page for people: files of `http/page`, built into the program, so that it needs no network and no build
//! step of its own. It uses the routes like any other program, and `docs/http.md` says what it shows.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::app::App;
use crate::params::Segments;
use crate::refusal::Refusal;
use crate::reply::of_bytes;

/// What the page may do: run the scripts that came with it, and ask the broker that it came from. Texts of
/// strangers are never read as HTML, and with trusted types the browser sees to that, too.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const DRAWING: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal: $kind:ident),+ $(,)?) => {
        /// The files by name, with their types.
        const FILES: &[(&str, &str, &[u8])] =
            &[$(($name, $kind, include_bytes!(concat!("../page/", $name)))),+];
    };
}

files! {
    "index.html": HTML,
    "mark.svg": DRAWING,
    "style.css": STYLE,
    "parts.css": STYLE,
    "api.js": SCRIPT,
    "dead.js": SCRIPT,
    "dialog.js": SCRIPT,
    "dom.js": SCRIPT,
    "findings.js": SCRIPT,
    "kinds.js": SCRIPT,
    "knowledge.js": SCRIPT,
    "main.js": SCRIPT,
    "overview.js": SCRIPT,
    "plot.js": SCRIPT,
    "sample.js": SCRIPT,
    "table.js": SCRIPT,
    "task.js": SCRIPT,
    "tasks.js": SCRIPT,
    "theme.js": SCRIPT,
    "words.js": SCRIPT,
    "workers.js": SCRIPT,
}

/// Where the files are, the page itself excepted.
const FOLDER: &str = "/assets/";

/// The routes of the page. They are not described: they are for browsers.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(|| async { file("index.html") }))
        .route("/assets/{name}", get(|Segments(name): Segments<String>| async move { file(&name) }))
}

/// Whether this is a part of the page. It says nothing about the broker, so anybody may read it, with any name
/// for this machine and from a link anywhere.
pub(crate) fn has(uri: &Uri) -> bool {
    uri.path() == "/" || uri.path().starts_with(FOLDER)
}

fn file(name: &str) -> Response {
    let Some((_, kind, bytes)) = FILES.iter().find(|(known, ..)| *known == name) else {
        return Refusal::no_route(format!("there is no file {name:?}")).into_response();
    };
    let mut response = of_bytes(StatusCode::OK, kind, *bytes);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
        FILES.iter().map(|(name, _, bytes)| (*name, str::from_utf8(bytes).unwrap()))
    }

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let names: BTreeSet<String> = names.map(|name| name.into_string().unwrap()).collect();
        assert_eq!(names, texts().map(|(name, _)| name.to_owned()).collect());
    }

    #[test]
    fn whatever_a_file_refers_to_is_served() {
        for (name, text) in texts() {
            for mark in ["from \"./", "\"/assets/"] {
                let named = text.split(mark).skip(1).filter_map(|rest| rest.split_once('"'));
                for (other, _) in named {
                    assert!(FILES.iter().any(|(known, ..)| *known == other), "{name} refers to {other}");
                }
            }
        }
    }

    #[test]
    fn nothing_reads_a_text_as_html_and_nothing_comes_from_elsewhere() {
        let namespace = "http://www.w3.org/2000/svg";
        for (name, text) in texts() {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "DOMParser",
                " style=\"",
                " onclick=",
                "javascript:",
                "https://",
            ] {
                assert!(!text.contains(word), "{name} has {word}");
            }
            assert_eq!(text.matches("http://").count(), text.matches(namespace).count(), "{name}");
        }
    }
}
