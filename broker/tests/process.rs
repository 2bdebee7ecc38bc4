//! The program as its operators and their scripts see it.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// Nothing here takes long; whatever takes this long will not come.
const DEADLINE: Duration = Duration::from_secs(20);

const FREE_PORTS: [&str; 10] = [
    "--clients",
    "tcp://127.0.0.1:0",
    "--workers",
    "tcp://127.0.0.1:0",
    "--knowledge",
    "tcp://127.0.0.1:0",
    "--http",
    "none",
    "--durability",
    "memory",
];

fn broker() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ganger-broker"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A broker that is killed when the test is over, however it ends.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    log: Receiver<String>,
}

impl Running {
    fn start(flags: &[&str]) -> Self {
        Self::spawn(broker().args(FREE_PORTS).args(flags))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut err = child.stderr.take().unwrap();
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            let _ = sender.send(text);
        });
        Self { child, out, log }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits until it has said that it is ready; returns what it listens on.
    fn ready(&mut self) -> [String; 3] {
        let lines = [self.line(), self.line(), self.line()];
        assert_eq!(self.line(), "ready");
        lines
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits for its end; returns the exit code and what it logged.
    fn end(mut self) -> (Option<i32>, String) {
        // It closes its log by ending.
        let log = self.log.recv_timeout(DEADLINE).expect("the broker ends in time");
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_says_where_it_listens_and_ends_well_when_asked() {
    for signal in ["-TERM", "-INT"] {
        let mut broker = Running::start(&["--log-format", "json"]);
        for (line, name) in broker.ready().iter().zip(["clients", "workers", "knowledge"]) {
            let port = line.strip_prefix(&format!("{name} tcp://127.0.0.1:")).unwrap();
            assert!(port.parse::<u16>().unwrap() > 0, "{line}");
        }
        broker.signal(signal);
        assert_eq!(broker.out.by_ref().lines().count(), 0, "nothing else is printed");
        let (code, log) = broker.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.lines().all(|line| line.starts_with('{')), "{log}");
        assert!(log.contains("draining") && log.contains("stopped"), "{log}");
    }
}

fn refused(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, stdout } = command.output().unwrap();
    assert!(stdout.is_empty());
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("ganger-broker: "), "{text}");
    (status.code(), text)
}

#[test]
fn bad_settings_are_named_in_one_line_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ganger.toml");
    std::fs::write(&file, "liveness = 3\nbeat = '1s'\n").unwrap();
    for (flags, says) in [
        (&["--liveness", "x"][..], "'--liveness <COUNT>'"),
        (&["--liveness", "1"], "--liveness: allowed: 2 to 1000"),
        (&["--livenes", "3"], "'--livenes'"),
        (&["--clients", "tcp://0.0.0.0:0"], "--insecure"),
        (&["--config", file.to_str().unwrap()], "ganger.toml:2: there is no setting \"beat\""),
        (&["--config", "/nowhere"], "/nowhere: "),
        (&["run"], "'run'"),
    ] {
        let (code, text) = refused(broker().args(flags));
        assert!(code == Some(2) && text.contains(says), "{flags:?}: {code:?} {text}");
    }
    let (code, text) = refused(broker().env("GANGER_HEARTBEAT", "fast"));
    assert!(code == Some(2) && text.contains("GANGER_HEARTBEAT: \"fast\""), "{text}");
}

#[test]
fn a_port_in_use_is_named_with_its_flag_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", taken.local_addr().unwrap());
    for flag in ["--clients", "--workers", "--knowledge"] {
        let flags = FREE_PORTS.chunks(2).flat_map(|pair| match pair[0] == flag {
            true => [flag, endpoint.as_str()],
            false => [pair[0], pair[1]],
        });
        let (code, text) = refused(broker().args(flags));
        assert!(code == Some(1) && text.contains(&endpoint) && text.contains(flag), "{text}");
    }
}

#[test]
fn environment_and_file_are_heard() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ganger.toml");
    std::fs::write(
        &file,
        "workers = 'tcp://127.0.0.1:0'\nknowledge = 'tcp://127.0.0.1:0'\ndurability = 'memory'\n",
    )
    .unwrap();
    let mut command = broker();
    command.env("GANGER_CONFIG", &file).env("GANGER_CLIENTS", "tcp://[::1]:0").env("GANGER_LOG", "off");
    command.env("GANGER_HTTP", "none");
    let mut broker = Running::spawn(&mut command);
    let [clients, workers, _] = broker.ready();
    assert!(clients.starts_with("clients tcp://[::1]:") && workers.starts_with("workers tcp://127.0.0.1:"));
    broker.signal("-TERM");
    assert_eq!(broker.end(), (Some(0), String::new()));
}
