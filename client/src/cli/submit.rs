//! `submit`: one task, the same task many times, or a task a line.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use ganger_client::{NewTask, PipeConfig, PipeItem};
use ganger_common::message::Durability;
use ganger_common::{Revision, TaskId, TaskOptions, TraceContext, TraceState};
use serde_json::json;

use super::args::{FileArg, parse_time};
use super::context::{Context, within};
use super::exit::Exit;
use super::lines;
use super::payload::PayloadArgs;
use super::progress;
use super::wait::{judge, object, print, worse};

/// Submit a task and print its id; with --wait, its result. With --lines, a task a line from a file, and a
/// line of JSON for each task as it ends.
#[derive(Args, Clone, Debug)]
pub(crate) struct SubmitArgs {
    /// Which handler runs it.
    #[arg(value_name = "KIND", required_unless_present = "lines")]
    pub(crate) kind: Option<String>,
    #[command(flatten)]
    pub(crate) payload: PayloadArgs,
    /// Read a task from each line of this file, `-` for standard input, and print a line of JSON for each
    /// as it ends. A line is {"kind": …, "payload": …} and options; with KIND it is the payload alone.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["payload", "file", "id", "count"])]
    pub(crate) lines: Option<FileArg>,
    /// Wait for the outcome.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Give up waiting after this; the task goes on. Default: never.
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "wait")]
    pub(crate) within: Option<Duration>,
    #[command(flatten)]
    pub(crate) options: OptionArgs,
    /// The name of the task: the same id again is the same task. Default: a fresh one.
    #[arg(long, value_name = "UUID", conflicts_with = "count")]
    pub(crate) id: Option<TaskId>,
    /// Submit so many of them.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: u64,
}

/// What may be asked for with a task.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct OptionArgs {
    /// Higher runs first among tasks of the same kind; from -32768 to 32767. Default: 0.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    priority: Option<i16>,
    /// Not before this has passed. Default: at once.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    delay: Option<Duration>,
    /// If it has not started by then, it expires. Default: never.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    ttl: Option<Duration>,
    /// Longest run of one attempt. Default: no limit.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    run_limit: Option<Duration>,
    /// Tries that may fail or time out, the first included. Default: 3.
    #[arg(long, value_name = "NUMBER")]
    max_attempts: Option<u32>,
    /// First pause after a failure; each further one doubles it. Default: 1s.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    backoff: Option<Duration>,
    /// Workers that may die under it. Default: 3.
    #[arg(long, value_name = "NUMBER")]
    crash_limit: Option<u32>,
    /// Only on a worker that has applied this knowledge revision. Default: any.
    #[arg(long, value_name = "REVISION")]
    knowledge: Option<u64>,
    /// The span that it comes from, as a W3C traceparent. Default: TRACEPARENT of the environment, with its
    /// TRACESTATE, if it is one; else none.
    #[arg(long, value_name = "TRACEPARENT")]
    traceparent: Option<TraceContext>,
    /// What goes with --traceparent, as a W3C tracestate. Default: nothing.
    #[arg(long, value_name = "TRACESTATE", requires = "traceparent")]
    tracestate: Option<TraceState>,
    /// Do not send the outcome; `ganger result` fetches it.
    #[arg(long, conflicts_with = "wait")]
    pub(crate) detach: bool,
}

impl OptionArgs {
    pub(crate) fn options(&self) -> TaskOptions {
        let millis = |time: Duration| time.as_millis().min(u128::from(u64::MAX)) as u64;
        let (trace, trace_state) = self.trace();
        TaskOptions {
            priority: self.priority.unwrap_or_default(),
            delay_ms: self.delay.map_or(0, millis),
            ttl_ms: self.ttl.map(millis),
            run_limit_ms: self.run_limit.map(millis),
            max_attempts: self.max_attempts,
            crash_limit: self.crash_limit,
            backoff_ms: self.backoff.map(millis),
            knowledge: self.knowledge.map(Revision),
            detached: self.detach,
            events: false,
            trace,
            trace_state,
            account: None,
        }
    }

