//! A Python with `pyzmq`, `msgpack` and `websockets`, made once and kept.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The interpreter, in a folder below this one.
///
/// Without a way to the package index this is skipped, loudly, except where `CI` says that everything must
/// be run.
///
/// # Panics
/// When it cannot be had although everything must be run.
pub fn python(kept_in: &Path) -> Option<PathBuf> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    MADE.get_or_init(|| match make(&kept_in.join("ganger-python")) {
        Ok(python) => Some(python),
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{why}"),
        Err(why) => {
            eprintln!("SKIPPED: Python with pyzmq, msgpack and websockets cannot be had here: {why}");
            None
        }
    })
    .clone()
}

fn make(folder: &Path) -> Result<PathBuf, String> {
    let python = folder.join("bin/python");
    let can_import = || run(Command::new(&python).args(["-c", "import zmq, msgpack, websockets"]));
    if can_import().is_ok() {
        return Ok(python);
    }
    // One that was left half-made must not be found again.
    let _ = std::fs::remove_dir_all(folder);
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let packages = ["pyzmq", "msgpack", "websockets"];
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages))?;
    can_import().map(|_| python.clone())
}

fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
