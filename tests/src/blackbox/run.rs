//! A run from its beginning to its end.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use ganger_client::{Client, ClientConfig};
use ganger_common::TaskId;

use super::incidents::Cause;
use super::judge::{self, Evidence, Verdict, wrong};
use super::ledger::Sums;
use super::nemesis::Nemesis;
use super::report::{self, Report, Violations};
use super::settings::{Profile, Settings};
use super::stage::Stage;
use super::topics::{self, Writer, Written};
use crate::diary::{self, Mark};
use crate::dice::Dice;
use crate::process::{Ended, Proc};
use crate::wait::{self, Metronome};

/// A run goes on for up to so many times what was asked for until each of its faults has happened.
const OVERTIME: u32 = 3;
/// Between two looks of the nemesis.
const BEAT: Duration = Duration::from_millis(20);
/// Once all faults are over, everything that was acknowledged settles within this: silences have to be
/// noticed, connections found again, back-offs waited out, and a full queue worked off.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// A worker that was asked to leave has left within this: what it runs ends within seconds.
const LEFT_WITHIN: Duration = Duration::from_secs(40);
/// Workers are connected, or connected again, within this.
const CONNECTED_WITHIN: Duration = Duration::from_secs(20);
/// A party looks whether anybody listens, and then connects.
const CONNECTIONS_AT_FIRST: u64 = 2;
/// Tasks that ran once and are asked for all the same.
const ASKED_ONCE_MORE: usize = 2_000;
/// A run that is so short cannot be asked whether its faults had consequences.
const CONSEQUENCES_AFTER: Duration = Duration::from_secs(20);

/// A look at a run while it goes on.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Since its beginning.
    pub elapsed: Duration,
    /// What it does.
    pub phase: &'static str,
    /// What the clients know.
    pub sums: Sums,
    /// What happened so far.
    pub faults: u64,
    /// Times that the broker was killed.
    pub kills: u64,
}

/// Runs, and tells how it goes to whoever watches.
///
/// # Errors
/// When the machine cannot do it: no port, no process.
///
/// # Panics
/// When a process that was started does not come up.
pub async fn run(settings: &Settings, mut watch: impl FnMut(&Moment)) -> anyhow::Result<Report> {
    let mut dice = Dice::new(settings.seed);
    let mut stage = Stage::set(settings, dice.split()).await?;
    let knowledge = stage.cluster.endpoints().clients.clone();
    let writer = Writer::start(&knowledge, dice.split()).await?;
    let auditor = connect(&stage).await?;
    await_workers(&auditor, settings.workers).await?;

    let start = Instant::now();
    let mut nemesis = Nemesis::new(settings, dice.split());
    let mut metronome = Metronome::new(BEAT);
    let is_over = |nemesis: &Nemesis, stage: &Stage| {
        let is_enough = without_effect(settings, nemesis, stage).is_empty()
            && nemesis.incidents.broker_deaths() as u64 >= settings.kills;
        let is_long = settings.kills == 0 && start.elapsed() >= settings.time * OVERTIME;
        start.elapsed() >= settings.time && (is_enough || is_long)
    };
    while !is_over(&nemesis, &stage) {
        metronome.beat().await;
        nemesis.act(&mut stage).await?;
        watch(&moment(start, "faults", &stage, &nemesis));
    }
    nemesis.rest(&mut stage).await?;
    let mut report = report::blank(settings);
    report.faults_s = start.elapsed().as_secs_f64();

    let healed = Instant::now();
    let mut verdict_extra = Verdict::default();
    stage.visitors.iter().for_each(super::clientele::Visitor::finish);
    while !stage.visitors.iter().all(super::clientele::Visitor::is_done) && healed.elapsed() < SETTLED_WITHIN
    {
        metronome.beat().await;
        watch(&moment(start, "healing", &stage, &nemesis));
    }
    let waiting: usize = stage.visitors.iter().map(super::clientele::Visitor::busy).sum();
    if waiting > 0 {
        verdict_extra.add("unsettled", || {
            format!("{waiting} waits were not over {SETTLED_WITHIN:?} after all faults")
        });
    }
    if !settings.forgets() {
        ask_for_open(&auditor, &stage, SETTLED_WITHIN.saturating_sub(healed.elapsed())).await;
    }
    report.settled_after_s = healed.elapsed().as_secs_f64();
    ask_once_more(&auditor, &stage).await;

    let own = settle_knowledge(&auditor, &stage, writer, settings, &mut report, &mut verdict_extra).await?;
    watch(&moment(start, "judging", &stage, &nemesis));
    look_at_processes(&stage, &mut verdict_extra).await;
    let tasks_sums = stage.ledger.sums();
    let tasks = stage.ledger.close();
    let lines = diary::read_all(stage.cluster.directory());
    let evidence = Evidence {
        tasks: &tasks,
        lines: &lines,
        incidents: &nemesis.incidents,
        own: &own,
        forgets: settings.forgets(),
    };
    let mut verdict = judge::judge(&evidence);
    for (what, texts) in verdict_extra.wrong {
        texts.into_iter().for_each(|text| verdict.add(what, || text));
    }
    look_for_effects(settings, &nemesis, &stage, &mut verdict);
    look_for_reconnects(settings, &stage, &mut verdict);
    fill(&mut report, &verdict, &nemesis, &stage, tasks_sums);
    if !report.is_clean() {
        stage.cluster.print_logs();
    }
    Ok(report)
}

