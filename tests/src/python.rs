//! Pythons: the one of this machine, and ones with packages, made once and kept.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The interpreter with `pyzmq`, `msgpack` and `websockets`, in a folder below this one.
///
/// Without a way to the package index this is skipped, loudly, except where `CI` says that everything must
/// be run.
///
/// # Panics
/// When it cannot be had although everything must be run.
pub fn python(kept_in: &Path) -> Option<PathBuf> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let packages =
        Packages { names: &["pyzmq", "msgpack", "websockets"], check: "import zmq, msgpack, websockets" };
    MADE.get_or_init(|| packages.had_or_skipped(&kept_in.join("ganger-python"))).clone()
}

/// The interpreter with `schemathesis`, which reads a description of an interface and looks for what it does not
/// keep. Of a fixed version: what decides whether a commit is good must not change by itself.
///
/// # Panics
/// When it cannot be had although everything must be run.
pub fn schemathesis(kept_in: &Path) -> Option<PathBuf> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let packages = Packages { names: &["schemathesis==4.32.5"], check: "import schemathesis" };
    MADE.get_or_init(|| packages.had_or_skipped(&kept_in.join("ganger-schemathesis"))).clone()
}

/// The interpreter of this machine, for programs that need nothing but what comes with it.
///
/// # Panics
/// When there is none although everything must be run.
pub fn plain() -> Option<PathBuf> {
    let python = PathBuf::from("python3");
    let found = run(Command::new(&python).arg("--version"));
    had_or_skipped(found.map(|_| python), "Python")
}

/// A program in Python, to be run with these arguments.
pub fn script(python: &Path, program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.arg("-u").arg(program).args(args);
    command
}

/// What an interpreter should have.
struct Packages {
    names: &'static [&'static str],
    check: &'static str,
}

impl Packages {
    fn had_or_skipped(&self, folder: &Path) -> Option<PathBuf> {
        had_or_skipped(self.make(folder), &format!("Python with {}", self.names.join(" and ")))
    }

    fn make(&self, folder: &Path) -> Result<PathBuf, String> {
        let python = folder.join("bin/python");
        let can_import = || run(Command::new(&python).args(["-c", self.check]));
        if can_import().is_ok() {
            return Ok(python);
        }
        // One that was left half-made must not be found again.
        let _ = std::fs::remove_dir_all(folder);
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(self.names))?;
        can_import().map(|_| python.clone())
    }
}

fn had_or_skipped(found: Result<PathBuf, String>, what: &str) -> Option<PathBuf> {
    match found {
        Ok(python) => Some(python),
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{why}"),
        Err(why) => {
            eprintln!("SKIPPED: {what} cannot be had here: {why}");
            None
        }
    }
}

fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
