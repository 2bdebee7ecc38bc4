//! Peers with keys, and those who pretend.

use std::time::Instant;

use bytes::Bytes;
use ganger_transport::door::{Grant, SecretKey};
use ganger_transport::zmq::ZmqConnector;
use ganger_transport::{Auth, Connection, Connector, Limits, Server};
use omq_proto::proto::SocketType;
use omq_proto::proto::connection::{Connection as Codec, ConnectionConfig, Role};
use omq_proto::{CurveKeypair, CurvePublicKey, CurveSecretKey, MechanismSetup, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{Keys, Rig, frame, greeting, in_time, ready, says_and_is_closed, tight};

async fn guarded(allowed: &[&SecretKey]) -> (Rig, Keys) {
    let allowed: Vec<_> = allowed.iter().map(|key| (key.public(), Grant::default())).collect();
    let keys = Keys::new(&allowed);
    (Rig::with(tight(), keys.gate()).await, keys)
}

/// What connecting with this key to that broker comes to.
async fn refusal(rig: &Rig, connector: &ZmqConnector) -> String {
    let result = in_time(connector.connect(&rig.endpoint(), &Limits::default())).await;
    result.map(drop).unwrap_err().to_string()
}

/// A pair with a secret that the test knows, too.
fn pair() -> CurveKeypair {
    CurveKeypair::generate()
}

fn public(key: &CurveKeypair) -> ganger_transport::door::PublicKey {
    ganger_transport::door::PublicKey::from_bytes(*key.public.as_bytes())
}

/// A peer that goes through the handshake with a codec of its own.
async fn encrypted(rig: &Rig, keys: &Keys, pair: &CurveKeypair) -> (TcpStream, Codec) {
    let server_public = CurvePublicKey::from_bytes(*keys.broker.public().as_bytes());
    let mechanism = MechanismSetup::CurveClient { our_keypair: pair.clone(), server_public };
    let mut codec = Codec::new(ConnectionConfig::new(Role::Client, SocketType::Dealer).mechanism(mechanism));
    let mut peer = rig.connect_raw().await;
    let mut bytes = vec![0; 4_096];
    while !codec.is_ready() {
        let out = codec.poll_transmit();
        peer.write_all(&out).await.unwrap();
        codec.advance_transmit(out.len());
        let count = in_time(peer.read(&mut bytes)).await.unwrap();
        assert!(count > 0, "refused");
        codec.handle_input(Bytes::copy_from_slice(&bytes[..count])).unwrap();
    }
    (peer, codec)
}

fn sealed(codec: &mut Codec, text: &'static str) -> Bytes {
    codec.send_message(&Message::single(text)).unwrap();
    let out = codec.poll_transmit();
    codec.advance_transmit(out.len());
    out
}

#[tokio::test]
async fn a_connection_carries_the_key_that_was_proven() {
    let key = SecretKey::generate();
    let (mut rig, keys) = guarded(&[&key]).await;
    let _connection = rig.serves(&keys.connector(&key)).await;
    let _again = keys.connector(&key).connect(&rig.endpoint(), &Limits::default()).await.unwrap();
    assert_eq!(rig.up().await.1.auth, Auth::Key(key.public()));
}

#[tokio::test]
async fn s1_s29_no_peer_without_curve_is_served() {
    let key = SecretKey::generate();
    let (mut rig, keys) = guarded(&[&key]).await;
    let dealer = [ready(&[("Socket-Type", b"DEALER")]), frame(0, b"task")].concat();
    let mut zmtp_2 = greeting(b"")[..10].to_vec();
    zmtp_2.extend([1, 5, 0, 0, 0, 5, b'h', b'e', b'l', b'l', b'o']);
    for (bytes, counter) in [
        ([greeting(b"NULL").to_vec(), dealer.clone()].concat(), "wrong_mechanism"),
        ([greeting(b"PLAIN").to_vec(), dealer.clone()].concat(), "wrong_mechanism"),
        (zmtp_2, "old_zmtp"),
        // The right word, and then as if it had not been said.
        ([greeting(b"CURVE").to_vec(), dealer.clone()].concat(), "bad_curve"),
        ([greeting(b"CURVE").to_vec(), frame(0, b"task")].concat(), "bad_curve"),
    ] {
        let before = rig.count(counter);
        says_and_is_closed(rig.connect_raw().await, &bytes).await;
        rig.counts(counter, before + 1).await;
    }
    assert!(refusal(&rig, &ZmqConnector::default()).await.contains("cannot connect"));
    assert_eq!(rig.count("admitted"), 0);
    rig.serves(&keys.connector(&key)).await;
}

#[tokio::test]
async fn s2_a_broker_without_the_expected_key_is_not_trusted() {
    let key = SecretKey::generate();
    let (rig, mut keys) = guarded(&[&key]).await;
    keys.broker = SecretKey::generate();
    refusal(&rig, &keys.connector(&key)).await;
    rig.counts("bad_curve", 1).await;

    // One that answers, with a key of its own: a stranger in the middle.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = crate::rig::anywhere().with_port(listener.local_addr().unwrap().port());
    let stranger = async {
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut theirs = vec![0; 64 + 202];
        peer.write_all(&greeting(b"CURVE")).await.unwrap();
        peer.read_exact(&mut theirs).await.unwrap();
        // A WELCOME of the right shape that nobody with the right key has made.
        let welcome = [b"\x07WELCOME".as_slice(), &[7; 160]].concat();
        peer.write_all(&frame(4, &welcome)).await.unwrap();
        let mut after = Vec::new();
        let _ = peer.read_to_end(&mut after).await;
        assert!(after.is_empty(), "nothing is said to a stranger");
    };
    let connector = keys.connector(&key);
    let limits = Limits::default();
    let connecting = connector.connect(&to, &limits);
    let ((), result) = in_time(async { tokio::join!(stranger, connecting) }).await;
    assert!(result.is_err());
}

#[tokio::test]
async fn s3_a_key_that_is_not_listed_is_told_so_and_gets_nothing() {
    let (listed, stranger) = (SecretKey::generate(), SecretKey::generate());
    let (mut rig, keys) = guarded(&[&listed]).await;
    let why = refusal(&rig, &keys.connector(&stranger)).await;
    assert!(why.contains("does not allow this key"), "{why}");
    rig.counts("key_not_allowed", 1).await;
    assert_eq!(rig.count("admitted"), 0);
    rig.serves(&keys.connector(&listed)).await;
}

#[tokio::test]
async fn s5_what_was_recorded_is_worth_nothing_on_another_connection() {
    let pair = pair();
    let keys = Keys::new(&[(public(&pair), Grant::default())]);
    let mut rig = Rig::with(tight(), keys.gate()).await;
    let (recorded, to) = (std::sync::Arc::new(parking_lot::Mutex::new(Vec::new())), rig.endpoint());
    // Somebody in the middle writes down what an honest peer says.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let via = to.with_port(listener.local_addr().unwrap().port());
    let sink = recorded.clone();
    let recorder = tokio::spawn(async move {
        let (peer, _) = listener.accept().await.unwrap();
        let server = crate::rig::connect_raw(&to).await;
        let (mut from_peer, mut to_peer) = peer.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_peer).await });
        let mut bytes = vec![0; 4_096];
        while let Ok(count @ 1..) = from_peer.read(&mut bytes).await {
            sink.lock().extend_from_slice(&bytes[..count]);
            if to_server.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    });
    let secret = file_key(&pair);
    let honest = keys.connector(&secret).connect(&via, &Limits::default()).await.unwrap();
    honest.try_send("pay once".into()).unwrap();
    assert_eq!(rig.message().await.1, "pay once");
    let replay = recorded.lock().clone();
    assert!(replay.len() > 64 + 202, "hello, initiate and a message were recorded");
    let before = rig.count("bad_curve");
    says_and_is_closed(rig.connect_raw().await, &replay).await;
    rig.counts("bad_curve", before + 1).await;
    assert_eq!(rig.count("admitted"), 1, "nobody but the honest peer was let in");
    recorder.abort();
}

