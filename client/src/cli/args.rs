//! The command line, as clap reads it. Every option says its default.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ganger_client::DEFAULT_ENDPOINT;
use ganger_common::TaskId;
use ganger_common::view::StateFilter;
use ganger_transport::Endpoint;
use ganger_transport::door::PublicKey;

use super::bench::{BareArgs, BenchArgs};
use super::exit::Exit;
use super::journal::JournalArgs;
use super::keygen::KeygenArgs;
use super::knowledge::KnowledgeArgs;
use super::payload::PayloadArgs;
use super::submit::SubmitArgs;
use super::top::TopArgs;

/// Submit tasks to a Ganger broker, wait for them, and look after them.
///
/// Exit codes: 0 all is well; 1 something is broken or no broker answers; 2 the command line is wrong; 3 a
/// task that was waited for did not succeed; 4 the broker refused.
#[derive(Parser, Debug)]
#[command(name = "ganger", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every subcommand knows.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Where the broker listens for clients.
    #[arg(long, global = true, env = "GANGER_BROKER", value_name = "ENDPOINT",
          default_value = DEFAULT_ENDPOINT, value_parser = parse_endpoint, help_heading = "Everywhere")]
    pub(crate) broker: Endpoint,
    /// The file with your secret key, for a broker that asks for one; see `ganger keygen`. Default: none.
    #[arg(long, global = true, env = "GANGER_SECRET_KEY", value_name = "FILE", help_heading = "Everywhere")]
    pub(crate) secret_key: Option<PathBuf>,
    /// The public key of the broker, without which nobody is trusted. Default: none.
    #[arg(long, global = true, env = "GANGER_BROKER_KEY", value_name = "KEY", help_heading = "Everywhere")]
    pub(crate) broker_key: Option<PublicKey>,
    /// How long to wait for a broker, and for its answer. Tasks are waited for as long as they take.
    #[arg(long, global = true, value_name = "TIME", default_value = "10s",
          value_parser = parse_time, help_heading = "Everywhere")]
    pub(crate) timeout: Duration,
    /// Print JSON, one value a line.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// Print nothing but what was asked for: no headers, no hints, no progress.
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    pub(crate) quiet: bool,
    /// Whether to use colours; NO_COLOR in the environment turns `auto` off.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN",
          help_heading = "Everywhere")]
    pub(crate) color: Color,
    /// What to log to standard error, as in `debug` or `ganger_client=trace`. Default: warnings.
    #[arg(long, global = true, env = "GANGER_LOG", value_name = "FILTER", help_heading = "Everywhere")]
    pub(crate) log: Option<String>,
}

/// When to use colours.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Color {
    /// On a terminal.
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Submit a task, or a task a line.
    Submit(SubmitArgs),
    /// Wait for tasks, and print their outcomes as they come.
    Wait(WaitArgs),
    /// Print the result of a task that has one.
    Result(ResultArgs),
    /// Cancel tasks.
    Cancel(IdsArgs),
    /// Put failed or dead tasks back into their queues.
    Retry(RetryArgs),
    /// Let failed or dead tasks go, for good.
    Discard(DiscardArgs),
    /// Give out no more tasks of a kind. They are still taken, and wait; what runs goes on.
    Pause(KindArgs),
    /// Give out the tasks of a paused kind again.
    Resume(KindArgs),
    /// List tasks, oldest first.
    Tasks(TasksArgs),
    /// Say why a task is where it is.
    Explain(IdArgs),
    /// List workers.
    Workers,
    /// Let workers, or the broker, finish what they have and leave.
    Drain(DrainArgs),
    /// Show the broker's figures.
    Status,
    /// Watch rates, queues and workers, live in the terminal.
    Top(TopArgs),
    /// Read, change and follow the knowledge map.
    Knowledge(KnowledgeArgs),
    /// Send a broadcast to whoever listens now.
    Publish(PublishArgs),
    /// Print broadcasts as they come.
    Subscribe(SubscribeArgs),
    /// Look into the data directory of a broker that has stopped.
    #[command(disable_help_flag = true)]
    Journal(JournalArgs),
    /// Measure a broker and its workers.
    Bench(BenchArgs),
    /// Make a key, or a token for HTTP: the secret into a file, the public half to standard output.
    Keygen(KeygenArgs),
    /// A process of the bare relay that `bench --baseline` starts.
    #[command(hide = true)]
    BenchBare(BareArgs),
}

#[derive(Args, Debug)]
pub(crate) struct IdArgs {
    /// The task.
    #[arg(value_name = "ID")]
    pub(crate) id: TaskId,
}

#[derive(Args, Debug)]
pub(crate) struct IdsArgs {
    /// The tasks.
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<TaskId>,
}

