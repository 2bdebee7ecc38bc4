//! `workers`: who is connected, and how busy.

use std::time::Duration;

use ganger_common::view::{WorkerState, WorkerView};

use super::context::Context;
use super::exit::Exit;
use super::output::{Field, Tone, cut, must, nice, number, text, time, toned};

pub(crate) async fn run(context: &mut Context) -> Result<(), Exit> {
    let client = context.client().await?;
    let workers = context.answer(client.workers()).await?;
    if context.output.is_json() {
        return workers.iter().try_for_each(|worker| context.output.json(worker));
    }
    if workers.is_empty() {
        context.output.hint("no worker is connected; start one with `ganger-worker`");
    }
    let header = [
        must("NAME"),
        nice(1, "ID"),
        nice(3, "HOST"),
        nice(2, "PID"),
        must("STATE"),
        must("SLOTS"),
        must("RUNNING"),
        nice(6, "WAITING"),
        nice(5, "ENDED"),
        nice(4, "RUN"),
        nice(7, "HEARD"),
        cut("KINDS"),
    ];
    context.output.table(&header, workers.iter().map(row).collect())
}

fn row(worker: &WorkerView) -> Vec<Field> {
    let tone = match worker.state {
        WorkerState::Ready => Tone::Good,
        WorkerState::Draining => Tone::Careful,
        WorkerState::Away => Tone::Bad,
    };
    let run = match worker.average_run_us {
        0 => "-".to_owned(),
        micros @ 1..10_000 => format!("{micros}us"),
        micros => time(Duration::from_micros(micros)),
    };
    vec![
        text(&worker.name),
        toned(worker.id.to_string(), Tone::Faint),
        text(&worker.host),
        number(worker.pid),
        toned(worker.state.as_str(), tone),
        number(worker.slots),
        number(worker.running),
        number(worker.waiting),
        number(worker.ended),
        text(run),
        text(format!("{} ago", time(Duration::from_millis(worker.silent_ms)))),
        text(worker.kinds.join(",")),
    ]
}
