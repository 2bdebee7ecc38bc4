//! Publications.

use std::time::Duration;

use bytes::Bytes;
use ganger_transport::{Connector, Limits, Publisher, Subscription};

use crate::net::Net;

/// A subscriber that has joined hears the next publication within this; until then publishing is repeated.
const PATIENCE: Duration = Duration::from_millis(20);

fn parts(topic: &'static str, header: u8, body: &'static str) -> [Bytes; 3] {
    [Bytes::from_static(topic.as_bytes()), Bytes::copy_from_slice(&[header]), Bytes::from(body)]
}

/// Subscribes, and returns when the publisher knows.
async fn joined<N: Net>(
    net: &N,
    publisher: &N::Publisher,
    topics: &[&str],
) -> <N::Connector as Connector>::Subscription {
    let mut topics: Vec<String> = topics.iter().map(ToString::to_string).collect();
    let hello = format!("hello {}", topics.join(","));
    topics.push(hello.clone());
    let mut subscription =
        net.connector().subscribe(publisher.endpoint(), &topics, &Limits::default()).await.unwrap();
    loop {
        publisher.publish([hello.clone().into(), Bytes::new(), Bytes::new()]).unwrap();
        if let Ok(heard) = tokio::time::timeout(PATIENCE, subscription.recv()).await {
            assert_eq!(heard.unwrap()[0], hello);
            return subscription;
        }
    }
}

/// The next publication that is not a late hello.
async fn next(subscription: &mut impl Subscription) -> [Bytes; 3] {
    loop {
        let heard = subscription.recv().await.unwrap();
        if !heard[0].starts_with(b"hello ") {
            return heard;
        }
    }
}

pub(crate) async fn topics_are_matched_by_prefix(net: impl Net) {
    let publisher = net.publish(&net.free()).await;
    let mut narrow = joined(&net, &publisher, &["weather.north", "sport"]).await;
    let mut wide = joined(&net, &publisher, &["weather"]).await;
    for publication in [
        parts("weather.south", 1, "rain"),
        parts("weather.north", 2, "snow"),
        parts("music", 3, "jazz"),
        parts("sport.news", 4, "one to nil"),
        parts("weather.north.east", 5, ""),
    ] {
        publisher.publish(publication).unwrap();
    }
    assert_eq!(next(&mut narrow).await, parts("weather.north", 2, "snow"));
    assert_eq!(next(&mut narrow).await, parts("sport.news", 4, "one to nil"));
    assert_eq!(next(&mut narrow).await, parts("weather.north.east", 5, ""));
    assert_eq!(next(&mut wide).await, parts("weather.south", 1, "rain"));
    assert_eq!(next(&mut wide).await, parts("weather.north", 2, "snow"));
    assert_eq!(next(&mut wide).await, parts("weather.north.east", 5, ""));
    narrow.close().await;
    wide.close().await;
}

pub(crate) async fn the_end_of_a_publisher_ends_its_subscriptions(net: impl Net) {
    let publisher = net.publish(&net.free()).await;
    let endpoint = publisher.endpoint().clone();
    let mut subscription = joined(&net, &publisher, &["weather"]).await;
    for _ in 0..100 {
        publisher.publish(parts("weather", 0, "fog")).unwrap();
    }
    publisher.shutdown(Duration::from_secs(30)).await;
    for _ in 0..100 {
        assert_eq!(next(&mut subscription).await, parts("weather", 0, "fog"));
    }
    subscription.recv().await.unwrap_err();

    let publisher = net.publish(&endpoint).await;
    let mut subscription = joined(&net, &publisher, &["weather"]).await;
    publisher.publish(parts("weather", 0, "sun")).unwrap();
    assert_eq!(next(&mut subscription).await, parts("weather", 0, "sun"));
}
