//! Lets things happen, ends them again, and keeps a record of both.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::fault::{self, Fault, Harm, Party};
use super::incidents::Incidents;
use super::settings::{Profile, Settings};
use super::stage::Stage;
use super::trouble::{Target, Trouble, Troubles, What};
use crate::dice::Dice;
use crate::proxy::{Cut, Silence, Way};
use crate::wait::Metronome;

/// Faults come no faster than this, however short a run is.
const PACE_MIN: Duration = Duration::from_millis(100);
/// Times that every fault of a profile comes up in a run of any length.
const ROUNDS_MIN: u32 = 2;
/// The broker hears of a connection that was reset within this, if it is not busy.
const HEARD_WITHIN: Duration = Duration::from_millis(15);
/// Between every other two deaths of the broker so many tasks settle, unless that takes longer.
const WORK_BETWEEN: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(20);
/// Clients never become fewer or more than this beside the number that was asked for.
const VISITORS_MORE: usize = 3;

/// What happens to a run.
pub struct Nemesis {
    profile: Profile,
    clients: usize,
    dice: Dice,
    deck: Vec<Fault>,
    pace: Duration,
    next: Instant,
    troubles: Troubles,
    /// How often each fault happened.
    pub told: BTreeMap<Fault, u64>,
    /// When what happened to whom.
    pub incidents: Incidents,
    /// Kills of the broker while tasks were under way.
    pub kills_under_load: u64,
    /// Tasks that must have settled before the next fault, unless that takes too long.
    patience: Option<(u64, Instant)>,
}

impl Nemesis {
    /// For a run, beginning now.
    pub fn new(settings: &Settings, dice: Dice) -> Self {
        let mut nemesis = Self {
            profile: settings.profile,
            clients: settings.clients,
            dice,
            deck: Vec::new(),
            pace: PACE_MIN,
            next: Instant::now(),
            troubles: Troubles::default(),
            told: BTreeMap::new(),
            incidents: Incidents::default(),
            kills_under_load: 0,
            patience: None,
        };
        let deck = Fault::deck(settings.profile, &mut nemesis.dice.clone());
        nemesis.told = deck.iter().map(|fault| (plain(*fault), 0)).collect();
        let most = fault::longest_pace(settings.profile);
        let cards = (deck.len() as u32 * ROUNDS_MIN).max(1);
        nemesis.pace = (settings.time / cards).clamp(PACE_MIN, most);
        nemesis.wait_a_little();
        nemesis
    }

    /// Ends what is over, and begins something when it is time.
    ///
    /// # Errors
    /// When the machine has no room for a new process.
    pub async fn act(&mut self, stage: &mut Stage) -> anyhow::Result<()> {
        let now = Instant::now();
        self.end_where(stage, |trouble| trouble.until <= now).await?;
        if now < self.next || self.profile == Profile::None || self.is_patient(now, stage) {
            return Ok(());
        }
        self.wait_a_little();
        if self.deck.is_empty() {
            self.deck = Fault::deck(self.profile, &mut self.dice);
        }
        let Some(fault) = self.deck.pop() else { return Ok(()) };
        match self.happens(fault, stage).await? {
            true => *self.told.entry(plain(fault)).or_default() += 1,
            // Everybody whom it could strike is struck already: later, then.
            false => self.deck.insert(0, fault),
        }
        Ok(())
    }

    /// Ends everything.
    ///
    /// # Errors
    /// When the machine has no room for a new process.
    pub async fn rest(&mut self, stage: &mut Stage) -> anyhow::Result<()> {
        self.end_where(stage, |_| true).await?;
        stage.heal();
        while stage.visitors.len() < self.clients.min(1) {
            stage.admit().await?;
        }
        Ok(())
    }

