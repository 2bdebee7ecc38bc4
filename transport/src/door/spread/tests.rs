//! The log of publications: what each reader sees of it.

use futures_util::FutureExt;

use super::super::wire;
use super::*;

const LONG: Duration = Duration::from_secs(30);

fn publication(topic: &str, body: usize) -> (Bytes, Range<usize>) {
    let mut bytes = Vec::new();
    wire::put_frame(&mut bytes, true, false, topic.as_bytes());
    wire::put_frame(&mut bytes, false, false, &vec![7; body]);
    (bytes.into(), 2..2 + topic.len())
}

fn say(spread: &Spread, topic: &str, body: usize) -> Bytes {
    let (bytes, place) = publication(topic, body);
    spread.push([(bytes.clone(), place)].into_iter(), Instant::now());
    bytes
}

fn subscribe(feed: &Feed, add: bool, topic: &str) {
    let mut frame = Vec::new();
    wire::put_frame(&mut frame, false, false, &[&[u8::from(add)], topic.as_bytes()].concat());
    assert_eq!(feed.write_now(&frame).unwrap(), frame.len());
}

fn listener(spread: &Arc<Spread>, topic: &str) -> Feed {
    let feed = spread.join();
    subscribe(&feed, true, topic);
    feed
}

fn read(feed: &Feed, most: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; most];
    let count = feed.read_now(&mut bytes).unwrap()?;
    Some(bytes[..count].to_vec())
}

#[test]
fn everybody_hears_what_it_subscribed_to_in_order_and_however_it_is_cut() {
    let spread = Spread::new(1 << 20, LONG);
    let (narrow, wide) = (listener(&spread, "a/b"), listener(&spread, "a"));
    let said = ["a/b", "a/c", "x", "a/bc"].map(|topic| say(&spread, topic, 10));
    assert_eq!(read(&narrow, 1_000).unwrap(), [&said[0][..], &said[3]].concat());
    let mut heard = Vec::new();
    while let Some(piece) = read(&wide, 7) {
        heard.extend(piece);
    }
    assert_eq!(heard, [&said[0][..], &said[1], &said[3]].concat());
    subscribe(&wide, false, "a");
    say(&spread, "a", 1);
    assert_eq!(read(&wide, 1_000), None);
}

#[test]
fn what_is_kept_is_bounded_and_whoever_needs_more_is_behind() {
    let spread = Spread::new(100_000, LONG);
    let (stopped, other) = (listener(&spread, "news"), listener(&spread, "quiet"));
    for _ in 0..1_000 {
        say(&spread, "news", 1_000);
        assert!(spread.log.read().kept <= 100_000);
    }
    assert_eq!(stopped.waiting(), Err(Breach::SlowReader));
    assert_eq!((read(&other, 1_000), other.waiting()), (None, Ok(0)), "it was not meant");
    let late = say(&spread, "quiet", 5);
    assert_eq!(other.waiting(), Ok(late.len()));
    assert_eq!(read(&other, 1_000).unwrap(), late);
    assert!(read(&stopped, 1_500).is_some_and(|heard| heard.len() == 1_500), "it goes on after a gap");
    for _ in 0..1_000 {
        say(&spread, "news", 1_000);
    }
    assert_eq!(read(&stopped, 1_000), None, "and cannot in the middle of a publication");
    assert_eq!(stopped.waiting(), Err(Breach::SlowReader));
}

#[test]
fn nothing_is_kept_for_longer_than_anybody_is_waited_for() {
    let spread = Spread::new(1 << 20, LONG);
    let stopped = listener(&spread, "");
    let begin = Instant::now();
    spread.push([publication("old", 1)].into_iter(), begin);
    spread.push([publication("young", 1)].into_iter(), begin + LONG);
    assert!(stopped.waiting().is_ok());
    spread.push([publication("new", 1)].into_iter(), begin + LONG + Duration::from_millis(1));
    assert_eq!(stopped.waiting(), Err(Breach::SlowReader));
    assert_eq!(spread.log.read().publications.len(), 2);
}

#[test]
fn whoever_waits_is_woken_by_what_comes_and_by_the_end() {
    let spread = Spread::new(1 << 20, LONG);
    let feed = listener(&spread, "");
    assert!(feed.readable().now_or_never().is_none() && feed.pushed().now_or_never().is_none());
    let said = say(&spread, "news", 1);
    assert!(feed.readable().now_or_never().is_some() && feed.pushed().now_or_never().is_some());
    assert_eq!((feed.waiting(), feed.pushed().now_or_never()), (Ok(said.len()), None));
    spread.close();
    assert_eq!(read(&feed, 1_000).unwrap(), said, "what was said comes before the end");
    assert!(feed.readable().now_or_never().is_some());
    assert_eq!(read(&feed, 1_000), Some(Vec::new()));
}
