//! `status`: the broker's figures.

use std::time::Duration;

use ganger_common::view::{KindView, StatusView};

use super::context::Context;
use super::exit::Exit;
use super::output::{Field, Tone, must, nice, number, size, text, time, toned};

pub(crate) async fn run(context: &mut Context) -> Result<(), Exit> {
    let client = context.client().await?;
    let status = context.answer(client.status()).await?;
    if context.output.is_json() {
        return context.output.json(&status);
    }
    let at = context.global.broker.to_string();
    context.output.table(&[must("BROKER"), must("")], overview(&status, &at))?;
    context.output.line("")?;
    context.output.table(&[must("TASKS"), must("")], tasks(&status))?;
    if !status.kinds.is_empty() {
        context.output.line("")?;
        let header = [
            must("KIND"),
            must("QUEUED"),
            nice(1, "WITH WORKERS"),
            must("WORKERS"),
            nice(2, "OLDEST"),
            must(""),
        ];
        context.output.table(&header, status.kinds.iter().map(kind).collect())?;
    }
    let counters: Vec<_> = status.counters.iter().filter(|(_, count)| **count > 0).collect();
    if !counters.is_empty() {
        context.output.line("")?;
        let row = |(name, count): (&String, &u64)| vec![text(name), number(count)];
        context.output.table(&[must("COUNTER"), must("")], counters.into_iter().map(row).collect())?;
    }
    Ok(())
}

fn overview(status: &StatusView, at: &str) -> Vec<Vec<Field>> {
    let state = match status.draining {
        true => toned("draining: takes nothing new", Tone::Careful),
        false => toned("ready", Tone::Good),
    };
    let knowledge = format!("revision {}, {} entries", status.revision, status.knowledge_entries);
    vec![
        vec![text("state"), state],
        vec![text("at"), text(at)],
        vec![text("version"), text(&status.broker)],
        vec![text("up"), text(time(Duration::from_millis(status.uptime_ms)))],
        vec![text("durability"), text(&status.durability)],
        vec![text("workers"), text(format!("{} with {} slots", status.workers, status.slots))],
        vec![text("clients"), text(status.clients.to_string())],
        vec![text("knowledge"), text(knowledge)],
    ]
}

fn tasks(status: &StatusView) -> Vec<Vec<Field>> {
    let parked = match status.parked {
        0 => number(0),
        parked => toned(format!("{parked} of a kind that nobody serves"), Tone::Careful),
    };
    let dead = match status.dead_set {
        0 => number(0),
        dead => toned(dead.to_string(), Tone::Bad),
    };
    vec![
        vec![text("queued"), number(status.queued)],
        vec![text("  parked"), parked],
        vec![text("delayed"), number(status.delayed)],
        vec![text("assigned"), number(status.assigned)],
        vec![text("running"), number(status.running)],
        vec![text("payloads"), text(size(status.payload_bytes))],
        vec![text("outcomes kept"), number(status.retained)],
        vec![text("results kept"), text(size(status.retained_bytes))],
        vec![text("dead"), dead],
    ]
}

fn kind(kind: &KindView) -> Vec<Field> {
    let oldest = match kind.queued {
        0 => "-".to_owned(),
        _ => time(Duration::from_millis(kind.oldest_ms)),
    };
    let is_parked = kind.workers == 0 && kind.queued > 0;
    let workers = if is_parked { toned("0", Tone::Careful) } else { number(kind.workers) };
    let paused = if kind.paused { toned("paused", Tone::Careful) } else { text("") };
    vec![text(&kind.kind), number(kind.queued), number(kind.leased), workers, text(oldest), paused]
}
