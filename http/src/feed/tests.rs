//! The ring, its readers and its numbers.

use std::time::Duration;

use ganger_common::{Outcome, Revision, TaskId, WorkerId};

use super::*;
use crate::limits::FEED_EVENTS_MAX;

fn accepted(n: u8, kind: &str) -> News {
    News::TaskAccepted { id: TaskId::from_bytes([n; 16]), kind: kind.into() }
}

fn left() -> News {
    News::WorkerLeft { worker: WorkerId::from_bytes([1; 16]), name: "w".to_owned() }
}

fn changed(topic: &str) -> News {
    let (topic, key) = (topic.to_owned(), "k".to_owned());
    News::KnowledgeChanged { topic, key, revision: Revision(1), removed: false, bytes: 0 }
}

/// A ring that began at 100 and has had so many events.
fn ring(events: usize) -> Ring {
    let mut ring = Ring::default();
    ring.begin(100);
    (0..events).for_each(|_| ring.push(left(), 0));
    ring
}

fn numbers(read: &Read) -> Vec<u64> {
    read.events.iter().map(|event| event.number).collect()
}

#[test]
fn whoever_reads_on_from_a_number_gets_what_came_after_it() {
    let ring = ring(5);
    assert_eq!(ring.kept(), (100, 104));
    let read = ring.read(101, 2);
    assert_eq!((read.missed, numbers(&read), read.last), (None, vec![102, 103], 103));
    let read = ring.read(104, 2);
    assert_eq!((read.missed, numbers(&read), read.last), (None, vec![], 104));
    assert_eq!(numbers(&ring.read(99, 9)), [100, 101, 102, 103, 104]);
}

#[test]
fn whoever_is_overtaken_is_told_how_much_was_missed_and_goes_on_with_the_oldest() {
    let ring = ring(FEED_EVENTS_MAX + 10);
    let read = ring.read(103, 1);
    assert_eq!(read.missed, Some(Missed { count: Some(6), oldest: 110 }));
    assert_eq!(numbers(&read), [110]);
    assert_eq!(ring.read(109, 1).missed, None);
}

#[test]
fn of_a_time_in_which_nobody_counted_nobody_says_how_much_was_missed() {
    let mut ring = ring(5);
    assert_eq!(ring.read(7, 1).missed, Some(Missed { count: None, oldest: 100 }), "from before");
    assert_eq!(ring.read(1_000, 1).missed, Some(Missed { count: None, oldest: 100 }), "from the future");
    ring.end();
    ring.begin(50);
    assert_eq!(ring.kept(), (106, 105), "a number is never used again");
    let missed = Some(Missed { count: None, oldest: 106 });
    assert_eq!((ring.read(104, 1).missed, ring.read(105, 1).missed), (missed, None));
}

#[test]
fn what_is_counted_is_told_once_a_second() {
    let mut ring = ring(0);
    let now = Instant::now();
    let mut counts = Counts { accepted: 7, ..Counts::default() };
    counts.settled.add(Outcome::Failed);
    ring.count(&counts, now);
    ring.count(&counts, now + FEED_SUMMARY / 2);
    ring.sum_up(now + FEED_SUMMARY / 2, 0);
    assert!(ring.read(99, 1).events.is_empty());
    ring.sum_up(now + FEED_SUMMARY, 0);
    ring.sum_up(now + FEED_SUMMARY * 2, 0);
    let read = ring.read(99, 9);
    let told = serde_json::to_value(&*read.events[0]).unwrap();
    let expected = serde_json::json!({"number": 100, "at_ms": 0, "type": "summary", "ms": 1_000, "accepted": 14,
                                      "settled": {"failed": 2}});
    assert_eq!((told, read.events.len()), (expected, 1));
}

#[test]
fn nothing_is_kept_before_somebody_watches() {
    let feed = Feed::default();
    assert!(!feed.is_awake());
    feed.publish(Batch { news: vec![left()], ..Batch::default() }, 0);
    assert!(feed.read(0, 9).events.is_empty());
    let seat = feed.sit_down();
    let (_, newest) = feed.kept();
    feed.publish(Batch { news: vec![left()], ..Batch::default() }, 0);
    drop(seat);
    assert!(feed.is_awake(), "whoever comes back soon finds what happened");
    assert_eq!(numbers(&feed.read(newest, 9)), [newest + 1]);
}

