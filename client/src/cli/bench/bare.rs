//! The baseline: what the bare library does on this machine, at this moment, with no broker on it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use clap::Args;
use ganger_transport::Endpoint;
use ganger_transport::zmq::bare::{self, BareClient};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::super::exit::Exit;
use super::figures::{histogram, percentiles};
use super::load::Load;
use super::usage;

/// Silence for so long means that a part of the relay is gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A message names its place in the order, so that its answer is told from others.
const NUMBER_BYTES: usize = 8;

/// A process of the relay.
#[derive(Args, Debug)]
pub(crate) struct BareArgs {
    /// A worker of the relay there; absent: the relay itself.
    #[arg(value_parser = super::super::args::parse_endpoint)]
    relay: Option<Endpoint>,
}

/// Is a part of a relay, until it is killed.
pub(crate) async fn part(args: BareArgs) -> Result<(), Exit> {
    match args.relay {
        Some(relay) => bare::echo(&relay).await?,
        None => {
            bare::relay(|clients, workers| {
                println!("{clients} {workers}");
                // Whoever started this waits for the line; if nobody does, there is nobody to tell.
                let _ = std::io::stdout().flush();
            })
            .await?;
        }
    }
    Ok(())
}

/// What the relay did.
pub(super) struct Bare {
    pub(super) messages_per_second: f64,
    pub(super) cpu_per_message: Option<f64>,
    pub(super) round_trip: Histogram<u64>,
    /// One message at a time.
    pub(super) alone: Histogram<u64>,
}

impl Bare {
    pub(super) fn object(&self) -> Value {
        json!({
            "messages_per_second": self.messages_per_second,
            "cpu_us_per_message": self.cpu_per_message.map(|seconds| seconds * 1e6),
            "round_trip_us": percentiles(&self.round_trip),
            "alone_us": percentiles(&self.alone),
        })
    }
}

/// Messages one at a time: enough for a 99th percentile.
const ALONE: u64 = 2_000;

/// Starts a relay and measures it with messages as large, as many and as wide a window as the load's.
pub(super) async fn measure(load: &Load, workers: u32) -> Result<Bare, Exit> {
    let (parts, clients) = Parts::start(workers)?;
    let mut client = BareClient::connect(&clients).await?;
    // Whoever comes first waits until the workers are there.
    drive(&mut client, ALONE / 4, 1, load.payload).await?;
    let (alone, _) = drive(&mut client, ALONE, 1, load.payload).await?;
    let pids = parts.pids();
    let before = usage::cpu_seconds(&pids);
    let messages = u64::from(load.tasks);
    let (round_trip, elapsed) =
        drive(&mut client, messages, load.window.min(WINDOW_MAX), load.payload).await?;
    let taken = before.zip(usage::cpu_seconds(&pids)).map(|(before, after)| after - before);
    Ok(Bare {
        messages_per_second: messages as f64 / elapsed.as_secs_f64(),
        cpu_per_message: taken.map(|seconds| seconds / messages as f64),
        round_trip,
        alone,
    })
}

/// The library waits for ever with more on their way.
const WINDOW_MAX: usize = 50_000;

async fn drive(
    client: &mut BareClient,
    messages: u64,
    window: usize,
    payload: usize,
) -> Result<(Histogram<u64>, Duration), Exit> {
    let mut histogram = histogram()?;
    let mut sent_at: Vec<Instant> = Vec::with_capacity(messages as usize);
    let body = vec![0x61; payload.saturating_sub(NUMBER_BYTES)];
    let (begin, mut answered) = (Instant::now(), 0);
    let mut answers = Vec::new();
    while answered < messages {
        while (sent_at.len() as u64) < messages && sent_at.len() as u64 - answered < window as u64 {
            let mut message = BytesMut::with_capacity(NUMBER_BYTES + body.len());
            message.put_u64(sent_at.len() as u64);
            message.put_slice(&body);
            sent_at.push(Instant::now());
            client.send(message.freeze()).await?;
        }
        match tokio::time::timeout(SILENCE_MAX, client.recv_many(&mut answers)).await {
            Ok(received) => received?,
            Err(_) => return Err(Exit::Failed("the bare relay has stopped answering".to_owned())),
        }
        let now = Instant::now();
        for answer in answers.drain(..) {
            histogram.saturating_record(age(&answer, &sent_at, now));
            answered += 1;
        }
    }
    Ok((histogram, begin.elapsed()))
}

fn age(answer: &Bytes, sent_at: &[Instant], now: Instant) -> u64 {
    let number = answer.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    sent_at.get(number as usize).map_or(0, |at| (now - *at).as_micros() as u64)
}

/// The processes. Dropping it ends them.
struct Parts(Vec<Child>);

impl Parts {
    fn start(workers: u32) -> Result<(Self, Endpoint), Exit> {
        let mut relay = spawn(&[], Stdio::piped())?;
        let out = relay.stdout.take();
        let mut parts = Self(vec![relay]);
        let mut line = String::new();
        if let Some(out) = out {
            BufReader::new(out).read_line(&mut line)?;
        }
        let (clients, at) = line
            .trim()
            .split_once(' ')
            .ok_or_else(|| Exit::Failed("the bare relay did not start".to_owned()))?;
        for _ in 0..workers {
            parts.0.push(spawn(&[at], Stdio::null())?);
        }
        let clients = clients.parse().map_err(|error| Exit::Failed(format!("{clients}: {error}")))?;
        Ok((parts, clients))
    }

    fn pids(&self) -> Vec<u32> {
        self.0.iter().map(Child::id).chain([std::process::id()]).collect()
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn spawn(args: &[&str], out: Stdio) -> Result<Child, Exit> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bench-bare").args(args).stdin(Stdio::null()).stdout(out).stderr(Stdio::null());
    Ok(command.spawn()?)
}
