//! A bar on a terminal while many tasks run.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Output;

/// A bar over so many tasks, if one is wanted; over an unknown number, if none is given.
pub(crate) fn bar(output: &Output, tasks: Option<u64>) -> ProgressBar {
    if !output.wants_progress() {
        return ProgressBar::with_draw_target(tasks, ProgressDrawTarget::hidden());
    }
    let template = match tasks {
        Some(_) => "{elapsed_precise} {wide_bar} {human_pos}/{human_len} {per_sec} {msg}",
        None => "{elapsed_precise} {human_pos} done {per_sec} {msg}",
    };
    let bar = ProgressBar::with_draw_target(tasks, ProgressDrawTarget::stderr_with_hz(10));
    // The templates are the two above, and valid.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