/// The same key, as a worker has it: out of a file.
fn file_key(pair: &CurveKeypair) -> SecretKey {
    use std::os::unix::fs::OpenOptionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("k");
    let text = format!("curve\n    secret-key = \"{}\"\n", pair.secret.to_z85());
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    SecretKey::load(&path).unwrap()
}

#[tokio::test]
async fn s5_a_message_repeated_reordered_or_changed_ends_the_connection() {
    let pair = pair();
    let keys = Keys::new(&[(public(&pair), Grant::default())]);
    let mut rig = Rig::with(tight(), keys.gate()).await;
    type Tamper = fn(Bytes, Bytes) -> Vec<u8>;
    let tampers: [(&str, Tamper); 5] = [
        ("repeated", |first, _| [&first[..], &first[..]].concat()),
        ("reordered", |first, second| [&second[..], &first[..]].concat()),
        ("a bit of the message", |first, second| {
            let mut second = second.to_vec();
            *second.last_mut().unwrap() ^= 1;
            [&first[..], &second[..]].concat()
        }),
        ("a bit of the number", |first, second| {
            let mut second = second.to_vec();
            second[2 + 8 + 7] ^= 1;
            [&first[..], &second[..]].concat()
        }),
        ("in the clear", |first, _| [&first[..], &frame(0, b"in the clear")].concat()),
    ];
    for (number, (what, tamper)) in tampers.into_iter().enumerate() {
        let (peer, mut codec) = encrypted(&rig, &keys, &pair).await;
        let first = sealed(&mut codec, "first");
        let second = sealed(&mut codec, "second");
        says_and_is_closed(peer, &tamper(first, second)).await;
        rig.counts("bad_curve", number as u64 + 1).await;
        let expected = if what == "reordered" { "second" } else { "first" };
        assert_eq!(rig.message().await.1, expected, "{what}: what was good before it counts");
    }
    rig.serves(&keys.connector(&file_key(&pair))).await;
}