    /// Faults that have not happened although the profile is made of them.
    pub fn missing(&self) -> Vec<&'static str> {
        self.told.iter().filter(|(_, count)| **count == 0).map(|(fault, _)| fault.as_str()).collect()
    }

    async fn happens(&mut self, fault: Fault, stage: &mut Stage) -> anyhow::Result<bool> {
        match fault {
            Fault::Kill | Fault::KillForAWhile => {
                let Some(place) = self.free_worker(stage) else { return Ok(false) };
                self.kill(place, stage);
                match fault {
                    Fault::KillForAWhile => {
                        let span = stage.span(200, 2_500);
                        self.troubles.begin(span, What::Empty(place));
                    }
                    _ => stage.replace(place).await?,
                }
            }
            Fault::KillAll => {
                let places = self.troubles.free_workers(stage);
                places.iter().for_each(|place| self.kill(*place, stage));
                for place in places {
                    stage.replace(place).await?;
                }
            }
            Fault::Hiccup | Fault::Freeze => {
                let Some(place) = self.free_worker(stage) else { return Ok(false) };
                let span = if fault == Fault::Freeze { (3_600, 6_000) } else { (50, 1_500) };
                let span = stage.span(span.0, span.1);
                self.troubles.begin(span, What::Frozen(place));
                stage.worker(place).stop();
            }
            Fault::StallBroker | Fault::CutAndStall if self.troubles.has(&What::BrokerFrozen) => {
                return Ok(false);
            }
            Fault::StallBroker | Fault::CutAndStall => {
                if fault == Fault::CutAndStall {
                    stage.crew.iter().for_each(|member| member.work.cut(Cut::Rst));
                    // It hears of that, and not yet of their return.
                    Metronome::once(HEARD_WITHIN).await;
                }
                let span = if self.dice.permille(500) { (200, 1_500) } else { (3_200, 5_000) };
                let span = stage.span(span.0, span.1);
                self.troubles.begin(span, What::BrokerFrozen);
                stage.cluster.broker().stop();
            }
            Fault::Harm(harm, party) => return Ok(self.harm(harm, party, stage)),
            Fault::Leave | Fault::Drain => return self.send_away(fault, stage).await,
            Fault::Join if stage.visitors.len() >= self.clients + VISITORS_MORE => return Ok(false),
            Fault::Join => stage.admit().await?,
            Fault::Part | Fault::Vanish if stage.visitors.len() < 2 => return Ok(false),
            Fault::Part | Fault::Vanish => {
                let place = self.dice.below(stage.visitors.len() as u64) as usize;
                if fault == Fault::Vanish {
                    stage.visitors[place].proxy().silence(&Way::BOTH, Silence::Swallowed);
                }
                stage.dismiss(place);
                if stage.visitors.len() < self.clients {
                    stage.admit().await?;
                }
            }
            Fault::KillBroker | Fault::KillBrokerForAWhile if self.troubles.has(&What::BrokerAway) => {
                return Ok(false);
            }
            Fault::KillBroker | Fault::KillBrokerForAWhile => {
                let sums = stage.ledger.sums();
                self.kills_under_load += u64::from(sums.submitted > sums.settled);
                stage.cluster.broker().kill();
                self.incidents.broker_killed();
                match fault {
                    Fault::KillBroker => stage.restart_broker(),
                    _ => {
                        let span = stage.span(200, 1_500);
                        self.troubles.begin(span, What::BrokerAway);
                    }
                }
            }
        }
        Ok(true)
    }

    fn kill(&mut self, place: usize, stage: &Stage) {
        stage.worker(place).kill();
        self.incidents.killed(&stage.crew[place].name);
    }

    async fn send_away(&mut self, fault: Fault, stage: &mut Stage) -> anyhow::Result<bool> {
        let Some(place) = self.free_worker(stage) else { return Ok(false) };
        match fault {
            Fault::Drain => {
                let name = stage.crew[place].name.clone();
                if !stage.drain(&name).await {
                    return Ok(false);
                }
            }
            _ => stage.worker(place).term(),
        }
        stage.replace(place).await?;
        Ok(true)
    }

    fn harm(&mut self, harm: Harm, party: Party, stage: &mut Stage) -> bool {
        let parties = [party, Party::Worker, Party::Client, Party::Knowledge];
        let target = parties.into_iter().find_map(|party| self.free_way(party, stage));
        let Some(target) = target else { return false };
        let Some(way) = target.way(stage) else { return false };
        harm.inflict(way, &mut self.dice);
        if let Some((least, most)) = harm.lasts_ms() {
            let span = stage.span(least, most);
            self.troubles.begin(span, What::Harmed(target, harm));
        }
        true
    }

    async fn end_where(
        &mut self,
        stage: &mut Stage,
        is_over: impl Fn(&Trouble) -> bool,
    ) -> anyhow::Result<()> {
        for Trouble { since_ns, what, .. } in self.troubles.take(is_over) {
            match what {
                What::Frozen(place) => {
                    stage.worker(place).cont();
                    self.incidents.paused(&stage.crew[place].name, since_ns);
                }
                What::BrokerFrozen => {
                    stage.cluster.broker().cont();
                    self.incidents.broker_stalled(since_ns);
                }
                What::Empty(place) => stage.replace(place).await?,
                What::BrokerAway => stage.restart_broker(),
                What::Harmed(target, harm) => {
                    if let Some(way) = target.way(stage) {
                        way.heal();
                    }
                    // Slowness alone is no reason to give anybody up.
                    if let Target::Worker(place) = target
                        && !matches!(harm, Harm::Slow | Harm::Gap)
                    {
                        self.incidents.cut_off(&stage.crew[place].name, since_ns);
                    }
                }
            }
        }
        Ok(())
    }

    fn wait_a_little(&mut self) {
        let (least, most) = match self.profile {
            // Again before anybody has found it, and after all have, and work goes on.
            Profile::Broker => (self.pace / 5, self.pace * 4),
            _ => (self.pace / 2, self.pace * 3 / 2),
        };
        self.next = Instant::now() + self.dice.span(least, most);
    }

    /// Whether work is to go on first. A broker that needs longer to come back than the faults leave it would
    /// be killed without end while nothing happens.
    fn is_patient(&mut self, now: Instant, stage: &Stage) -> bool {
        if self.profile != Profile::Broker || self.troubles.has(&What::BrokerAway) {
            return false;
        }
        let settled = stage.ledger.sums().settled;
        let (enough, until) = *self.patience.get_or_insert((settled + WORK_BETWEEN, now + PATIENCE));
        let waits = settled < enough && now < until;
        if !waits {
            // The next one comes at any moment, or again after some work.
            let more = if self.dice.permille(500) { 0 } else { WORK_BETWEEN };
            self.patience = Some((settled + more, now + PATIENCE));
        }
        waits
    }

    fn free_worker(&mut self, stage: &Stage) -> Option<usize> {
        self.dice.pick(&self.troubles.free_workers(stage)).copied()
    }

    fn free_way(&mut self, party: Party, stage: &Stage) -> Option<Target> {
        self.dice.pick(&self.troubles.free_ways(party, stage)).cloned()
    }
}

/// Harms are counted by what they do, whoever suffers them.
fn plain(fault: Fault) -> Fault {
    match fault {
        Fault::Harm(harm, _) => Fault::Harm(harm, Party::Worker),
        other => other,
    }
}
