//! A worker of the tests: it serves the kinds of `ganger_tests::work` and writes down what it runs.
//!
//! The time that a task takes is what these kinds are for, so it comes from the metronome.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ganger_tests::diary::{Diary, Mark};
use ganger_tests::wait::{self, Metronome};
use ganger_tests::work::{self, Replica};
use ganger_worker::{Context, HandlerError, Task, Worker};
use tokio::signal::unix::{SignalKind, signal};

/// Longest that a gate is shut, far beyond every deadline of a test. The task fails then, and says why.
const GATE_SHUT_MAX: Duration = Duration::from_secs(3_600);

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args = Args::read()?;
    let book = Arc::new(Book { diary: Diary::create(&args.diary, &args.name)?, name: args.name.clone() });
    let mut worker = Worker::builder().connect(args.broker).name(args.name.clone()).slots(args.slots);
    if let Some(knowledge) = args.knowledge {
        worker = worker.knowledge(knowledge);
    }
    for kind in work::KINDS {
        let book = book.clone();
        worker = worker.handler(kind, move |task, context| run(book.clone(), task, context));
    }
    let kind = work::replica_kind(&args.name);
    let worker = worker.handler(kind, move |task, context| run(book.clone(), task, context)).build()?;
    let mut term = signal(SignalKind::terminate())?;
    let stopped = worker.run(async move { term.recv().await.unwrap_or_default() }).await?;
    tracing::info!(?stopped, "the diary is closed");
    Ok(ExitCode::SUCCESS)
}

struct Args {
    broker: String,
    knowledge: Option<String>,
    name: String,
    slots: u32,
    diary: PathBuf,
}

impl Args {
    fn read() -> anyhow::Result<Self> {
        let mut args = std::env::args().skip(1);
        let mut read = Self {
            broker: String::new(),
            knowledge: None,
            name: "diarist".to_owned(),
            slots: 1,
            diary: PathBuf::from("."),
        };
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| anyhow::anyhow!("{flag} needs a value"))?;
            match flag.as_str() {
                "--broker" => read.broker = value,
                "--knowledge" => read.knowledge = Some(value),
                "--name" => read.name = value,
                "--slots" => read.slots = value.parse()?,
                "--diary" => read.diary = value.into(),
                other => anyhow::bail!("{other} is not a flag of this program"),
            }
        }
        Ok(read)
    }
}

struct Book {
    diary: Diary,
    name: String,
}

/// Runs one task of any kind between two lines of the diary.
async fn run(book: Arc<Book>, task: Task, context: Context) -> Result<Vec<u8>, HandlerError> {
    let (token, checksum) = (context.fencing_token(), crc32fast::hash(&task.payload));
    book.diary.write(Mark::Start, task.id, token, checksum);
    let result = work(&book.name, &task, &context).await;
    let mark = if result.is_ok() { Mark::Finish } else { Mark::GiveUp };
    book.diary.write(mark, task.id, token, checksum);
    result
}

async fn work(name: &str, task: &Task, context: &Context) -> Result<Vec<u8>, HandlerError> {
    let argument = work::argument(&task.payload);
    let attempt = context.attempt().0;
    match &*task.kind {
        work::SLEEP => Metronome::once(Duration::from_micros(argument.parse()?)).await,
        work::MIRROR => {
            tokio::select! {
                () = Metronome::once(Duration::from_micros(argument.parse()?)) => {}
                () = context.cancelled() => return Err("stopped before the mirror".into()),
            }
            return Ok(work::mirrored(attempt, name, &task.payload));
        }
        work::SPIN => spin(Duration::from_micros(argument.parse()?)),
        work::GATE => pass_gate(Path::new(argument), name, context).await?,
        work::FLAKY if attempt <= argument.parse()? => return Err("flaky as it was told to be".into()),
        work::CRASH => crash(attempt, argument, name, context).await?,
        work::REVISION => return Ok(context.knowledge().revision().to_string().into_bytes()),
        kind if kind == work::replica_kind(name) => return Ok(replica(argument, context)),
        _ => {}
    }
    Ok(work::signature(attempt, name).into_bytes())
}

fn spin(span: Duration) {
    let start = Instant::now();
    while start.elapsed() < span {
        std::hint::spin_loop();
    }
}

async fn pass_gate(path: &Path, name: &str, context: &Context) -> Result<(), HandlerError> {
    let own = PathBuf::from(format!("{}.{name}", path.display()));
    // The gate first: a worker that wakes from a long sleep has what it was sent meanwhile still before it,
    // and is to behave like one that has not read that it was given up.
    let look = async || match path.exists() || own.exists() {
        true => Some(Ok(())),
        false => context.is_cancelled().then(|| Err("stopped at the gate".into())),
    };
    let shut = || Err(format!("the gate {} did not open", path.display()).into());
    wait::found_within(GATE_SHUT_MAX, look).await.unwrap_or_else(shut)
}

/// Ends the process as an accident would, once the gate is open.
async fn crash(attempt: u32, argument: &str, name: &str, context: &Context) -> Result<(), HandlerError> {
    let (crashes, gate) = argument.split_once(' ').ok_or("a crash needs a count and a gate")?;
    if attempt > crashes.parse()? {
        return Ok(());
    }
    pass_gate(Path::new(gate), name, context).await?;
    std::process::abort();
}

fn replica(topics: &str, context: &Context) -> Vec<u8> {
    let knowledge = context.knowledge();
    let mut replica = Replica { revision: knowledge.revision().0, ..Replica::default() };
    for topic in topics.split(',').filter(|topic| !topic.is_empty()) {
        let entries = knowledge.topic(topic).into_iter();
        replica
            .entries
            .extend(entries.map(|(key, value)| (format!("{topic}/{key}"), crc32fast::hash(&value))));
    }
    serde_json::to_vec(&replica).unwrap_or_default()
}
