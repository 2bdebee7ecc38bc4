//! Peers that do not read, or do not stop.

use bytes::Bytes;
use ganger_transport::{Connection, DownReason, Limits, SendError, Server};

use crate::net::{Host, Net, number, numbered};

const MESSAGE: usize = 64 << 10;

/// More than the system buffers between two sockets: whoever was given this much and took it is not bounded.
const UNBOUNDED: usize = (1 << 30) / MESSAGE;

/// The other side is asked this many things between two looks at a queue that should stay full.
const ROUNDS: usize = 50;

pub(crate) async fn a_peer_that_does_not_read_fills_only_its_own_queue(net: impl Net) {
    let limits = Limits { outbox_bytes: 1 << 20, ..Limits::default() };
    let mut host = Host::limited(&net, limits).await;
    let tiny = Limits { inbox_messages: 1, ..Limits::default() };
    let stalled = host.connect_limited(&net, &tiny).await;
    let to_stalled = host.up().await;
    let mut healthy = host.connect(&net).await;
    let to_healthy = host.up().await;

    let mut accepted = 0;
    let mut was_full = false;
    loop {
        match host.server.try_send(to_stalled, numbered(accepted, MESSAGE)) {
            Ok(()) => {
                accepted += 1;
                was_full = false;
            }
            Err(SendError::Full(_)) if was_full => break,
            Err(SendError::Full(_)) => {
                was_full = true;
                for round in 0..ROUNDS {
                    host.server.try_send(to_healthy, numbered(round, 8)).unwrap();
                    assert_eq!(number(&healthy.recv().await.unwrap()), round);
                }
            }
            Err(SendError::Gone(_)) => panic!("the stalled peer is gone"),
        }
        assert!(accepted < UNBOUNDED);
    }
    assert!(accepted > 0);

    // It can be got rid of, and nobody else notices.
    host.server.kick(to_stalled, DownReason::Overflow);
    assert_eq!(host.down(to_stalled).await, DownReason::Overflow);
    healthy.try_send(Bytes::from_static(b"still here")).unwrap();
    assert_eq!(host.message().await, (to_healthy, Bytes::from_static(b"still here")));
    drop(stalled);
}

pub(crate) async fn a_flood_stops_at_the_inbox_and_is_delivered_in_the_end(net: impl Net) {
    let limits = Limits { inbox_messages: 10, ..Limits::default() };
    let mut host = Host::limited(&net, limits).await;
    let small = Limits { outbox_messages: 10, ..Limits::default() };
    let flooder = host.connect_limited(&net, &small).await;
    let quiet = host.connect(&net).await;
    let mut other = Host::start(&net).await;
    let mut busy = other.connect(&net).await;
    let to_busy = other.up().await;

    let mut accepted = 0;
    let mut was_full = false;
    loop {
        match flooder.try_send(numbered(accepted, MESSAGE)) {
            Ok(()) => {
                accepted += 1;
                was_full = false;
            }
            Err(SendError::Full(_)) if was_full => break,
            Err(SendError::Full(_)) => {
                was_full = true;
                // Other sockets of the same thread go on.
                for round in 0..ROUNDS {
                    other.server.try_send(to_busy, numbered(round, 8)).unwrap();
                    assert_eq!(number(&busy.recv().await.unwrap()), round);
                }
            }
            Err(SendError::Gone(_)) => panic!("the flooder is gone"),
        }
        assert!(accepted < UNBOUNDED);
    }
    assert!(accepted > 10);

    // Whoever speaks once gets a turn long before the flood is over.
    quiet.try_send(Bytes::from_static(b"one word")).unwrap();
    let mut expected = 0;
    let mut heard = None;
    while expected < accepted || heard.is_none() {
        let (_, body) = host.message().await;
        if body == "one word" {
            heard = Some(expected);
        } else {
            assert_eq!(number(&body), expected);
            expected += 1;
        }
    }
    assert!(heard.is_some_and(|before| before <= accepted));
}

pub(crate) async fn a_flooding_connection_does_not_hold_up_another(net: impl Net) {
    let inbox_bytes = 4 << 20;
    let mut host = Host::limited(&net, Limits { inbox_bytes, ..Limits::default() }).await;
    let small = Limits { outbox_bytes: 1 << 20, ..Limits::default() };
    let flooder = host.connect_limited(&net, &small).await;
    host.up().await;
    let quiet = host.connect(&net).await;
    let from_quiet = host.up().await;

    let flood = Bytes::from(vec![b'x'; MESSAGE]);
    // How many messages of the flooder come before each word of the quiet one.
    let mut before = Vec::new();
    for round in 0..ROUNDS {
        let mut full = 0;
        while full < ROUNDS {
            match flooder.try_send(flood.clone()) {
                Ok(()) => full = 0,
                Err(SendError::Full(_)) => full += 1,
                Err(SendError::Gone(_)) => panic!("the flooder is gone"),
            }
            tokio::task::yield_now().await;
        }
        quiet.try_send(numbered(round, 8)).unwrap();
        let mut count = 0;
        loop {
            let (conn, body) = host.message().await;
            if conn == from_quiet {
                assert_eq!(number(&body), round);
                break;
            }
            // Whoever takes a message looks at it, which takes longer than to receive one.
            assert!(body.iter().all(|byte| *byte == b'x'));
            count += 1;
        }
        before.push(count);
    }
    // Not in every round: the machine may be busy with other things.
    before.sort_unstable();
    let median = before[ROUNDS / 2];
    assert!(median * MESSAGE < inbox_bytes * 3 / 4, "{median} messages of the other before each word");
}
