//! The demonstration itself, from the first process to the closing table.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use bytes::Bytes;
use ganger_client::{Client, ClientConfig, NewTask, TaskQuery};
use ganger_common::view::{StateFilter, TaskView};
use ganger_common::{Attempt, WorkerId};
use tokio::sync::Notify;

use super::gang::Gang;
use super::progress::{Progress, Stage};
use super::report::{self, StageReport};
use crate::gather::gather;
use crate::mandelbrot::{Canvas, Picture, TILE, Tile};
use crate::payload::pack;
use crate::wordcount;
use crate::words::{self, Counts};

/// Worker processes.
const WORKERS: [&str; 4] = ["worker-1", "worker-2", "worker-3", "worker-4"];
/// Tasks that each of them runs at a time.
const SLOTS: u32 = 2;
/// Rows of tiles: few enough that a tile takes a noticeable part of a second where the picture is
/// intricate, so that the killed worker has something to lose.
const TILE_ROWS: u32 = 9;
/// Words that are shown.
const SHOWN_WORDS: usize = 5;
/// Pieces of text are at most this long, so that a large text is counted by many.
const PIECE_BYTES_MAX: usize = 256 << 10;
/// Pieces of text are at least this long.
const PIECE_BYTES_MIN: usize = 256;

/// What a task is for.
#[derive(Clone, Copy, Debug)]
enum Work {
    Piece,
    Tile(Tile),
}

/// What the distributed part leaves behind.
#[derive(Debug)]
struct Gathered {
    counts: Vec<Bytes>,
    canvas: Canvas,
    counted: Duration,
    rendered: Duration,
}

/// A worker that was killed, and everybody who was there at the time.
#[derive(Debug)]
struct Killed {
    name: String,
    at: SystemTime,
    names: BTreeMap<WorkerId, String>,
}

/// Runs the demonstration. Returns whether the counts are right.
///
/// # Errors
/// When something does not work that must work on every machine.
pub async fn run(files: &[PathBuf], picture: Picture, picture_path: &Path) -> anyhow::Result<bool> {
    let texts = files.iter().map(|path| words::read_text(path)).collect::<Result<Vec<String>, _>>()?;
    let progress = Progress::new();

    let mut gang = Gang::start()?;
    progress.say(&format!("broker ready at {}", gang.clients_endpoint()));
    for name in WORKERS {
        gang.add_worker(name, SLOTS).with_context(|| format!("starting {name}"))?;
    }
    let hands: Vec<(String, u32)> = gang.workers().map(|(name, pid)| (name.to_owned(), pid)).collect();
    progress.say(&format!("{} worker processes with {SLOTS} slots each", hands.len()));
    let client = Client::connect(ClientConfig::new(gang.clients_endpoint().parse()?)).await?;

    let start = Instant::now();
    let plan = plan(&texts, picture)?;
    let half_done = Notify::new();
    let (gathered, killed) = tokio::try_join!(
        distribute(&client, &progress, plan, picture, &half_done),
        kill_when(&client, &mut gang, &progress, &half_done),
    )?;
    let reduce_start = Instant::now();
    let counts = reduce(&client, &progress, gathered.counts).await?;
    let reduced = reduce_start.elapsed();
    let took = start.elapsed();

    let file = File::create(picture_path).with_context(|| picture_path.display().to_string())?;
    gathered.canvas.write_png(BufWriter::new(file))?;
    let stages =
        stages(&settled_tasks(&client, &killed.names).await?, [gathered.counted, reduced, gathered.rendered]);
    client.close().await;
    progress.close();
    show(&stages, took, &hands, &killed);
    let right = check(&texts, &counts);
    println!("picture: {}", picture_path.display());
    Ok(right)
}

/// All tasks, pieces and tiles in turn, so that both kinds are under way when the worker dies.
fn plan(texts: &[String], picture: Picture) -> anyhow::Result<Vec<(Work, NewTask)>> {
    let tiles = picture.tasks(picture.height.div_ceil(TILE_ROWS));
    let text_bytes: usize = texts.iter().map(String::len).sum();
    let piece_bytes = (text_bytes / tiles.len().max(1)).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX);
    let mut pieces = wordcount::map_tasks(texts, piece_bytes).map(|task| (Work::Piece, task));
    let mut plan = Vec::new();
    for tile in tiles {
        plan.push((Work::Tile(tile.tile), NewTask::new(TILE, pack(&tile)?)));
        plan.extend(pieces.next());
    }
    plan.extend(pieces);
    Ok(plan)
}

