//! `submit --lines`: JSON lines in, JSON lines out. Any program that can print can use Ganger with this.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_client::{Error, NewTask, PipeConfig, PipeItem, PipeSender, json};
use ganger_common::limits::PAYLOAD_BYTES_MAX;
use ganger_common::{Revision, TaskId, TaskOptions, TraceContext, TraceState};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;

use super::args::FileArg;
use super::context::Context;
use super::exit::Exit;
use super::progress;
use super::submit::SubmitArgs;
use super::wait::{judge, object, worse};

/// Longest line. JSON may spell a byte with six characters.
const LINE_BYTES_MAX: u64 = 6 * PAYLOAD_BYTES_MAX as u64 + (64 << 10);
/// Lines read ahead.
const AHEAD: usize = 1_024;

/// A task as a line spells it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineTask {
    kind: Option<String>,
    #[serde(default)]
    payload: Value,
    /// A payload to be sent as it is.
    raw: Option<String>,
    id: Option<TaskId>,
    priority: Option<i16>,
    delay: Option<Time>,
    ttl: Option<Time>,
    run_limit: Option<Time>,
    max_attempts: Option<u32>,
    crash_limit: Option<u32>,
    backoff: Option<Time>,
    knowledge: Option<u64>,
    detach: Option<bool>,
    trace: Option<TraceContext>,
    trace_state: Option<TraceState>,
}

/// A time as people write it.
struct Time(Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::args::parse_time(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// How lines are to be read.
pub(crate) struct Reading {
    kind: Option<Arc<str>>,
    raw: bool,
    defaults: TaskOptions,
}

impl Reading {
    pub(crate) fn new(args: &SubmitArgs) -> Self {
        Self {
            kind: args.kind.as_deref().map(Arc::from),
            raw: args.payload.is_raw(),
            defaults: args.options.options(),
        }
    }

    /// One line as a task.
    pub(crate) fn task(&self, line: &[u8]) -> Result<NewTask, String> {
        let Some(kind) = &self.kind else { return self.whole_task(line) };
        let payload = match self.raw {
            true => Bytes::copy_from_slice(line),
            false => pack(&serde_json::from_slice(line).map_err(|error| error.to_string())?)?,
        };
        Ok(NewTask::new(kind.clone(), payload).options(self.defaults.clone()))
    }

    fn whole_task(&self, line: &[u8]) -> Result<NewTask, String> {
        if !line.trim_ascii_start().starts_with(b"{") {
            return Err(r#"a line is an object, as in {"kind": "echo", "payload": 1}"#.to_owned());
        }
        let line: LineTask = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let kind = line.kind.ok_or("the line names no kind, and the command line does not either")?;
        let payload = match (line.raw, line.payload) {
            (
                Some(_),
                Value::Object(_) | Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_),
            ) => {
                return Err("payload and raw exclude each other".to_owned());
            }
            (Some(raw), Value::Null) => Bytes::from(raw),
            (None, Value::Null) => Bytes::new(),
            (None, payload) => pack(&payload)?,
        };
        let millis = |time: Time| time.0.as_millis().min(u128::from(u64::MAX)) as u64;
        let defaults = &self.defaults;
        // What goes with one span does not go with another.
        let trace_state = match line.trace {
            Some(_) => line.trace_state,
            None => line.trace_state.or_else(|| defaults.trace_state.clone()),
        };
        let options = TaskOptions {
            priority: line.priority.unwrap_or(defaults.priority),
            delay_ms: line.delay.map_or(defaults.delay_ms, millis),
            ttl_ms: line.ttl.map(millis).or(defaults.ttl_ms),
            run_limit_ms: line.run_limit.map(millis).or(defaults.run_limit_ms),
            max_attempts: line.max_attempts.or(defaults.max_attempts),
            crash_limit: line.crash_limit.or(defaults.crash_limit),
            backoff_ms: line.backoff.map(millis).or(defaults.backoff_ms),
            knowledge: line.knowledge.map(Revision).or(defaults.knowledge),
            detached: line.detach.unwrap_or(defaults.detached),
            events: false,
            trace: line.trace.or(defaults.trace),
            trace_state,
            account: None,
        };
        let task = NewTask::new(kind, payload).options(options);
        Ok(match line.id {
            Some(id) => task.id(id),
            None => task,
        })
    }
}

fn pack(value: &Value) -> Result<Bytes, String> {
    json::to_msgpack(value).map(Bytes::from).map_err(|error| error.to_string())
}

/// What became of one line on the way in.
enum Read1 {
    /// It was handed in under the next tag.
    Task { line: u64 },
    /// It is no task.
    Bad { line: u64, why: String },
    /// There will be no more.
    Broken(String),
}

pub(crate) async fn run(context: &mut Context, args: SubmitArgs) -> Result<(), Exit> {
    let path = args.lines.clone().unwrap_or_default();
    let input = open(&path)?;
    let client = context.client().await?;
    let (sender, mut receiver) = client.pipe(PipeConfig::default());
    let (told, mut telling) = mpsc::channel(AHEAD);
    let (lines, reading) = mpsc::channel(AHEAD);
    std::thread::spawn(move || read_lines(input, &lines));
    let feeding = tokio::spawn(feed(Reading::new(&args), reading, sender, told));

    let bar = progress::bar(&context.output, None);
    let mut book = Book::default();
    let mut whole = Ok(());
    let mut items = Vec::new();
    let mut is_fed = false;
    loop {
        // What was read is told before what came of it can be looked up.
        tokio::select! {
            biased;
            read = telling.recv(), if !is_fed => match read {
                Some(read) => whole = worse(whole, book.note(context, read)?),
                None => is_fed = true,
            },
            count = receiver.recv_many(&mut items) => {
                while let Ok(read) = telling.try_recv() {
                    whole = worse(whole, book.note(context, read)?);
                }
                bar.inc(items.len() as u64);
                for item in items.drain(..) {
                    whole = worse(whole, book.print(context, item)?);
                }
                context.output.flush()?;
                if count == 0 && is_fed {
                    break;
                }
            }
        }
    }
    bar.finish_and_clear();
    let fed = feeding.await.unwrap_or_else(|error| Err(Exit::Failed(error.to_string())));
    fed.and(whole)
}

fn open(path: &FileArg) -> Result<Box<dyn Read + Send>, Exit> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let cannot = |error| Exit::Usage(format!("--lines: cannot read {}: {error}", path.display()));
    Ok(Box::new(std::fs::File::open(path).map_err(cannot)?))
}

/// Reads lines until there are no more or nobody wants them. Blank ones only count.
fn read_lines(input: Box<dyn Read + Send>, lines: &mpsc::Sender<Result<(u64, Vec<u8>), String>>) {
    let mut input = BufReader::new(input);
    for number in 1.. {
        let mut line = Vec::new();
        let item = match input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) if line.len() as u64 == LINE_BYTES_MAX => {
                Err(format!("line {number} is longer than {LINE_BYTES_MAX} bytes"))
            }
            Ok(_) => Ok((number, line.trim_ascii_end().to_vec())),
            Err(error) => Err(format!("cannot read line {number}: {error}")),
        };
        let is_last = item.is_err();
        let is_blank = matches!(&item, Ok((_, line)) if line.trim_ascii().is_empty());
        if (!is_blank && lines.blocking_send(item).is_err()) || is_last {
            return;
        }
    }
}

