//! Every timer, exactly: due at T means handled at T, and not a microsecond earlier.
//!
//! Each case brings the desk to the moment at which the timer is set, says how long it is from there, and
//! what shows that it has fired. The desk hands every deadline back when it comes, and nothing else calls
//! the scheduler but the heartbeats of whoever lives: a deadline that `poll_timeout` names too late is
//! handled too late, and one that is handled too early shows a microsecond before.

use std::time::Duration;

use ganger_common::AttemptEnd;
use ganger_scheduler::effect::{Effect, Publication, WorkerCommand};
use ganger_scheduler::input::Input;
use ganger_scheduler::{Config, Now, Scheduler, Time};

use crate::support::*;

const TICK: Duration = Duration::from_micros(1);

/// Lets time pass until just before, then to the moment; `happened` looks whether it has fired.
#[track_caller]
fn exactly_after(desk: &mut Desk, span: Duration, mut happened: impl FnMut(&mut Desk) -> bool) {
    desk.pass(span - TICK);
    assert!(!happened(desk), "it was handled early");
    desk.pass(TICK);
    assert!(happened(desk), "it was not handled when it was due");
}

/// A desk whose queue holds task 1 with a worker at it, reported as started.
fn running(set: impl FnOnce(&mut ganger_common::TaskOptions)) -> (Desk, Client, Worker) {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, set)]);
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.start(&worker, &[lease(1, 1)]);
    (desk, client, worker)
}

#[test]
fn a_delayed_task_is_given_out_when_it_is_due() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, vec![task_with(1, |options| options.delay_ms = 1_234)]);
    exactly_after(&mut desk, ms(1_234), |desk| desk.given(&worker) == [(1, 1)]);
}

#[test]
fn a_failed_task_is_given_out_when_its_pause_is_over() {
    let (mut desk, _, worker) = running(|_| ());
    desk.end(&worker, vec![failure_with(1, 1, |detail| detail.retry_after = Some(ms(777)))]);
    exactly_after(&mut desk, ms(777), |desk| desk.given(&worker) == [(1, 2)]);
}

#[test]
fn a_task_expires_when_its_time_is_over() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, vec![task_with(1, |options| options.ttl_ms = Some(4_321))]);
    let expired = [(1, ganger_common::Outcome::Expired)];
    exactly_after(&mut desk, ms(4_321), |desk| desk.outcomes(client) == expired);
}

#[test]
fn an_attempt_is_taken_away_a_second_after_its_run_limit() {
    let (mut desk, client, worker) = running(|options| options.run_limit_ms = Some(500));
    exactly_after(&mut desk, ms(1_500), |desk| {
        desk.commands(&worker).iter().any(|command| matches!(command, WorkerCommand::Cancel { .. }))
    });
    assert_eq!(desk.fetch(client, 1).map(|task| task.attempts[0].end), Some(AttemptEnd::TimedOut));
}

#[test]
fn a_silent_worker_is_given_up_after_heartbeat_times_liveness() {
    let (mut desk, _, worker) = running(|_| ());
    desk.beat_once(&worker);
    desk.mute(&worker);
    exactly_after(&mut desk, secs(3), |desk| is_given_up(desk, &worker));
}

fn is_given_up(desk: &mut Desk, worker: &Worker) -> bool {
    desk.commands(worker);
    desk.closed() == [worker.conn]
}

#[test]
fn a_silent_worker_that_has_nothing_is_given_up_after_twice_that() {
    let mut desk = Desk::new();
    let worker = desk.worker(1, 1);
    desk.beat_once(&worker);
    desk.mute(&worker);
    exactly_after(&mut desk, secs(6), |desk| is_given_up(desk, &worker));
}

#[test]
fn a_silent_worker_that_is_given_something_has_the_usual_span_from_then_on() {
    for later in [ms(0), ms(2_999), ms(3_000), ms(5_999)] {
        let mut desk = Desk::new();
        let (client, worker) = (desk.client(1), desk.worker(1, 1));
        desk.beat_once(&worker);
        desk.mute(&worker);
        desk.pass(later);
        desk.submit(client, tasks([1]));
        assert_eq!(desk.given(&worker), [(1, 1)]);
        exactly_after(&mut desk, secs(3), |desk| is_given_up(desk, &worker));
    }
}

#[test]
fn a_worker_whose_connection_broke_is_given_up_after_the_grace() {
    let (mut desk, _, worker) = running(|_| ());
    let other = desk.worker(2, 1);
    desk.cut(worker.conn);
    exactly_after(&mut desk, secs(2), |desk| desk.given(&other) == [(1, 2)]);
}

#[test]
fn a_silent_client_is_given_up_after_heartbeat_times_liveness() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.mute_conn(client.conn);
    exactly_after(&mut desk, secs(3), |desk| {
        desk.replies(client);
        desk.closed() == [client.conn]
    });
}