    /// What stands in the environment was set for whoever traces, so a text that is none is no mistake of this
    /// command.
    fn trace(&self) -> (Option<TraceContext>, Option<TraceState>) {
        if self.traceparent.is_some() {
            return (self.traceparent, self.tracestate.clone());
        }
        let trace = variable("TRACEPARENT");
        (trace, trace.and_then(|_| variable("TRACESTATE")))
    }
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

pub(crate) async fn run(context: &mut Context, args: SubmitArgs) -> Result<(), Exit> {
    if args.lines.is_some() {
        return lines::run(context, args).await;
    }
    let payload = args.payload.read()?;
    let kind = args.kind.clone().unwrap_or_default();
    let task = NewTask::new(kind, payload).options(args.options.options());
    match args.count {
        1 => one(context, &args, task).await,
        _ => many(context, &args, task).await,
    }
}

async fn one(context: &mut Context, args: &SubmitArgs, mut task: NewTask) -> Result<(), Exit> {
    let client = context.client().await?;
    if let Some(id) = args.id {
        task = task.id(id);
    }
    let mut handle = context.answer(client.send(task)).await?;
    let id = handle.id();
    let durability = context.answer(handle.accepted()).await?;
    if !args.wait {
        return print_accepted(context, id, durability);
    }
    // Standard output belongs to the result.
    context.output.hint(&format!("taken as {id}, durability: {}", durability.as_str()));
    let waiting = handle.outcome();
    let end = match args.within {
        None => waiting.await,
        Some(after) => match within(after, async { Ok(waiting.await) }).await {
            Ok(end) => end,
            Err(error) => return Err(Exit::Failed(format!("{error}; task {id} goes on"))),
        },
    };
    match context.output.is_json() {
        true => {
            let mut object = object(id, &end);
            object.insert("durability".to_owned(), durability.as_str().into());
            context.output.json(&object)?;
        }
        false => print(&mut context.output, id, &end, false)?,
    }
    judge(&end)
}

fn print_accepted(context: &mut Context, id: TaskId, durability: Durability) -> Result<(), Exit> {
    match context.output.is_json() {
        true => context.output.json(&json!({ "id": id, "durability": durability.as_str() })),
        false => context.output.line(&id.to_string()),
    }
}

/// The same task many times: ids as they are taken, or outcomes as they come.
async fn many(context: &mut Context, args: &SubmitArgs, task: NewTask) -> Result<(), Exit> {
    let client = context.client().await?;
    // What nobody waits for need not come back.
    let task = if args.wait { task } else { task.detached() };
    let bar = progress::bar(&context.output, Some(args.count));
    let (mut sender, mut receiver) = client.pipe(PipeConfig::default());
    let count = args.count;
    let sending = async move {
        for _ in 0..count {
            sender.send(task.clone()).await?;
        }
        Ok::<(), Exit>(())
    };
    let receiving = async {
        let mut whole = Ok(());
        let mut items = Vec::new();
        while receiver.recv_many(&mut items).await > 0 {
            bar.inc(items.len() as u64);
            for item in items.drain(..) {
                let one = bar.suspend(|| print_item(context, item, args.wait))?;
                whole = worse(whole, one);
            }
        }
        bar.finish_and_clear();
        whole
    };
    let (sent, received) = tokio::join!(sending, receiving);
    sent.and(received)
}

/// Prints what came of one task; returns how that is to be judged.
fn print_item(context: &mut Context, item: PipeItem, waits: bool) -> Result<Result<(), Exit>, Exit> {
    let (id, end) = match item {
        PipeItem::Accepted { .. } => return Ok(Ok(())),
        PipeItem::Settled { outcome, .. } => (outcome.id, Ok(outcome)),
        PipeItem::Failed { id, error, .. } => (id, Err(error)),
    };
    if !waits && end == Err(ganger_client::Error::Detached) {
        match context.output.is_json() {
            true => context.output.json(&json!({ "id": id }))?,
            false => context.output.line(&id.to_string())?,
        }
        return Ok(Ok(()));
    }
    print(&mut context.output, id, &end, true)?;
    Ok(judge(&end))
}
