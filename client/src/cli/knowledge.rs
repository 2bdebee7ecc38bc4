//! `knowledge`: the versioned map that the broker leads.

use bytes::Bytes;
use clap::{Args, Subcommand};
use ganger_client::{Change, Entry, Learned, json};
use ganger_common::Revision;
use ganger_transport::Endpoint;
use serde_json::{Value, json};

use super::args::parse_endpoint;
use super::context::Context;
use super::exit::Exit;
use super::output::{Tone, cut, must, nice, number, size, text, toned};
use super::payload::PayloadArgs;
use super::wait::result_text;

#[derive(Args, Debug)]
pub(crate) struct KnowledgeArgs {
    #[command(subcommand)]
    command: KnowledgeCommand,
}

#[derive(Subcommand, Debug)]
enum KnowledgeCommand {
    /// Set a value, and print the revision of that change.
    Put {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        #[command(flatten)]
        value: PayloadArgs,
        /// Only if the key is at this revision now; 0: only if there is no such key.
        #[arg(long = "if", value_name = "REVISION")]
        expect: Option<u64>,
    },
    /// Print a value.
    Get {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        /// Print the bytes of the value and nothing else.
        #[arg(long, conflicts_with = "json")]
        raw: bool,
    },
    /// Remove a key, and print the revision of that change.
    Delete {
        /// The topic.
        topic: String,
        /// The key.
        key: String,
        /// Only if the key is at this revision now.
        #[arg(long = "if", value_name = "REVISION")]
        expect: Option<u64>,
    },
    /// List the entries of the topics that begin with PREFIX.
    List {
        /// What the topics begin with. Default: all.
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
        /// Leave the values out.
        #[arg(long)]
        keys: bool,
    },
    /// Print changes as they come.
    Watch {
        /// What the topics begin with. Default: all.
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
        /// Begin with what is there now.
        #[arg(long)]
        current: bool,
        /// Leave after so many changes. Default: never.
        #[arg(long, value_name = "NUMBER")]
        count: Option<u64>,
        /// Where the broker publishes. Default: on the port that it tells, on the same host.
        #[arg(long, value_name = "ENDPOINT", value_parser = parse_endpoint)]
        publications: Option<Endpoint>,
    },
    /// Show which worker has which revision.
    Status,
}

pub(crate) async fn run(context: &mut Context, args: KnowledgeArgs) -> Result<(), Exit> {
    match args.command {
        KnowledgeCommand::Put { topic, key, value, expect } => {
            if !value.is_given() {
                return Err(Exit::Usage(
                    "PAYLOAD or --file is missing: a value, as in '\"text\"'".to_owned(),
                ));
            }
            put(context, &topic, &key, value.read()?, expect).await
        }
        KnowledgeCommand::Get { topic, key, raw } => get(context, &topic, &key, raw).await,
        KnowledgeCommand::Delete { topic, key, expect } => {
            let knowledge = context.client().await?.knowledge();
            let revision = context.answer(knowledge.delete(&topic, &key, expect.map(Revision))).await?;
            print_revision(context, revision)
        }
        KnowledgeCommand::List { prefix, keys } => list(context, &prefix, keys).await,
        KnowledgeCommand::Watch { prefix, current, count, publications } => {
            watch(context, &prefix, current, count, publications).await
        }
        KnowledgeCommand::Status => status(context).await,
    }
}

async fn put(
    context: &mut Context,
    topic: &str,
    key: &str,
    value: Bytes,
    expect: Option<u64>,
) -> Result<(), Exit> {
    let knowledge = context.client().await?.knowledge();
    let revision = match expect {
        None => context.answer(knowledge.put(topic, key, value)).await?,
        Some(expect) => context.answer(knowledge.put_if(topic, key, value, Revision(expect))).await?,
    };
    print_revision(context, revision)
}

fn print_revision(context: &mut Context, revision: Revision) -> Result<(), Exit> {
    match context.output.is_json() {
        true => context.output.json(&json!({ "revision": revision })),
        false => context.output.line(&revision.to_string()),
    }
}