#[test]
fn a_recovered_task_is_given_out_when_the_reattach_window_ends() {
    let mut desk = Desk::new();
    let client = desk.client(1);
    desk.submit(client, tasks([1]));
    desk.restart();
    let worker = desk.worker(1, 1);
    exactly_after(&mut desk, secs(5), |desk| desk.given(&worker) == [(1, 1)]);
}

#[test]
fn what_nobody_claims_is_stale_when_the_reattach_window_ends() {
    let mut desk = Desk::early(|config| config.epoch = ganger_common::Epoch(2));
    let mut hello = worker_hello(1, &[KIND], 1);
    hello.holding = vec![held_started(1, 1)];
    let worker = desk.join(hello);
    exactly_after(&mut desk, secs(5), |desk| {
        desk.commands(&worker).iter().any(|command| matches!(command, WorkerCommand::Cancel { .. }))
    });
}

#[test]
fn what_waits_is_recalled_twenty_milliseconds_after_somebody_else_is_idle() {
    let mut desk = Desk::new();
    let (client, hoarder) = (desk.client(1), desk.worker(1, 1));
    desk.grow_credit(client, &hoarder);
    desk.submit(client, tasks(1..=3));
    assert_eq!(desk.given(&hoarder).len(), 3);
    let _idle = desk.worker(2, 1);
    exactly_after(&mut desk, ms(20), |desk| {
        desk.commands(&hoarder).iter().any(|command| matches!(command, WorkerCommand::Recall { .. }))
    });
}

#[test]
fn an_outcome_is_forgotten_when_it_was_kept_long_enough() {
    let mut desk = Desk::with(|config| config.retain_for = secs(7));
    let (client, worker) = (desk.client(1), desk.worker(1, 1));
    desk.submit(client, tasks([1]));
    assert_eq!(desk.given(&worker), [(1, 1)]);
    desk.end(&worker, vec![success(1, 1)]);
    desk.outcomes(client);
    // Outcomes that settled within a second leave together, so each stays up to a second longer.
    exactly_after(&mut desk, secs(8), |desk| desk.scheduler.status().retained == 0);
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let (mut desk, client, worker) = running(|_| ());
    desk.feed(Input::Drain { deadline: ms(2_500) });
    exactly_after(&mut desk, ms(2_500), |desk| {
        let drained = desk.pick(|effect| matches!(effect, Effect::Drained).then_some(()));
        !drained.is_empty()
    });
    desk.replies(client);
    desk.commands(&worker);
}

#[test]
fn a_beat_goes_out_every_heartbeat() {
    let begin = Now { time: Time(1_000_000), ..Now::default() };
    let at = |span: Duration| Now { time: begin.time.plus(span), ..begin };
    let mut scheduler = Scheduler::new(Config::default(), begin);
    let mut beats = |now: Now| {
        scheduler.handle_timeout(now);
        let effects = std::iter::from_fn(|| scheduler.poll_effect());
        let beats = effects.filter(|effect| matches!(effect, Effect::Publish(Publication::Beat { .. })));
        (beats.count(), scheduler.poll_timeout())
    };
    for n in 1..=20 {
        assert_eq!(beats(at(secs(n) - TICK)).0, 0, "beat {n} came early");
        let (count, next) = beats(at(secs(n)));
        assert_eq!(count, 1, "beat {n} did not come");
        assert!(next.is_some_and(|(due, _)| due > at(secs(n)).time), "nothing is still due");
    }
}

#[test]
fn the_tick_comes_often_enough_to_see_a_stall_of_half_a_heartbeat() {
    let mut desk = Desk::new();
    desk.worker(1, 1);
    let quarter = desk.scheduler.config().heartbeat / 4;
    for _ in 0..40 {
        let (due, _) = desk.scheduler.poll_timeout().expect("there is a peer");
        assert!(due.since(desk.now.time) <= quarter);
        desk.pass(due.since(desk.now.time));
    }
    assert_eq!(desk.counted("own_stalls"), 0);
}

#[test]
fn several_timers_of_one_moment_are_all_handled_then() {
    let mut desk = Desk::new();
    let (client, worker) = (desk.client(1), desk.worker(1, 4));
    let one = |n| task_with(n, |options| options.delay_ms = 1_000);
    let other = |n| task_with(n, |options| (options.delay_ms, options.ttl_ms) = (2_000, Some(1_000)));
    desk.submit(client, vec![one(1), one(2), other(3), other(4)]);
    exactly_after(&mut desk, secs(1), |desk| {
        let given = desk.given(&worker) == [(1, 1), (2, 1)];
        given && desk.outcomes(client).len() == 2
    });
}
