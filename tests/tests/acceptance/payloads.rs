//! Payloads of every size, and connections that come and go.

use std::time::Duration;

use bytes::Bytes;
use ganger_client::{Error, NewTask};
use ganger_common::ErrorCode;
use ganger_common::limits::PAYLOAD_BYTES_MAX;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::Customer;
use ganger_tests::procfs;
use ganger_tests::raw::Raw;
use ganger_tests::scale::{Scale, shared};
use ganger_tests::wait::eventually;
use ganger_tests::work::fresh_id;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn i2_payloads_of_every_size_come_back_byte_for_byte() {
    let _turn = shared();
    let mut cluster = Cluster::start(&[]);
    cluster.add(&WorkerSpec::stock("echo").slots(4).args(&["--kinds", "echo"]));
    let mut customer = Customer::connect(&cluster).await;
    let near = |size: usize| [size - 1, size, size + 1];
    let sizes = [&[0, 1, 2][..], &near(32 << 10), &near(1 << 20), &near(4 << 20)].concat();
    let sizes = [sizes, vec![PAYLOAD_BYTES_MAX - 1, PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX]].concat();
    let payloads: Vec<Bytes> = sizes.iter().map(|size| noise(*size)).collect();
    let tasks = payloads.iter().map(|payload| NewTask::new("echo", payload.clone()).id(fresh_id()));
    let handles = customer.submit_all(tasks).await;
    let ids: Vec<_> = handles.iter().map(ganger_client::TaskHandle::id).collect();
    for outcome in customer.wait_all(handles, SOON).await {
        let place = ids.iter().position(|id| *id == outcome.id).unwrap();
        assert!(outcome.result == payloads[place], "{} bytes came back changed", sizes[place]);
    }

    let too_large = NewTask::new("echo", noise(PAYLOAD_BYTES_MAX + 1));
    match customer.client().submit(too_large).await {
        Err(Error::Refused { code: ErrorCode::TooLarge, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_come_and_go_leave_nothing_behind() {
    let _turn = shared();
    let rounds = Scale::from_env().pick(20, 200);
    let cluster = Cluster::start(&[]).with_diarists(1, 1);
    let customer = Customer::connect(&cluster).await;
    customer.await_workers(1, SOON).await;
    let open = || procfs::open_files(cluster.broker().pid()).unwrap_or(0);
    // Let the first round grow what grows once.
    come_and_go(&cluster, 50).await;
    // Each of fifty takes three files of the broker: to the peer, and both ends of the way to the library.
    eventually("the first connections are closed", SOON, || open() < 80);
    let (files, rss) = (open(), cluster.broker().rss_bytes());
    for _ in 0..rounds {
        come_and_go(&cluster, 50).await;
    }
    eventually("the connections are closed", SOON, || open() <= files + 2);
    let grown = cluster.broker().rss_bytes().saturating_sub(rss);
    let count = rounds * 50;
    println!(
        "{count} connections came and went: {} KiB more memory, {} more files",
        grown >> 10,
        open().saturating_sub(files)
    );
    // A little stays in pools of the allocator; a leak of a session each would be far more.
    assert!(grown < count * 2_048 + (8 << 20), "{grown} bytes");
    let status = customer.status().await;
    assert_eq!((status.clients, status.workers), (1, 1));
}

/// Connections of both kinds; some say hello, some say goodbye, some just go.
async fn come_and_go(cluster: &Cluster, count: usize) {
    let mut peers = Vec::new();
    for number in 0..count {
        let mut peer = match number % 2 {
            0 => Raw::connect(&cluster.clients()).await,
            _ => Raw::connect(&cluster.workers_endpoint()).await,
        };
        match number % 4 {
            0 => {
                peer.hello_client().await;
                peer.goodbye_client();
            }
            1 => {
                peer.hello_worker(&["x"], 1).await;
                peer.goodbye_worker();
            }
            _ => {}
        }
        peers.push(peer);
    }
    for peer in peers {
        peer.close().await;
    }
}

/// Bytes that no compression and no shift would leave the same.
fn noise(size: usize) -> Bytes {
    let mut state = size as u64 | 1;
    let mut step = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    (0..size).map(|_| step()).collect()
}
