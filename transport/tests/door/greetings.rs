//! Before the first message.

use std::time::{Duration, Instant};

use ganger_transport::zmq::ZmqConnector;
use tokio::io::AsyncWriteExt;

use crate::rig::{Rig, announced, closed, frame, greeting, in_time, ready, says_and_is_closed, tight};

#[tokio::test]
async fn s1_s29_whoever_does_not_speak_zmtp_3_in_the_open_is_closed_at_once() {
    let mut rig = Rig::start(tight()).await;
    let dealer = ready(&[("Socket-Type", b"DEALER")]);
    let mut zmtp_2 = greeting(b"")[..10].to_vec();
    // Revision 1, socket type DEALER, an empty identity: all of a ZMTP 2.0 greeting, then a message.
    zmtp_2.extend([1, 5, 0, 0, 0, 5, b'h', b'e', b'l', b'l', b'o']);
    let zmtp_1 = vec![1, 0, 6, 0, b'h', b'e', b'l', b'l', b'o'];
    let mut zmtp_3_as_server = greeting(b"NULL");
    zmtp_3_as_server[32] = 1;
    for (bytes, counter) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "not_zmtp"),
        (b"\x16\x03\x01\x02\x00\x01\x00".to_vec(), "not_zmtp"),
        (zmtp_1, "not_zmtp"),
        (zmtp_2, "old_zmtp"),
        ([greeting(b"PLAIN").to_vec(), dealer.clone()].concat(), "wrong_mechanism"),
        ([greeting(b"CURVE").to_vec(), dealer.clone()].concat(), "wrong_mechanism"),
        ([greeting(b"NULLIFY").to_vec(), dealer.clone()].concat(), "wrong_mechanism"),
        ([zmtp_3_as_server.to_vec(), dealer.clone()].concat(), "wrong_mechanism"),
    ] {
        let before = rig.count(counter);
        let heard = says_and_is_closed(rig.connect_raw().await, &bytes).await;
        // Our greeting, which says nothing of the inside; never a READY.
        assert!(heard.len() <= 64, "{bytes:?}");
        assert_eq!(rig.count(counter), before + 1, "{bytes:?}");
    }
    assert_eq!(rig.count("admitted"), 0);
    rig.serves(&ZmqConnector::default()).await;
}

#[tokio::test]
async fn s7_s10_a_ready_that_is_malformed_or_too_long_is_refused() {
    let mut rig = Rig::start(tight()).await;
    let long = vec![b'x'; 2_000];
    let many: Vec<(&str, &[u8])> = vec![("X-Name", b"v"); 257];
    for bad in [
        ready(&[]),
        ready(&[("Socket-Type", b"DEALER"), ("Socket-Type", b"DEALER")]),
        ready(&[("Socket-Type", b"DEALER"), ("X", &long)]),
        ready(&many),
        ready(&[("", b"DEALER")]),
        frame(4, b"\x05READY\x0bSocket-Type\xff\xff\xff\xffDEALER"),
        frame(4, b"\x05READY\xffSocket-Type"),
        frame(4, b"\xffREADY"),
        frame(4, b""),
        frame(4, b"\x05HELLO"),
        frame(0, b"\x05READY"),
        frame(0x84, b"\x05READY"),
        announced(4, 1 << 62),
        announced(4, u64::MAX),
        announced(0, 1 << 40),
        announced(1, 1 << 46),
    ] {
        let before = rig.count("bad_ready");
        let bytes = [greeting(b"NULL").to_vec(), bad.clone()].concat();
        says_and_is_closed(rig.connect_raw().await, &bytes).await;
        assert_eq!(rig.count("bad_ready"), before + 1, "{bad:?}");
    }
    for other in ["ROUTER", "REQ", "REP", "PUB", "SUB", "PUSH", "PAIR", "STREAM", "dealer", ""] {
        let before = rig.count("wrong_socket_type");
        let bytes = [greeting(b"NULL").to_vec(), ready(&[("Socket-Type", other.as_bytes())])].concat();
        says_and_is_closed(rig.connect_raw().await, &bytes).await;
        assert_eq!(rig.count("wrong_socket_type"), before + 1, "{other}");
    }
    rig.serves(&ZmqConnector::default()).await;
}

#[tokio::test]
async fn s8_whoever_is_silent_or_dribbles_is_closed_at_the_deadline() {
    let mut rig = Rig::start(tight()).await;
    let began = Instant::now();
    let silent = rig.connect_raw().await;
    let dribbling = rig.connect_raw().await;
    let bytes = [greeting(b"NULL").to_vec(), ready(&[("Socket-Type", b"DEALER")])].concat();
    let dribble = async {
        let (_, mut writer) = dribbling.into_split();
        let mut pause = tokio::time::interval(Duration::from_millis(50));
        for byte in &bytes {
            pause.tick().await;
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    };
    in_time(async { tokio::join!(closed(silent), dribble) }).await;
    assert!(began.elapsed() >= tight().handshake);
    rig.counts("handshake_timeout", 2).await;
    rig.serves(&ZmqConnector::default()).await;
}
