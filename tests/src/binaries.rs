//! Where the programs under test are.
//!
//! They are built with the profile of the test itself, into the same target directory, so that `cargo test`
//! alone always tests the code that is on disk. `GANGER_TEST_BINARIES=FOLDER` tests programs that were built
//! some other way instead.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The broker.
pub const BROKER: &str = "ganger-broker";
/// The stock worker.
pub const WORKER: &str = "ganger-worker";
/// The command line.
pub const CLIENT: &str = "ganger";
/// The worker that keeps a diary; see [`diary`](crate::diary).
pub const DIARIST: &str = "ganger-diarist";

/// The path of a program of this workspace, freshly built.
///
/// # Panics
/// When it cannot be built.
pub fn path(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(build);
    let path = directory.join(name);
    assert!(path.is_file(), "{} was not built", path.display());
    path
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| unreachable!("this crate has a parent"))
}

/// Builds once in this process. Processes that do this at the same time wait for each other on the lock
/// that cargo takes of the target directory.
fn build() -> PathBuf {
    if let Some(folder) = std::env::var_os("GANGER_TEST_BINARIES") {
        return folder.into();
    }
    let (target, profile) = target_and_profile();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--workspace", "--bins", "--target-dir"]).arg(&target);
    match profile.as_str() {
        "debug" => &mut command,
        other => command.args(["--profile", other]),
    };
    // What cargo tells this test about itself would make the inner build look like another one.
    for (name, _) in std::env::vars_os() {
        let is_ours = name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if is_ours {
            command.env_remove(name);
        }
    }
    let output = command.current_dir(repository()).output().unwrap_or_else(|error| panic!("cargo: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the programs under test do not build:\n{text}");
    target.join(profile)
}

/// A test runs from `TARGET/PROFILE/deps/NAME-HASH`, a program from `TARGET/PROFILE/NAME`.
fn target_and_profile() -> (PathBuf, String) {
    let own = std::env::current_exe().unwrap_or_else(|error| panic!("the path of this test: {error}"));
    let deps = own.ancestors().find(|path| path.file_name().is_some_and(|name| name == "deps"));
    let directory = deps
        .unwrap_or(&own)
        .parent()
        .unwrap_or_else(|| panic!("{} is nothing that cargo built", own.display()));
    let profile = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (directory.parent().unwrap_or(directory).to_owned(), profile)
}