/// Submits everything and puts the results where they belong.
async fn distribute(
    client: &Client,
    progress: &Progress,
    plan: Vec<(Work, NewTask)>,
    picture: Picture,
    half_done: &Notify,
) -> anyhow::Result<Gathered> {
    let start = Instant::now();
    let (work, tasks): (Vec<Work>, Vec<NewTask>) = plan.into_iter().unzip();
    let tiles = work.iter().filter(|work| matches!(work, Work::Tile(_))).count();
    let counting = progress.stage("counting", (work.len() - tiles) as u64);
    let rendering = progress.stage("rendering", tiles as u64);
    let mut done = Gathered {
        counts: Vec::new(),
        canvas: Canvas::new(picture),
        counted: Duration::ZERO,
        rendered: Duration::ZERO,
    };
    let mut finished = 0;
    gather(client, tasks, |place, result| {
        let (stage, took): (&Stage, &mut Duration) = match work[place] {
            Work::Piece => {
                done.counts.push(result);
                (&counting, &mut done.counted)
            }
            Work::Tile(tile) => {
                done.canvas.put(tile, &result)?;
                (&rendering, &mut done.rendered)
            }
        };
        *took = start.elapsed();
        stage.step();
        finished += 1;
        if finished == work.len() / 2 {
            half_done.notify_one();
        }
        Ok(())
    })
    .await?;
    counting.finish();
    rendering.finish();
    Ok(done)
}

/// Kills the busiest worker once half of the work is done.
async fn kill_when(
    client: &Client,
    gang: &mut Gang,
    progress: &Progress,
    half_done: &Notify,
) -> anyhow::Result<Killed> {
    half_done.notified().await;
    let workers = client.workers().await?;
    let busiest = workers.iter().max_by_key(|worker| worker.running + worker.waiting);
    let name = busiest.context("no worker is connected")?.name.clone();
    let at = SystemTime::now();
    gang.kill_worker(&name)?;
    progress.say(&format!("half of it is done: {name} is killed (SIGKILL)"));
    let names = workers.into_iter().map(|worker| (worker.id, worker.name)).collect();
    Ok(Killed { name, at, names })
}

async fn reduce(client: &Client, progress: &Progress, counts: Vec<Bytes>) -> anyhow::Result<Counts> {
    let stage = progress.stage("reducing", wordcount::reduce_tasks(counts.len()) as u64);
    let counts = wordcount::reduce(client, counts, || stage.step()).await?;
    stage.finish();
    Ok(counts)
}

/// Every task that has its outcome, with its history.
async fn settled_tasks(client: &Client, names: &BTreeMap<WorkerId, String>) -> anyhow::Result<Vec<TaskView>> {
    let mut tasks = Vec::new();
    let mut query = TaskQuery { state: Some(StateFilter::Settled), ..TaskQuery::default() };
    loop {
        let page = client.list(query.clone()).await?;
        for mut row in page.rows {
            // A listing has no room for histories.
            if row.attempt > Attempt(1) {
                (row, _) = client.fetch(row.id).await?;
            }
            // The broker keeps the ids of workers that are gone, not their labels.
            let name = row.worker.and_then(|worker| names.get(&worker));
            row.worker_name = row.worker_name.or_else(|| name.cloned());
            tasks.push(row);
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(tasks),
        }
    }
}

fn stages(tasks: &[TaskView], took: [Duration; 3]) -> Vec<StageReport> {
    let kinds = [("counting", wordcount::MAP), ("reducing", wordcount::REDUCE), ("rendering", TILE)];
    kinds
        .into_iter()
        .zip(took)
        .map(|((name, kind), took)| {
            let tasks = tasks.iter().filter(|task| task.kind == kind).cloned().collect();
            StageReport { name, took, tasks }
        })
        .collect()
}

fn show(stages: &[StageReport], took: Duration, hands: &[(String, u32)], killed: &Killed) {
    let moved = report::reassignments(stages, killed.at);
    match moved.is_empty() {
        true => println!("{} had nothing in its hands when it died", killed.name),
        false => println!("reassigned from {}:\n{}", killed.name, moved.join("\n")),
    }
    println!("{}", report::stage_table(stages, took));
    println!("{}", report::worker_table(hands, &killed.name, stages));
}

/// Counts once more, here, and compares.
fn check(texts: &[String], distributed: &Counts) -> bool {
    let start = Instant::now();
    let mut single = Counts::new();
    for text in texts {
        words::merge(&mut single, words::count(text));
    }
    let most: Vec<String> = words::most_frequent(distributed, SHOWN_WORDS)
        .iter()
        .map(|(word, number)| format!("{word} {number}"))
        .collect();
    let total: u64 = distributed.values().sum();
    println!("{total} words, {} different; most often: {}", distributed.len(), most.join(", "));
    let right = single == *distributed;
    let verdict = if right { "the same" } else { "NOT THE SAME" };
    println!("counted again in one process, in {:.0?}: {verdict}", start.elapsed());
    right
}

/// The files to count: those given, or the documents of the repository.
///
/// # Errors
/// When a file does not exist, or there is nothing to count.
pub fn documents(given: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    if !given.is_empty() {
        let files = words::text_files(given)?;
        ensure!(!files.is_empty(), "there is no text file in what was given");
        return Ok(files);
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = if repository.is_dir() { repository } else { PathBuf::from(".") };
    let mut files = words::text_files(&[root])?;
    files.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    ensure!(!files.is_empty(), "there are no documents here; name some text files");
    Ok(files)
}
