//! The same figures for scrapers that do not read OpenMetrics, and for those who look with `curl`.
//!
//! The two formats differ in what a counter is called where it is described: there without, here with the
//! `_total` that its samples have.

/// The type of OpenMetrics.
pub(crate) const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The type of what is older.
pub(crate) const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes figures in OpenMetrics as the older text format.
pub(crate) fn plain(open: &str) -> String {
    let mut plain = String::with_capacity(open.len());
    // What stands before the type, and takes its name from it.
    let mut help = None;
    let mut put = |parts: &[&str]| {
        parts.iter().for_each(|part| plain.push_str(part));
        plain.push('\n');
    };
    for line in open.lines() {
        let described = line.strip_prefix("# ").and_then(|rest| rest.split_once(' '));
        match described.map(|(what, rest)| (what, rest.split_once(' ').unwrap_or((rest, "")))) {
            Some(("HELP", (_, text))) => help = Some(text),
            Some(("TYPE", (name, kind))) => {
                let end = if kind == "counter" { "_total" } else { "" };
                if let Some(text) = help.take() {
                    put(&["# HELP ", name, end, " ", text]);
                }
                put(&["# TYPE ", name, end, " ", kind]);
            }
            Some(("UNIT", _)) => {}
            None if line == "# EOF" => {}
            _ => put(&[line]),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_described_by_the_name_of_its_samples() {
        let open = "# HELP a Tasks.\n# TYPE a counter\na_total{x=\"# EOF\"} 1\n# HELP b_seconds Time.\n\
                    # TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 2.5\n# EOF\n";
        let expected = "# HELP a_total Tasks.\n# TYPE a_total counter\na_total{x=\"# EOF\"} 1\n\
                        # HELP b_seconds Time.\n# TYPE b_seconds gauge\nb_seconds 2.5\n";
        assert_eq!(plain(open), expected);
    }
}
