//! What attacks cost the broker in memory: at most a mebibyte a connection, and 64 MiB whatever comes.
//!
//! The broker is a process of its own, so what is measured is its own; the most that it ever had is compared
//! with what it had before. Behind each attack somebody honest is served.

use std::time::Duration;

use bytes::Bytes;
use ganger_client::{Client, ClientConfig, NewTask};
use ganger_common::limits::BROADCAST_BYTES_MAX;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::procfs::peak_rss_bytes;
use ganger_tests::scale::alone;
use ganger_tests::wait::until;
use ganger_transport::{Endpoint, raise_nofile_limit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::{Keys, SOON};
use crate::strangers::{announced, frame, greeting, shaken, visit};

const A_CONNECTION: u64 = 1 << 20;
const IN_ALL: u64 = 64 << 20;

/// A broker that has done some work, and what it took in memory for that.
struct Besieged {
    cluster: Cluster,
    client: Client,
    before: u64,
}

impl Besieged {
    async fn new() -> Self {
        let mut cluster = Cluster::start(&["--log", "error"]);
        cluster.add(&WorkerSpec::stock("w").slots(2));
        let client = Client::connect(ClientConfig::new(cluster.clients())).await.unwrap();
        Self::after_work(cluster, client).await
    }

    async fn after_work(cluster: Cluster, client: Client) -> Self {
        let mut it = Self { cluster, client, before: 0 };
        it.serves().await;
        it.before = it.cluster.broker().rss_bytes();
        it
    }

    async fn serves(&self) {
        let tasks = (0..100).map(|number| NewTask::new("echo", number.to_string()));
        for mut handle in self.client.submit_many(tasks).await.unwrap() {
            tokio::time::timeout(SOON, handle.outcome()).await.expect("honest peers are served").unwrap();
        }
    }

    /// Waits until something was counted.
    async fn counts(&self, name: &str, at_least: u64) {
        until(&format!("{name} at {at_least}"), SOON, || async {
            let status = self.client.status().await.unwrap();
            (status.counters.get(name).is_some_and(|count| *count >= at_least)).then_some(())
        })
        .await;
    }

    /// Holds what the attack has cost to what it may.
    async fn held(&self, connections: usize) {
        self.serves().await;
        let most = IN_ALL.min(A_CONNECTION * connections as u64);
        let peak = peak_rss_bytes(self.cluster.broker().pid()).unwrap();
        let more = peak.saturating_sub(self.before);
        println!(
            "{connections} connections: {} KiB more, {} KiB each",
            more >> 10,
            (more >> 10) / connections as u64
        );
        assert!(more <= most, "{connections} connections took {more} bytes, at most {most} are allowed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_a_thousand_silent_connections_cost_little() {
    let _turn = alone();
    raise_nofile_limit();
    let it = Besieged::new().await;
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(visit(&it.cluster.clients()).await);
    }
    it.counts("door_accepted", 1_000).await;
    it.held(1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_ten_thousand_half_handshakes_cost_little() {
    let _turn = alone();
    let files = usize::try_from(raise_nofile_limit()).unwrap_or(usize::MAX);
    let count = files.saturating_sub(1_000).min(10_000);
    let it = Besieged::new().await;
    let mut half = Vec::new();
    for _ in 0..count {
        let mut peer = visit(&it.cluster.clients()).await;
        // The door may have made room for the next already.
        let _ = peer.write_all(&greeting(b"NULL")[..32]).await;
        half.push(peer);
    }
    it.counts("door_handshake_crowded_out", count.saturating_sub(2_000) as u64).await;
    it.held(count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s9_a_storm_of_connections_leaves_nothing_behind() {
    let _turn = alone();
    let it = Besieged::new().await;
    for _ in 0..20_000 {
        // Above the rate nobody is heard, and the system may refuse before the door does.
        drop(TcpStream::connect(address(&it.cluster.clients())).await);
    }
    it.counts("door_connection_rate", 1).await;
    it.held(20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_announcements_and_endless_messages_cost_little() {
    let _turn = alone();
    let it = Besieged::new().await;
    let to = it.cluster.clients();
    let attacks = [
        announced(0, u64::MAX >> 1),
        announced(0, 1 << 31),
        frame(1, b"").repeat(100_000),
        frame(1, &vec![0; 60 << 10]).repeat(32),
        // Below every limit, and then nothing more.
        [announced(0, 48 << 10), vec![0; 40 << 10]].concat(),
    ];
    let mut held = Vec::new();
    for number in 0..200 {
        let mut peer = shaken(&to, b"DEALER").await;
        let _ = peer.write_all(&attacks[number % attacks.len()]).await;
        held.push(peer);
    }
    it.counts("door_message_too_large", 80).await;
    it.counts("door_too_many_parts", 80).await;
    it.held(200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_subscribers_that_stop_cost_little_and_are_cut() {
    let _turn = alone();
    let it = Besieged::new().await;
    let (to, count) = (it.cluster.endpoints().knowledge.parse().unwrap(), 200);
    let mut deaf = Vec::new();
    for _ in 0..count {
        let mut peer = shaken(&to, b"SUB").await;
        peer.write_all(&frame(0, b"\x01")).await.unwrap();
        deaf.push(peer);
    }
    // The largest are what a connection of its own keeps most of.
    let body = Bytes::from(vec![7; BROADCAST_BYTES_MAX]);
    until("they are cut", Duration::from_secs(60), || async {
        for _ in 0..16 {
            it.client.publish("news", body.clone()).await.unwrap();
        }
        let status = it.client.status().await.unwrap();
        (status.counters["door_slow_reader"] >= count).then_some(())
    })
    .await;
    it.held(deaf.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_peers_that_talk_and_never_read_cost_little() {
    let _turn = alone();
    let it = Besieged::new().await;
    let mut deaf = Vec::new();
    for _ in 0..100 {
        let mut peer = shaken(&it.cluster.clients(), b"DEALER").await;
        let _ = peer.write_all(&frame(0, b"tell me something").repeat(1_000)).await;
        deaf.push(peer);
    }
    it.counts("messages_undecodable", 10_000).await;
    it.held(100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s17_messagepack_bombs_cost_little() {
    let _turn = alone();
    let it = Besieged::new().await;
    let named = |body: &[u8]| [b"\x92\xa6submit".as_slice(), body].concat();
    let bombs = [
        // Lists in lists, deeper than any stack; lists and texts that announce more than there is.
        named(&vec![0x91; 60_000]),
        named(&[b"\x82\xa3seq\x01\xa5tasks".as_slice(), &[0xdd, 0xff, 0xff, 0xff, 0xff]].concat()),
        named(&[0xdf, 0xff, 0xff, 0xff, 0xff]),
        named(&[0xdb, 0xff, 0xff, 0xff, 0xff]),
        named(&[0xdc, 0xff, 0xff].repeat(20_000)),
        named(b"\x82\xa3seq\x01\xa3seq\x01"),
        named(b"\x81\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x01"),
        named(b"\x81\xa2\xff\xfe\x01"),
        named(b"\xc9\x7f\xff\xff\xff\x01"),
    ];
    let mut peers = Vec::new();
    for number in 0..100 {
        let mut peer = shaken(&it.cluster.clients(), b"DEALER").await;
        peer.write_all(&frame(0, &bombs[number % bombs.len()])).await.unwrap();
        // Each is answered with an error, and nothing else.
        let flags = tokio::time::timeout(SOON, peer.read_u8()).await.unwrap().unwrap();
        assert!(flags & !2 == 0, "a message");
        peers.push(peer);
    }
    it.counts("messages_undecodable", 100).await;
    it.held(100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s7_handshakes_of_curve_that_do_not_end_cost_little() {
    let _turn = alone();
    let keys = Keys::new();
    let [client, worker] = ["client", "worker"].map(|name| keys.person(name));
    keys.authorise(&[(&client, "submit,admin"), (&worker, "work,knowledge-read")]);
    let mut cluster = keys.cluster(&["--log", "error"]);
    cluster.add(&keys.worker("w", &worker).slots(2));
    let mine = keys.client(&cluster, &client).await;
    let it = Besieged::after_work(cluster, mine).await;
    let hello = [greeting(b"CURVE").to_vec(), announced(4, 1_000), vec![0; 900]].concat();
    let mut half = Vec::new();
    for _ in 0..1_000 {
        let mut peer = visit(&it.cluster.clients()).await;
        let _ = peer.write_all(&hello).await;
        half.push(peer);
    }
    it.counts("door_accepted", 1_000).await;
    it.held(1_000).await;
}

fn address(to: &Endpoint) -> (&str, u16) {
    (to.host().unwrap(), to.port().unwrap())
}