fn moment(start: Instant, phase: &'static str, stage: &Stage, nemesis: &Nemesis) -> Moment {
    Moment {
        elapsed: start.elapsed(),
        phase,
        sums: stage.ledger.sums(),
        faults: nemesis.told.values().sum(),
        kills: nemesis.incidents.broker_deaths() as u64,
    }
}

/// A client on the straight way.
async fn connect(stage: &Stage) -> anyhow::Result<Client> {
    let mut config = ClientConfig::new(stage.cluster.clients());
    "auditor".clone_into(&mut config.name);
    Ok(Client::connect(config).await?)
}

async fn await_workers(auditor: &Client, count: usize) -> anyhow::Result<()> {
    let are_there = async || {
        let workers = auditor.workers().await.map_or(0, |workers| workers.len());
        (workers >= count).then_some(())
    };
    let connected = wait::found_within(CONNECTED_WITHIN, are_there).await;
    connected
        .ok_or_else(|| anyhow::anyhow!("fewer than {count} workers connected within {CONNECTED_WITHIN:?}"))
}

/// Asks for the outcomes of tasks whose clients are gone.
async fn ask_for_open(auditor: &Client, stage: &Stage, within: Duration) {
    let ledger = &stage.ledger;
    let open = ledger.open();
    let Ok(handles) = auditor.watch(open) else { return };
    let waits = handles.into_iter().map(|mut handle| async move {
        match handle.outcome().await {
            Ok(outcome) => ledger.told(&outcome),
            Err(error) => ledger.trouble(handle.id(), &error),
        }
    });
    // What is not there by then is lost, and the judge sees it.
    let _ = tokio::time::timeout(within, futures_util::future::join_all(waits)).await;
}

/// Asks what the broker has on record of every task that ran more than once, and of some others. Whoever was
/// told an outcome is gone by now: a second one would be seen by nobody else.
async fn ask_once_more(auditor: &Client, stage: &Stage) {
    let ledger = &stage.ledger;
    let mut starts: HashMap<TaskId, u32> = HashMap::new();
    let lines = diary::read_all(stage.cluster.directory());
    for line in lines.iter().filter(|line| line.mark == Mark::Start) {
        *starts.entry(line.task).or_default() += 1;
    }
    let (often, once): (Vec<_>, Vec<_>) = starts.into_iter().partition(|(_, count)| *count > 1);
    let tasks = often.into_iter().chain(once.into_iter().take(ASKED_ONCE_MORE)).map(|(task, _)| task);
    let Ok(handles) = auditor.watch(tasks.filter(|task| ledger.is_settled(*task))) else { return };
    let waits = handles.into_iter().map(|mut handle| async move {
        // What was settled long ago may be forgotten, or have lost its result.
        if let Ok(outcome) = handle.outcome().await
            && !outcome.result_dropped
        {
            ledger.told(&outcome);
        }
    });
    // Answers that are missing are not what is asked about here.
    let _ = tokio::time::timeout(SETTLED_WITHIN, futures_util::future::join_all(waits)).await;
}

async fn settle_knowledge(
    auditor: &Client,
    stage: &Stage,
    writer: Writer,
    settings: &Settings,
    report: &mut Report,
    verdict: &mut Verdict,
) -> anyhow::Result<HashSet<TaskId>> {
    let written: Written = writer.finish(CONNECTED_WITHIN).await?;
    report.knowledge_changes = written.acknowledged;
    if !settings.forgets() {
        for text in written.compare(auditor).await? {
            verdict.add("knowledge lost", || text);
        }
        if written.backwards > 0 {
            verdict.add("knowledge revisions go back", || format!("{} times", written.backwards));
        }
    }
    let names: Vec<String> = stage.crew.iter().map(|member| member.name.clone()).collect();
    report.replicas = names.len();
    let (own, wrong) = topics::converge(auditor, &names).await?;
    for text in wrong {
        verdict.add("knowledge did not converge", || text);
    }
    Ok(own.into_iter().collect())
}

