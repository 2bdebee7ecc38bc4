//! Every example, run as its first lines say, against a broker of its own.

use std::process::{Child, Command, Stdio};

use ganger_broker::{Broker, Config, RunningBroker};
use ganger_worker::{Worker, builtin};

/// A broker, and one worker process that the example itself provides.
struct Story {
    program: &'static str,
    broker: RunningBroker,
    worker: Option<Child>,
}

impl Story {
    fn begin(program: &'static str) -> Self {
        let broker = Broker::start(Config::on_free_ports()).unwrap();
        Self { program, broker, worker: None }
    }

    /// Tasks wait for a worker, so nobody has to wait until this one has arrived.
    fn with_worker(mut self) -> Self {
        let at = self.broker.endpoints().workers.to_string();
        let mut command = Command::new(self.program);
        command.args(["serve", "--broker", &at, "--name", "hand"]).stdout(Stdio::null());
        self.worker = Some(command.spawn().unwrap());
        self
    }

    /// What the example prints.
    fn tell(&self, args: &[&str]) -> String {
        let at = self.broker.endpoints().clients.to_string();
        let output = Command::new(self.program).args(args).args(["--broker", &at]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if let Some(worker) = &mut self.worker {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

#[test]
fn client_prints_a_result_for_each_job() {
    let story = Story::begin(env!("CARGO_BIN_EXE_client"));
    let at = story.broker.endpoints().workers.to_string();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = std::thread::spawn(move || {
        let worker = builtin::serve(Worker::builder().connect(at).slots(2), "sha256").build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(worker.run(async { stopped.await.unwrap() })).unwrap();
    });
    let said = story.tell(&["--jobs", "25"]);
    assert_eq!(said.lines().filter(|line| line.contains("  succeeded  ")).count(), 25, "{said}");
    // The digest of "job number 0", computed elsewhere.
    assert!(said.contains("5f8cffd51f453aed767b1543287993688d86420d9aa7be484dd076be4c5f57a1"), "{said}");
    stop.send(()).unwrap();
    worker.join().unwrap();
}

#[test]
fn wordcount_counts_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.txt", "b.txt"] {
        std::fs::write(folder.path().join(name), "red green red ".repeat(1_000)).unwrap();
    }
    let story = Story::begin(env!("CARGO_BIN_EXE_wordcount")).with_worker();
    let said = story.tell(&["count", folder.path().to_str().unwrap(), "--piece", "500"]);
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    assert_eq!(lines[..2], ["4000  red", "2000  green"]);
    assert!(lines[2].starts_with("6000 words in 2 files, 56 map tasks"), "{said}");
}

#[test]
fn mandelbrot_leaves_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.png");
    let story = Story::begin(env!("CARGO_BIN_EXE_mandelbrot")).with_worker();
    let size = ["--width", "64", "--height", "36", "--tile", "16"];
    let said = story.tell(&[&["render", "--picture", path.to_str().unwrap()], &size[..]].concat());
    assert!(said.starts_with("12 tiles in "), "{said}");
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let reader = png::Decoder::new(file).read_info().unwrap();
    assert_eq!((reader.info().width, reader.info().height), (64, 36));
}

#[test]
fn knowledge_changes_what_running_workers_say() {
    let story = Story::begin(env!("CARGO_BIN_EXE_knowledge")).with_worker();
    let said = story.tell(&["change", "--tasks", "200"]);
    let answers: Vec<&str> = said.lines().filter(|line| line.contains('×')).map(str::trim).collect();
    assert_eq!(answers, ["200 × hello, world", "200 × buenos días, world"]);
    assert!(said.contains("hand is at revision 2 of 2"), "{said}");
}

#[test]
fn custom_worker_shows_what_a_handler_can_do() {
    let story = Story::begin(env!("CARGO_BIN_EXE_custom_worker")).with_worker();
    let said = story.tell(&["show"]);
    for line in [
        "fetch: a page after 200 ms",
        "flaky: attempt 3 worked",
        "attempt 2 failed: attempt 2 did not work",
        "primes: 78498 in all",
        "endless primes: running: true",
        "endless primes: cancelled, 0 refused",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
}