#[tokio::test]
async fn s6_keys_that_prove_nothing_are_refused() {
    let (mut rig, keys) = guarded(&[]).await;
    // All zero, and points of small order: with these, everybody would know the shared secret.
    let mut one = [0; 32];
    one[0] = 1;
    let order_8 = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ];
    let (zero, servers_own) = ([0; 32], *keys.broker.public().as_bytes());
    for (number, point) in [zero, one, order_8, servers_own].into_iter().enumerate() {
        let mut hello = b"\x05HELLO\x01\x00".to_vec();
        hello.extend([0; 72]);
        hello.extend(point);
        hello.extend(1_u64.to_be_bytes());
        hello.extend([0; 80]);
        let bytes = [greeting(b"CURVE").to_vec(), frame(4, &hello)].concat();
        says_and_is_closed(rig.connect_raw().await, &bytes).await;
        rig.counts("bad_curve", number as u64 + 1).await;
    }
    // A long-term key of that kind, in a handshake that is otherwise right.
    let zero = CurveKeypair { public: CurvePublicKey([0; 32]), secret: CurveSecretKey([0; 32]) };
    let admitted = rig.count("admitted");
    let server_public = CurvePublicKey::from_bytes(*keys.broker.public().as_bytes());
    let mechanism = MechanismSetup::CurveClient { our_keypair: zero, server_public };
    let mut codec = Codec::new(ConnectionConfig::new(Role::Client, SocketType::Dealer).mechanism(mechanism));
    let mut peer = rig.connect_raw().await;
    let mut bytes = vec![0; 4_096];
    in_time(async {
        loop {
            let out = codec.poll_transmit();
            if peer.write_all(&out).await.is_err() {
                break;
            }
            codec.advance_transmit(out.len());
            match peer.read(&mut bytes).await {
                Ok(count @ 1..) if codec.handle_input(Bytes::copy_from_slice(&bytes[..count])).is_ok() => {}
                _ => break,
            }
            assert!(!codec.is_ready(), "it was let in");
        }
    })
    .await;
    assert_eq!(rig.count("admitted"), admitted);
    let key = SecretKey::generate();
    keys.allow(&[(key.public(), Grant::default())]);
    rig.serves(&keys.connector(&key)).await;
}

#[tokio::test]
async fn s7_a_handshake_that_is_malformed_or_too_long_is_refused() {
    let key = SecretKey::generate();
    let (mut rig, keys) = guarded(&[&key]).await;
    for command in [
        b"\x05HELLO".to_vec(),
        [b"\x05HELLO".as_slice(), &[0; 193]].concat(),
        [b"\x05HELLO".as_slice(), &[0; 194]].concat(),
        [b"\x05HELLO\x02\x00".as_slice(), &[1; 192]].concat(),
        [b"\x08INITIATE".as_slice(), &[1; 300]].concat(),
        [b"\x08INITIATE".as_slice(), &[1; 100 << 10]].concat(),
        b"\x07WELCOME".to_vec(),
        [b"\x07MESSAGE".as_slice(), &[0; 33]].concat(),
        b"\x05READY".to_vec(),
        b"\xffX".to_vec(),
        Vec::new(),
        vec![0; 100 << 10],
    ] {
        let before = rig.count("bad_curve");
        let bytes = [greeting(b"CURVE").to_vec(), frame(4, &command)].concat();
        says_and_is_closed(rig.connect_raw().await, &bytes).await;
        rig.counts("bad_curve", before + 1).await;
    }
    rig.serves(&keys.connector(&key)).await;
}

#[tokio::test]
async fn s25_a_revoked_key_is_cut_within_a_second_and_the_others_stay() {
    let (stays, goes) = (SecretKey::generate(), SecretKey::generate());
    let (mut rig, keys) = guarded(&[&stays, &goes]).await;
    let mut staying = rig.serves(&keys.connector(&stays)).await;
    let mut going = rig.serves(&keys.connector(&goes)).await;
    let revoked = Instant::now();
    keys.allow(&[(stays.public(), Grant::default())]);
    in_time(going.recv()).await.unwrap_err();
    assert!(revoked.elapsed().as_millis() < 1_000);
    rig.counts("key_revoked", 1).await;
    refusal(&rig, &keys.connector(&goes)).await;
    staying.try_send("still here".into()).unwrap();
    let (conn, body) = rig.message().await;
    assert_eq!(body, "still here");
    rig.server.try_send(conn, "so are we".into()).unwrap();
    assert_eq!(in_time(staying.recv()).await.unwrap(), "so are we");
}

#[tokio::test]
async fn a_key_has_only_so_many_connections() {
    let key = SecretKey::generate();
    let keys = Keys::new(&[(key.public(), Grant { connections: Some(2), topics: None })]);
    let mut rig = Rig::with(tight(), keys.gate()).await;
    let connector = keys.connector(&key);
    let first = rig.serves(&connector).await;
    let _second = rig.serves(&connector).await;
    refusal(&rig, &connector).await;
    rig.counts("too_many_of_key", 1).await;
    drop(first);
    rig.counts("closed", 1).await;
    rig.serves(&connector).await;
}