/// Nobody may have ended who was not told to, or panicked on the way.
async fn look_at_processes(stage: &Stage, verdict: &mut Verdict) {
    let running = stage.cluster.workers().iter().chain([stage.cluster.broker()]);
    for process in running.filter(|process| !process.is_running()) {
        verdict.add("ended by itself", || process.name().to_owned());
    }
    for process in stage.cluster.retired() {
        let ended = tokio::task::block_in_place(|| end_of(process));
        match ended {
            Some(Ended::Code(0) | Ended::Signal(libc::SIGKILL)) => {}
            Some(ended) => verdict.add("ended badly", || format!("{}: {ended:?}", process.name())),
            None => verdict.add("did not leave", || process.name().to_owned()),
        }
    }
    let all = stage.cluster.retired().iter().chain(stage.cluster.workers()).chain([stage.cluster.broker()]);
    for process in all.filter(|process| process.stderr().contains("panicked at")) {
        verdict.add("panicked", || process.name().to_owned());
    }
}

fn end_of(process: &Proc) -> Option<Ended> {
    wait::is_true_within(LEFT_WITHIN, || !process.is_running()).then(|| process.wait(LEFT_WITHIN))
}

/// Faults that have not happened, or have touched nothing.
fn without_effect(settings: &Settings, nemesis: &Nemesis, stage: &Stage) -> Vec<&'static str> {
    let mut missing = nemesis.missing();
    let fired = stage.fired();
    if settings.profile == Profile::Partition {
        let effects = [
            ("nothing was delayed", fired.delayed),
            ("nothing was throttled", fired.throttled),
            ("nothing was held", fired.held),
            ("nothing was swallowed", fired.swallowed),
            ("nothing was cut", fired.cut),
            ("nothing stalled", fired.stalled),
            ("nothing was refused", fired.refused),
        ];
        missing.extend(effects.iter().filter(|(_, count)| *count == 0).map(|(text, _)| *text));
    }
    if settings.profile == Profile::Broker && nemesis.kills_under_load == 0 {
        missing.push("the broker was never killed under load");
    }
    missing
}

/// A fault that touched nothing tests nothing.
fn look_for_effects(settings: &Settings, nemesis: &Nemesis, stage: &Stage, verdict: &mut Verdict) {
    let mut missing = without_effect(settings, nemesis, stage);
    if settings.profile == Profile::Kill && verdict.interrupted == 0 {
        missing.push("no run ended with its worker");
    }
    let expected = match settings.profile {
        Profile::Kill => Some(Cause::Kill),
        Profile::Pause => Some(Cause::Pause),
        Profile::Partition => Some(Cause::Partition),
        Profile::None | Profile::Churn | Profile::Broker => None,
    };
    if let Some(cause) = expected
        && settings.time >= CONSEQUENCES_AFTER
        && !verdict.extra.contains_key(&cause)
    {
        missing.push("no task ran again for it");
    }
    for text in missing {
        verdict.add("did not happen", || text.to_owned());
    }
}

/// A connection that nothing happened to lasts. One that its party gives up costs no task, and would hide a
/// message that was lost.
fn look_for_reconnects(settings: &Settings, stage: &Stage, verdict: &mut Verdict) {
    if !matches!(settings.profile, Profile::None | Profile::Kill | Profile::Churn) {
        return;
    }
    for (name, way) in stage.ways() {
        let connections = way.fired().connections;
        if connections > CONNECTIONS_AT_FIRST {
            verdict.add("reconnected for no reason", || format!("{name}: {connections} connections"));
        }
    }
}

fn fill(report: &mut Report, verdict: &Verdict, nemesis: &Nemesis, stage: &Stage, sums: Sums) {
    report.submitted = sums.submitted;
    report.acknowledged = sums.acknowledged;
    report.cancelled = sums.cancelled;
    report.lost = verdict.count(wrong::LOST);
    report.settled_twice = verdict.count(wrong::TWICE);
    report.outcomes = verdict.outcomes.iter().map(|(outcome, count)| (outcome.to_string(), *count)).collect();
    report.told_again = verdict.told_again;
    report.runs = verdict.runs;
    report.interrupted = verdict.interrupted;
    report.extra_runs = verdict.extra.iter().map(|(cause, count)| (cause.as_str(), *count)).collect();
    report.explained =
        verdict.explained.iter().map(|(cause, texts)| (cause.as_str(), texts.clone())).collect();
    report.faults = nemesis.told.iter().map(|(fault, count)| (fault.as_str(), *count)).collect();
    report.broker_kills_under_load = nemesis.kills_under_load;
    report.proxies = stage.fired();
    let violations = verdict.wrong.iter();
    report.violations = violations.map(|(what, list)| ((*what).to_owned(), Violations::of(list))).collect();
}
