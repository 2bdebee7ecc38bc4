//! Other programs of this project, where this one is: all come from one build, and know the same formats.

use std::path::PathBuf;

/// The path of a program that stands beside this one; its bare name, to be looked for, when it does not.
pub(crate) fn program(name: &str) -> PathBuf {
    let here = std::env::current_exe().ok();
    let beside = here.and_then(|here| Some(here.parent()?.join(name)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name))
}