/// Hands lines in as tasks.
async fn feed(
    reading: Reading,
    mut lines: mpsc::Receiver<Result<(u64, Vec<u8>), String>>,
    mut sender: PipeSender,
    told: mpsc::Sender<Read1>,
) -> Result<(), Exit> {
    while let Some(item) = lines.recv().await {
        let (line, text) = match item {
            Ok(item) => item,
            Err(why) => {
                // The other end only leaves when everything is over.
                let _ = told.send(Read1::Broken(why)).await;
                break;
            }
        };
        let note = match reading.task(&text) {
            Ok(task) => {
                if told.send(Read1::Task { line }).await.is_err() {
                    break;
                }
                sender.send(task).await?;
                continue;
            }
            Err(why) => Read1::Bad { line, why },
        };
        if told.send(note).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Which line a tag came from.
#[derive(Default)]
struct Book {
    lines: HashMap<u32, u64>,
    next_tag: u32,
}

impl Book {
    fn note(&mut self, context: &mut Context, read: Read1) -> Result<Result<(), Exit>, Exit> {
        match read {
            Read1::Task { line } => {
                self.lines.insert(self.next_tag, line);
                self.next_tag = self.next_tag.wrapping_add(1);
                Ok(Ok(()))
            }
            Read1::Bad { line, why } => {
                let object =
                    serde_json::json!({ "line": line, "outcome": null, "error": why, "code": "bad_line" });
                context.output.json(&object)?;
                Ok(Err(Exit::Unsuccessful))
            }
            Read1::Broken(why) => Ok(Err(Exit::Failed(why))),
        }
    }

    fn print(&mut self, context: &mut Context, item: PipeItem) -> Result<Result<(), Exit>, Exit> {
        let (tag, id, end) = match item {
            PipeItem::Accepted { .. } => return Ok(Ok(())),
            PipeItem::Settled { tag, outcome } => (tag, outcome.id, Ok(outcome)),
            PipeItem::Failed { tag, id, error } => (tag, id, Err(error)),
        };
        let line = self.lines.remove(&tag);
        // A detached task has been taken, which is all that its line asked for.
        if end == Err(Error::Detached) {
            context.output.json(&serde_json::json!({ "id": id, "outcome": null, "line": line }))?;
            return Ok(Ok(()));
        }
        let mut object = object(id, &end);
        object.insert("line".to_owned(), line.into());
        context.output.json(&object)?;
        // One refused line among many is not the end of the whole: its own line says why.
        Ok(judge(&end).map_err(|exit| match exit {
            Exit::Refused(_) => Exit::Unsuccessful,
            other => other,
        }))
    }
}
