//! The demonstration, run as a user runs it, on a small picture.

use std::path::Path;
use std::process::{Command, Output};

fn demo(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_demo")).args(args).current_dir(folder).output().unwrap()
}

#[test]
fn counts_are_right_although_a_worker_is_killed_halfway() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text.md"), "one two two three three three\n".repeat(2_000)).unwrap();
    let output = demo(folder.path(), &["--height", "90", "text.md"]);
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{said}");
    assert!(said.contains("12000 words, 3 different; most often: three 6000, two 4000, one 2000"), "{said}");
    assert!(said.contains("the same"), "{said}");
    assert!(told.contains("is killed (SIGKILL)"), "{told}");
    assert!(said.contains("killed halfway"), "{said}");
    for pid in worker_processes(&said) {
        assert!(!Path::new("/proc").join(&pid).exists(), "process {pid} is still there");
    }
    let picture = std::fs::File::open(folder.path().join("mandelbrot.png")).unwrap();
    let reader = png::Decoder::new(std::io::BufReader::new(picture)).read_info().unwrap();
    assert_eq!((reader.info().width, reader.info().height), (160, 90));
}

/// The process ids in the table of workers.
fn worker_processes(said: &str) -> Vec<String> {
    let rows = said.lines().filter(|line| line.contains("worker-") && line.starts_with('│'));
    let pids: Vec<String> = rows.filter_map(|row| Some(row.split_whitespace().nth(2)?.to_owned())).collect();
    assert_eq!(pids.len(), 4, "{said}");
    pids
}

#[test]
fn a_missing_file_is_named_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path(), &["missing.txt"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("missing.txt") && told.lines().count() == 1, "{told}");
    assert!(!folder.path().join("mandelbrot.png").exists());
}