#[derive(Args, Debug)]
pub(crate) struct WaitArgs {
    /// The tasks.
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<TaskId>,
    /// Give up after this; the tasks go on. Default: never.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) within: Option<Duration>,
}

#[derive(Args, Debug)]
pub(crate) struct ResultArgs {
    /// The task.
    #[arg(value_name = "ID")]
    pub(crate) id: TaskId,
    /// Print the bytes of the result and nothing else.
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RetryArgs {
    /// The tasks.
    #[arg(value_name = "ID", required_unless_present = "dead", conflicts_with = "dead")]
    pub(crate) ids: Vec<TaskId>,
    /// All tasks that are dead.
    #[arg(long)]
    pub(crate) dead: bool,
    /// Among the dead, only those of this kind.
    #[arg(long, value_name = "KIND", requires = "dead")]
    pub(crate) kind: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct DiscardArgs {
    /// The tasks.
    #[arg(value_name = "ID", conflicts_with_all = ["dead", "failed"],
          required_unless_present_any = ["dead", "failed"])]
    pub(crate) ids: Vec<TaskId>,
    /// All tasks that are dead.
    #[arg(long)]
    pub(crate) dead: bool,
    /// All tasks that failed.
    #[arg(long)]
    pub(crate) failed: bool,
    /// Among these, only those of this kind.
    #[arg(long, value_name = "KIND", conflicts_with = "ids")]
    pub(crate) kind: Option<String>,
    /// Do not ask whether that is meant.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct KindArgs {
    /// The kind.
    #[arg(value_name = "KIND", value_parser = parse_kind)]
    pub(crate) kind: String,
}

#[derive(Args, Debug)]
pub(crate) struct TasksArgs {
    /// Only tasks in this state: queued, parked, delayed, assigned, running, settled, succeeded, failed,
    /// cancelled, expired or dead. Default: any.
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    pub(crate) state: Option<StateFilter>,
    /// Only tasks of this kind. Default: any.
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Most tasks to list.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
}

#[derive(Args, Debug)]
pub(crate) struct DrainArgs {
    /// Workers by id or name.
    #[arg(value_name = "WORKER", conflicts_with_all = ["all", "itself"])]
    pub(crate) workers: Vec<String>,
    /// All workers.
    #[arg(long)]
    pub(crate) all: bool,
    /// The broker named by --broker itself: it takes nothing new, lets the workers finish, and ends.
    #[arg(long, conflicts_with = "all")]
    pub(crate) itself: bool,
    /// How long what runs may go on. Default: 30s.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) deadline: Option<Duration>,
}

#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    /// The topic.
    #[arg(value_name = "TOPIC")]
    pub(crate) topic: String,
    #[command(flatten)]
    pub(crate) body: PayloadArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SubscribeArgs {
    /// What the topics begin with. Default: all.
    #[arg(value_name = "TOPIC", default_value = "", hide_default_value = true)]
    pub(crate) topic: String,
    /// Leave after so many. Default: never.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) count: Option<u64>,
    /// Where the broker publishes. Default: on the port that it tells, on the same host.
    #[arg(long, value_name = "ENDPOINT", value_parser = parse_endpoint)]
    pub(crate) publications: Option<Endpoint>,
}

/// Where a file option points.
pub(crate) type FileArg = PathBuf;

/// Reads the command line.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Exit> {
    let cli = Cli::try_parse_from(args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Told(error.render().to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Exit::Usage("a subcommand is missing; see `ganger --help`".to_owned())
        }
        _ => Exit::Usage(one_line(&error.render().to_string())),
    })?;
    match &cli.command {
        // Nothing named must not mean everything.
        Command::Drain(drain) if drain.workers.is_empty() && !drain.all && !drain.itself => {
            let text = "drain: name a WORKER, or say --all for all of them or --itself for the broker";
            Err(Exit::Usage(text.to_owned()))
        }
        _ => Ok(cli),
    }
}

/// What is wrong, in one line: clap takes several, and adds the usage.
fn one_line(text: &str) -> String {
    let said = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let said = said.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let line = said.collect::<Vec<_>>().join(" ");
    format!("{}; see `ganger --help`", line.strip_prefix("error: ").unwrap_or(&line))
}

pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as in 500ms, 10s or 5m"))
}

pub(crate) fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    match text.parse() {
        Ok(Endpoint::Mem { .. }) => Err("mem:// is within one process; use tcp:// or ipc://".to_owned()),
        Ok(endpoint) => Ok(endpoint),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_kind(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("a kind has a name".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn parse_state(text: &str) -> Result<StateFilter, String> {
    let known = StateFilter::ALL.into_iter().find(|state| state.as_str() == text);
    known.ok_or_else(|| {
        let all = StateFilter::ALL.map(StateFilter::as_str);
        format!("allowed are {}", all.join(", "))
    })
}
