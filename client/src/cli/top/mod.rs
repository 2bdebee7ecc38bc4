//! `top`: what runs, what waits and who does it, live in a terminal.
//!
//! - [`sample`]: what the broker says of itself, and what follows from two such answers.
//! - `latency`: how long tasks take, between two answers.
//! - [`screen`]: what is shown of it: the order, the filter, where a table is scrolled to; and what keys do.
//! - [`draw`]: the drawing of a screen. `rows`: the tables in it.
//! - [`terminal`]: the terminal, which is given back as it was whatever happens.
//! - [`plain`]: the same once, for pipes and programs.

mod draw;
mod latency;
mod plain;
mod rows;
mod sample;
mod screen;
mod terminal;

#[cfg(test)]
mod tests;

use std::time::Duration;

use clap::Args;
use ganger_client::{Client, Error};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use self::sample::Sample;
use self::screen::{Next, Screen};
use self::terminal::Terminal;
use super::args::parse_time;
use super::context::Context;
use super::exit::Exit;

#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// Between two looks, 200ms at least. What it costs the broker does not depend on how many tasks pass.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_pause)]
    pub(crate) every: Duration,
}

/// Shorter than this nobody can read, and it would cost a broker with thousands of workers.
const PAUSE_MIN: Duration = Duration::from_millis(200);

fn parse_pause(text: &str) -> Result<Duration, String> {
    match parse_time(text)? {
        pause if pause >= PAUSE_MIN => Ok(pause),
        _ => Err(format!("at least {} are allowed", humantime::format_duration(PAUSE_MIN))),
    }
}

pub(crate) async fn run(context: &mut Context, args: TopArgs) -> Result<(), Exit> {
    let client = context.client().await?;
    let patience = context.global.timeout;
    if context.output.is_json() || !context.output.is_terminal() {
        return plain::run(context, &client, args.every).await;
    }
    // Before the screen is taken: whoever may not look at all is told so in plain words.
    let first = sample::take(&client, patience).await?;
    let mut screen = Screen::new(context.global.broker.to_string(), context.output.has_color());
    screen.take(Ok(first));
    let (told, samples) = mpsc::channel(1);
    let sampling = tokio::spawn(watch(client, args.every, patience, told));
    let shown = live(&mut screen, samples).await;
    sampling.abort();
    shown
}

/// Looks again and again, until nobody wants to know.
async fn watch(
    client: Client,
    every: Duration,
    patience: Duration,
    told: mpsc::Sender<Result<Sample, Error>>,
) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first look has been had.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if told.send(sample::take(&client, patience).await).await.is_err() {
            return;
        }
    }
}

async fn live(screen: &mut Screen, mut samples: mpsc::Receiver<Result<Sample, Error>>) -> Result<(), Exit> {
    let mut stops = terminal::stops()?;
    let mut terminal = Terminal::take()?;
    let mut keys = terminal::keys();
    loop {
        terminal.draw(screen)?;
        let next = tokio::select! {
            _ = stops.recv() => Next::Leave,
            key = keys.recv() => match key {
                Some(key) => screen.on_key(key),
                None => Next::Leave,
            },
            sample = samples.recv() => match sample {
                Some(sample) => {
                    screen.take(sample);
                    Next::Stay
                }
                None => return Err(Exit::Failed("nobody asks the broker any more".to_owned())),
            },
        };
        if next == Next::Leave {
            return Ok(());
        }
    }
}
