//! The same once, for pipes and programs: two looks, and what passed between them.

use std::time::Duration;

use ganger_client::Client;
use ganger_common::view::{StatusView, WorkerView};
use serde::Serialize;

use super::latency::bound;
use super::rows::{KIND_COLUMNS, WORKER_COLUMNS, grouped, kind_cells, percent, rate};
use super::sample::{self, Flow};
use super::screen::Screen;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Field, must, text, time, toned};

/// What a program gets.
#[derive(Serialize)]
struct Look<'a> {
    /// What passed in the second before; absent when the broker became another meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<&'a Flow>,
    status: &'a StatusView,
    /// Absent when they may not be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<Vec<WorkerLook<'a>>>,
}

/// A worker, and how busy it was.
#[derive(Serialize)]
struct WorkerLook<'a> {
    #[serde(flatten)]
    worker: &'a WorkerView,
    /// From 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    busy: Option<f64>,
}

pub(crate) async fn run(context: &mut Context, client: &Client, every: Duration) -> Result<(), Exit> {
    let patience = context.global.timeout;
    let mut screen = Screen::new(context.global.broker.to_string(), false);
    screen.past.take(sample::take(client, patience).await?);
    tokio::time::sleep(every).await;
    screen.past.take(sample::take(client, patience).await?);
    match context.output.is_json() {
        true => print_json(context, &screen),
        false => print(context, &screen),
    }
}

fn print_json(context: &mut Context, screen: &Screen) -> Result<(), Exit> {
    let Some(last) = &screen.past.last else { return Ok(()) };
    let flow = screen.past.flow.as_ref();
    let busy =
        |worker: &WorkerView| flow.and_then(|flow| flow.workers.get(&worker.id)).map(|(busy, _)| *busy);
    let workers = last.workers.as_ref().map(|workers| {
        workers.iter().map(|worker| WorkerLook { worker, busy: busy(worker) }).collect::<Vec<_>>()
    });
    context.output.json(&Look { flow, status: &last.status, workers })
}

fn print(context: &mut Context, screen: &Screen) -> Result<(), Exit> {
    let Some(last) = &screen.past.last else { return Ok(()) };
    let (status, flow) = (&last.status, screen.past.flow.as_ref());
    let of = |value: Option<String>| text(value.unwrap_or_else(|| "-".to_owned()));
    let latency = flow.and_then(|flow| flow.latency);
    let figures = vec![
        vec![text("came a second"), of(flow.map(|flow| rate(flow.came)))],
        vec![text("ended a second"), of(flow.map(|flow| rate(flow.ended)))],
        vec![text("slots busy"), of(flow.and_then(|flow| flow.busy).map(percent))],
        vec![text("half within"), of(latency.map(|latency| bound(latency.p50_us)))],
        vec![text("99 % within"), of(latency.map(|latency| bound(latency.p99_us)))],
        vec![text("waiting"), text(grouped(status.queued))],
        vec![text("  parked"), text(grouped(status.parked))],
        vec![text("not due"), text(grouped(status.delayed))],
        vec![text("given out"), text(grouped(status.assigned))],
        vec![text("running"), text(grouped(status.running))],
        vec![text("dead"), text(grouped(status.dead_set))],
        vec![text("workers"), text(format!("{} with {} slots", status.workers, status.slots))],
        vec![text("knowledge"), text(format!("revision {}", status.revision))],
        vec![text("up"), text(time(Duration::from_millis(status.uptime_ms)))],
    ];
    context.output.table(&[must("BROKER"), must("")], figures)?;
    let fields = |cells: Vec<super::rows::Cell>| -> Vec<Field> {
        cells.into_iter().map(|(said, tone)| toned(said, tone)).collect()
    };
    let kinds: Vec<_> = screen.kinds().into_iter().map(|kind| fields(kind_cells(kind).to_vec())).collect();
    let workers = screen.workers().into_iter().map(|worker| fields(screen.worker_cells(worker).to_vec()));
    let workers: Vec<_> = workers.collect();
    for (heads, rows) in [(&KIND_COLUMNS[..], kinds), (&WORKER_COLUMNS[..], workers)] {
        if !rows.is_empty() {
            context.output.line("")?;
            context.output.table(&heads.iter().map(|(name, _)| must(name)).collect::<Vec<_>>(), rows)?;
        }
    }
    Ok(())
}