#[tokio::test]
async fn whoever_waits_is_woken() {
    let feed = Feed::default();
    let _seat = feed.sit_down();
    let mut newest = feed.newest();
    let running = tokio::spawn({
        let feed = feed.clone();
        async move { feed.run().await }
    });
    feed.publish(Batch { news: vec![left()], ..Batch::default() }, 0);
    let (_, last) = feed.kept();
    tokio::time::timeout(Duration::from_secs(5), newest.wait_for(|newest| *newest == last))
        .await
        .unwrap()
        .unwrap();
    running.abort();
}

fn filter(types: &[&str], kinds: &[&str], topics: &[&str], sight: &Sight) -> Filter {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Filter::new(Wishes { types: owned(types), kinds: owned(kinds), topics: owned(topics) }, sight).unwrap()
}

fn shown(filter: &Filter, sight: &Sight) -> Vec<&'static str> {
    let all = [accepted(1, "a.x"), accepted(2, "b.x"), left(), changed("t.1"), changed("u.1")];
    let names = ["a.x", "b.x", "left", "t.1", "u.1"];
    let event = |news| Event { number: 1, at_ms: 0, news };
    let is_shown = all.into_iter().map(|news| filter.show(&event(news), sight).is_some());
    names.into_iter().zip(is_shown).filter_map(|(name, is_shown)| is_shown.then_some(name)).collect()
}

#[test]
fn a_filter_shows_what_is_asked_for() {
    let all = Sight::ALL;
    assert_eq!(shown(&filter(&[], &[], &[], &all), &all), ["a.x", "b.x", "left", "t.1", "u.1"]);
    assert_eq!(shown(&filter(&["tasks"], &["b.x"], &[], &all), &all), ["b.x"]);
    assert_eq!(shown(&filter(&[], &["b.x"], &["u.1"], &all), &all), ["b.x", "left", "u.1"]);
    assert_eq!(shown(&filter(&["worker_left", "task_settled"], &[], &[], &all), &all), ["left"]);
}

#[test]
fn i20_nobody_sees_what_the_rights_do_not_cover() {
    let some = |prefix: &str| Names::Beginning(vec![prefix.to_owned()]);
    let sight = Sight { tasks: some("a."), workers: false, knowledge: some("t.") };
    let everything = filter(&[], &[], &[], &sight);
    assert_eq!(shown(&everything, &sight), ["a.x", "t.1"]);
    assert_eq!(shown(&filter(&["tasks"], &["b.x"], &[], &sight), &sight), [""; 0]);
    let wishes = Wishes { types: vec!["worker_left".to_owned()], ..Wishes::default() };
    assert_eq!(Filter::new(wishes, &sight).unwrap_err().code, "denied");
    let none = Sight { tasks: Names::None, workers: false, knowledge: Names::None };
    assert_eq!(Filter::new(Wishes::default(), &none).unwrap_err().code, "denied");
    let counts = Counts { accepted: 1, workers: 2, knowledge: 3, ..Counts::default() };
    let summary = News::Summary(counts::Summary::of(counts, Duration::from_secs(1)));
    let event = Event { number: 1, at_ms: 0, news: summary };
    let told = serde_json::to_value(everything.show(&event, &sight).unwrap()).unwrap();
    assert_eq!((told.get("workers"), &told["knowledge"]), (None, &3.into()));
}

#[test]
fn a_type_that_there_is_not_is_refused_with_those_that_there_are() {
    let wishes = Wishes { types: vec!["task_lost".to_owned()], ..Wishes::default() };
    let refusal = Filter::new(wishes, &Sight::ALL).unwrap_err();
    assert_eq!(refusal.code, "bad_option");
    assert!(refusal.message.contains("worker_lost"), "{}", refusal.message);
}

#[test]
fn texts_are_cut_between_characters() {
    assert_eq!(cut("short"), "short");
    let long = cut(&"é".repeat(1_000));
    assert!(long.len() <= crate::limits::EVENT_TEXT_MAX + '…'.len_utf8() && long.ends_with('…'));
}
