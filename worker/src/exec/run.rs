//! Running one program for one task.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::Notify;
use uuid::Uuid;

use super::config::Program;
use super::group::{Group, die_with_worker};
use crate::error::HandlerError;
use crate::task::{Context, Task};

/// How much of the end of standard error goes into the error text. With what stands before it, it still
/// fits the longest text, which would be cut at its end.
const STDERR_TAIL: usize = ganger_common::limits::TEXT_BYTES_MAX - 64;
/// How much is read at a time.
const READ_BYTES: usize = 64 << 10;
/// How long the pipes of a program may stay open after its group was killed.
const PIPES_CLOSE_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn run(program: &Program, task: &Task, context: &Context) -> Result<Bytes, HandlerError> {
    let attempt = context.attempt().0;
    let scratch = match &program.cwd {
        Some(_) => None,
        None => Some(Scratch::new().map_err(|error| {
            HandlerError::new(format_args!("cannot make a directory to run in: {error}"))
        })?),
    };
    let folder = scratch.as_ref().map(|scratch| scratch.0.as_path()).or(program.cwd.as_deref());
    let argv = fill(&program.argv, &task.id.to_string(), attempt, &task.kind);
    let (mut child, mut group) = start(program, &argv, folder, context)?;
    let ran = tokio::select! {
        ran = to_its_end(&mut child, &mut group, &task.payload, program.output_max) => ran,
        () = context.cancelled() => return Err(HandlerError::from("it was stopped")),
        () = timeout(program) => {
            let limit = program.timeout.unwrap_or_default();
            return Err(HandlerError::new(format_args!("it ran for longer than its limit of {limit:?}")));
        }
    };
    judge(program, ran)
}

/// How a program ended.
enum Ran {
    /// By itself, with this on standard output and at the end of standard error.
    Exited { status: io::Result<ExitStatus>, output: io::Result<Vec<u8>>, tail: String },
    /// It wrote more than it may.
    TooMuch,
    /// Something that it started outlives its group and keeps its output open.
    Unclosed,
}

async fn to_its_end(child: &mut Child, group: &mut Group, payload: &[u8], output_max: usize) -> Ran {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let too_much = Notify::new();
    let talk = async {
        tokio::join!(feed(stdin, payload), read_output(stdout, output_max, &too_much), read_tail(stderr))
    };
    tokio::pin!(talk);
    let mut told = None;
    let status = loop {
        tokio::select! {
            heard = &mut talk, if told.is_none() => told = Some(heard),
            () = too_much.notified() => return Ran::TooMuch,
            status = child.wait() => break status,
        }
    };
    // What it started and left behind would keep its pipes open.
    group.kill();
    let told = match told {
        Some(told) => Some(told),
        None => tokio::time::timeout(PIPES_CLOSE_WITHIN, talk).await.ok(),
    };
    match told {
        Some(((), Some(output), tail)) => Ran::Exited { status, output, tail },
        Some(((), None, _)) => Ran::TooMuch,
        None => Ran::Unclosed,
    }
}

fn start(
    program: &Program,
    argv: &[String],
    folder: Option<&Path>,
    context: &Context,
) -> Result<(Child, Group), HandlerError> {
    let (file, arguments) = argv.split_first().ok_or_else(|| HandlerError::from("there is no program"))?;
    let mut command = Command::new(file);
    command.args(arguments).env_clear().envs(&program.env);
    if let Some(trace) = context.trace() {
        command.env("TRACEPARENT", trace.to_string());
        match context.trace_state() {
            Some(state) => command.env("TRACESTATE", state.as_str()),
            // What the worker itself was started with belongs to another trace.
            None => command.env_remove("TRACESTATE"),
        };
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    die_with_worker(&mut command);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    // Another worker may have the program that is missing here.
    let child =
        command.spawn().map_err(|error| HandlerError::new(format_args!("cannot start {file}: {error}")))?;
    let group = Group::of(&child);
    Ok((child, group))
}

async fn timeout(program: &Program) {
    match program.timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

fn fill(argv: &[String], task: &str, attempt: u32, kind: &str) -> Vec<String> {
    let fill = |(place, argument): (usize, &String)| match place {
        0 => argument.clone(),
        _ => fill_one(argument, task, attempt, kind),
    };
    argv.iter().enumerate().map(fill).collect()
}

/// One pass over the template, so that a placeholder in the name of a kind is not filled again.
fn fill_one(template: &str, task: &str, attempt: u32, kind: &str) -> String {
    let attempt = attempt.to_string();
    let values = [("{task}", task), ("{attempt}", attempt.as_str()), ("{kind}", kind)];
    let (mut filled, mut rest) = (String::new(), template);
    while let Some(start) = rest.find('{') {
        filled.push_str(&rest[..start]);
        rest = &rest[start..];
        match values.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                filled.push_str(value);
                rest = &rest[name.len()..];
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// Writes the payload while the output is read: a program may answer before it has read everything, and
/// both sides would wait for each other.
async fn feed(stdin: Option<ChildStdin>, payload: &[u8]) {
    if let Some(mut stdin) = stdin {
        // A program that does not want all of its input is no failure; its exit code says what is.
        let _ = stdin.write_all(payload).await;
        let _ = stdin.shutdown().await;
    }
}

/// None: there is more than there may be.
async fn read_output(
    stdout: Option<impl AsyncRead + Unpin>,
    most: usize,
    too_much: &Notify,
) -> Option<io::Result<Vec<u8>>> {
    let Some(mut stdout) = stdout else { return Some(Ok(Vec::new())) };
    let mut output = Vec::new();
    loop {
        output.reserve(READ_BYTES);
        match stdout.read_buf(&mut output).await {
            Ok(0) => return Some(Ok(output)),
            Ok(_) if output.len() > most => {
                too_much.notify_one();
                return None;
            }
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}

async fn read_tail(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let mut tail = VecDeque::with_capacity(STDERR_TAIL);
    let mut buffer = vec![0; READ_BYTES];
    // An error here only shortens a text.
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        tail.extend(&buffer[..count]);
        tail.drain(..tail.len().saturating_sub(STDERR_TAIL));
    }
    String::from_utf8_lossy(tail.make_contiguous()).trim().to_owned()
}

fn judge(program: &Program, ran: Ran) -> Result<Bytes, HandlerError> {
    let (status, output, tail) = match ran {
        Ran::Exited { status, output, tail } => (status, output, tail),
        Ran::TooMuch => {
            let text = format_args!("it wrote more than {} bytes to standard output", program.output_max);
            return Err(HandlerError::new(text).fatal());
        }
        Ran::Unclosed => return Err("something that it started keeps its output open".into()),
    };
    let ended = match (status, output) {
        (Ok(status), _) if !status.success() => describe(status),
        (Ok(_), Ok(output)) => return Ok(output.into()),
        (Ok(_), Err(error)) => format!("its output cannot be read: {error}"),
        (Err(error), _) => format!("its end is not known: {error}"),
    };
    Err(HandlerError::new(match tail.as_str() {
        "" => ended,
        tail => format!("{ended}: {tail}"),
    }))
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// An empty directory that is removed with everything in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("ganger-{}", Uuid::new_v4().simple()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a directory is left behind");
        }
    }
}