async fn get(context: &mut Context, topic: &str, key: &str, raw: bool) -> Result<(), Exit> {
    let knowledge = context.client().await?.knowledge();
    let entry = context.answer(knowledge.get(topic, key)).await?;
    let value = entry.value.clone().unwrap_or_default();
    match (context.output.is_json(), raw) {
        (true, _) => context.output.json(&entry_object(&entry)),
        (false, true) => context.output.bytes(&value),
        (false, false) => context.output.line(&result_text(&value)),
    }
}

async fn list(context: &mut Context, prefix: &str, keys: bool) -> Result<(), Exit> {
    let knowledge = context.client().await?.knowledge();
    let (revision, entries) = context.answer(knowledge.list(prefix, keys)).await?;
    if context.output.is_json() {
        return entries.iter().try_for_each(|entry| context.output.json(&entry_object(entry)));
    }
    let row = |entry: &Entry| {
        let value = entry.value.as_deref().map_or(String::new(), result_text);
        let mut row = vec![text(&entry.topic), text(&entry.key), number(entry.revision)];
        if !keys {
            row.push(text(value));
        }
        row
    };
    let header = [must("TOPIC"), must("KEY"), nice(1, "REVISION"), cut("VALUE")];
    let header = if keys { &header[..3] } else { &header[..] };
    context.output.table(header, entries.iter().map(row).collect())?;
    context.output.hint(&format!("{} entries at revision {revision}", entries.len()));
    Ok(())
}

async fn watch(
    context: &mut Context,
    prefix: &str,
    current: bool,
    count: Option<u64>,
    publications: Option<Endpoint>,
) -> Result<(), Exit> {
    let knowledge = context.listener(publications).await?.knowledge();
    let mut watch = context.answer(knowledge.watch(prefix, current)).await?;
    context.output.hint(&format!("from revision {}", watch.revision()));
    let mut left = count;
    while left != Some(0) {
        let learned = watch.next().await?;
        print_learned(context, &learned)?;
        context.output.flush()?;
        left = left.map(|left| left - 1);
    }
    Ok(())
}

fn print_learned(context: &mut Context, learned: &Learned) -> Result<(), Exit> {
    match (learned, context.output.is_json()) {
        (Learned::Changed(change), true) => context.output.json(&change_object(change)),
        (Learned::Reset, true) => context.output.json(&json!({ "reset": true })),
        (Learned::Reset, false) => context.output.toned_line("(begins anew)", Tone::Careful),
        (Learned::Changed(change), false) => {
            let value = change.value.as_deref().map_or("(deleted)".to_owned(), result_text);
            context.output.line(&format!("{} {}/{} {value}", change.revision, change.topic, change.key))
        }
    }
}

async fn status(context: &mut Context) -> Result<(), Exit> {
    let knowledge = context.client().await?.knowledge();
    let status = context.answer(knowledge.status()).await?;
    if context.output.is_json() {
        return context.output.json(&status);
    }
    let bytes = size(status.bytes);
    context.output.line(&format!(
        "revision {}, {} entries of {bytes}, changes kept since {}",
        status.revision, status.entries, status.history_from
    ))?;
    let row = |worker: &ganger_common::view::WorkerRevision| {
        let behind = status.revision.0.saturating_sub(worker.revision.0);
        let behind = match behind {
            0 => toned("up to date", Tone::Good),
            behind => toned(format!("{behind} behind"), Tone::Careful),
        };
        vec![text(&worker.name), number(worker.revision), behind]
    };
    context
        .output
        .table(&[must("WORKER"), must("REVISION"), must("")], status.workers.iter().map(row).collect())
}

fn entry_object(entry: &Entry) -> Value {
    let value = entry.value.as_deref().map(json::show);
    json!({ "topic": entry.topic, "key": entry.key, "revision": entry.revision, "value": value })
}

fn change_object(change: &Change) -> Value {
    json!({
        "topic": change.topic, "key": change.key, "revision": change.revision,
        "deleted": change.value.is_none(), "value": change.value.as_deref().map(json::show),
    })
}
