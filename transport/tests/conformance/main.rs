//! What every backend must do, over every backend.
//!
//! A test here is a function over a [`Net`]; `suite!` runs it over TCP, through the door, with everything on one
//! thread, through the door encrypted, over Unix sockets and in memory.

mod conversation;
mod ending;
mod net;
mod pressure;
mod publishing;

use std::future::Future;
use std::time::Duration;

use net::{Curved, Doored, Here, Ipc, Mem, Net, Tcp};

/// No test waits for time; this only ends one that waits for what never comes.
const DEADLINE: Duration = Duration::from_secs(120);

async fn in_time(test: impl Future<Output = ()>) {
    tokio::time::timeout(DEADLINE, test).await.expect("the test takes too long");
}

macro_rules! suite {
    ($($module:ident: $($name:ident),+;)+) => {
        suite!(@over tcp Tcp threads $($module $($name)+;)+);
        suite!(@over door Doored threads $($module $($name)+;)+);
        suite!(@over here Here thread $($module $($name)+;)+);
        suite!(@over curve Curved threads $($module $($name)+;)+);
        suite!(@over ipc Ipc threads $($module $($name)+;)+);
        suite!(@over mem Mem threads $($module $($name)+;)+);
    };
    (@over $backend:ident $net:ident $on:ident $($module:ident $($name:ident)+;)+) => {
        mod $backend {
            use super::*;
            $($(suite!(@test $on $net $module $name);)+)+
        }
    };
    (@test threads $net:ident $module:ident $name:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            in_time(crate::$module::$name($net::new())).await;
        }
    };
    (@test thread $net:ident $module:ident $name:ident) => {
        #[tokio::test]
        async fn $name() {
            in_time(crate::$module::$name($net::new())).await;
        }
    };
}

suite! {
    conversation:
        what_is_sent_arrives_and_is_answered,
        order_holds_within_a_connection,
        many_peers_are_told_apart,
        a_big_message_arrives_whole,
        an_empty_message_arrives,
        a_message_over_the_limit_is_reported_and_not_delivered,
        a_cancelled_receive_loses_nothing;
    ending:
        coming_and_going_are_seen,
        a_kick_closes_after_what_was_sent,
        shutdown_delivers_what_was_accepted,
        close_delivers_what_was_accepted,
        a_restarted_server_is_reached_by_a_new_connection,
        connecting_to_nobody_fails_in_time,
        an_endpoint_in_use_is_named,
        churn_under_traffic_freezes_nobody;
    pressure:
        a_peer_that_does_not_read_fills_only_its_own_queue,
        a_flooding_connection_does_not_hold_up_another,
        a_flood_stops_at_the_inbox_and_is_delivered_in_the_end;
    publishing:
        topics_are_matched_by_prefix,
        the_end_of_a_publisher_ends_its_subscriptions;
}
