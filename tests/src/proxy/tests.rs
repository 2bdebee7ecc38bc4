//! Each fault is seen to work through a plain echo.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::wait::{until, within};

/// Anything that is not late on purpose happens within this.
const SOON: Duration = Duration::from_secs(10);
/// Long enough that a delay is none of the machine's making, short enough to wait for.
const LATE: Duration = Duration::from_millis(200);

/// An echo behind a proxy.
struct Scene {
    proxy: Proxy,
    echo: tokio::task::JoinHandle<()>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.echo.abort();
    }
}

impl Scene {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let echo = tokio::spawn(async move {
            let mut echoes = tokio::task::JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                echoes.spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        Self { proxy: Proxy::start(&address, 7).await.unwrap(), echo }
    }

    async fn connect(&self) -> TcpStream {
        within("connected", SOON, TcpStream::connect(self.proxy.address())).await.unwrap()
    }

    /// A connection that has been heard once, so that the proxy has both sides of it.
    async fn connected(&self) -> TcpStream {
        let mut stream = self.connect().await;
        echoed(&mut stream, b"hello").await;
        stream
    }

    async fn fired(&self, what: &str, is_it: impl Fn(Fired) -> bool) {
        until(what, SOON, async || is_it(self.proxy.fired()).then_some(())).await;
    }
}

async fn echoed(stream: &mut TcpStream, bytes: &[u8]) -> Duration {
    let start = Instant::now();
    stream.write_all(bytes).await.unwrap();
    assert_eq!(heard(stream, bytes.len()).await, bytes);
    start.elapsed()
}

async fn heard(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    within("the echo", SOON, stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// Everything up to the end of a stream, and how it ended.
async fn end_of(stream: &mut TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut bytes = Vec::new();
    let end = within("the end", SOON, stream.read_to_end(&mut bytes)).await;
    (bytes, end.map(|_| ()).map_err(|error| error.kind()))
}

/// Nothing has come although another connection's echo went round meanwhile.
async fn is_silent(stream: &TcpStream) -> bool {
    let mut byte = [0];
    // The bytes would need no longer than this to come through two loopback connections.
    tokio::time::timeout(LATE, stream.peek(&mut byte)).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fault_bytes_and_ends_pass_both_ways() {
    let scene = Scene::start().await;
    let mut stream = scene.connected().await;
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let (mut read, mut write) = stream.split();
    let mut back = vec![0; large.len()];
    let (sent, received) = tokio::join!(write.write_all(&large), read.read_exact(&mut back));
    assert!(sent.is_ok() && received.is_ok() && back == large);
    stream.shutdown().await.unwrap();
    assert_eq!(end_of(&mut stream).await, (vec![], Ok(())));
    let fired = scene.proxy.fired();
    assert_eq!(fired, Fired { connections: 1, passed: 2 * 3_000_005, ..Fired::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_comes_on_top_in_each_direction_and_order_is_kept() {
    let scene = Scene::start().await;
    let mut stream = scene.connected().await;
    let path = Path { delay: LATE, jitter: LATE / 4, ..Path::default() };
    scene.proxy.set(Way::Up, path);
    assert!(echoed(&mut stream, b"one way").await >= LATE);
    scene.proxy.set(Way::Down, path);
    let start = Instant::now();
    for part in [b"1", b"2", b"3"] {
        stream.write_all(part).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(heard(&mut stream, 3).await, b"123");
    assert!(start.elapsed() >= 2 * LATE);
    assert!(scene.proxy.fired().delayed >= 7 + 3 + 3);
    scene.proxy.heal();
    echoed(&mut stream, b"as before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_holds_for_the_bytes_of_one_direction() {
    let scene = Scene::start().await;
    let mut stream = scene.connected().await;
    scene.proxy.set(Way::Up, Path { rate: Some(100_000), ..Path::default() });
    let took = echoed(&mut stream, &[5; 40_000]).await;
    assert!(took >= Duration::from_millis(380), "{took:?}");
    assert!(scene.proxy.fired().throttled > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_bytes_arrive_when_the_silence_ends() {
    for way in Way::BOTH {
        let scene = Scene::start().await;
        let mut stream = scene.connected().await;
        scene.proxy.silence(&[way], Silence::Held);
        stream.write_all(b"later").await.unwrap();
        scene.fired("bytes are held", |fired| fired.held == 1).await;
        assert!(is_silent(&stream).await, "{way:?}");
        scene.proxy.heal();
        assert_eq!(heard(&mut stream, 5).await, b"later");
        assert_eq!(scene.proxy.fired().cut, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_does_not_get_through_a_silence() {
    let scene = Scene::start().await;
    let mut stream = scene.connected().await;
    scene.proxy.silence(&[Way::Up], Silence::Held);
    stream.shutdown().await.unwrap();
    assert!(is_silent(&stream).await);
    scene.proxy.heal();
    assert_eq!(end_of(&mut stream).await, (vec![], Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_a_hole_is_reset_when_the_silence_ends() {
    let scene = Scene::start().await;
    let (mut torn, mut whole) = (scene.connected().await, scene.connected().await);
    scene.proxy.silence(&Way::BOTH, Silence::Swallowed);
    torn.write_all(b"gone").await.unwrap();
    scene.fired("bytes are swallowed", |fired| fired.swallowed == 4).await;
    scene.proxy.heal();
    assert_eq!(end_of(&mut torn).await, (vec![], Err(ErrorKind::ConnectionReset)));
    echoed(&mut whole, b"it said nothing meanwhile").await;
    assert_eq!(scene.proxy.fired().cut, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_through_to_the_endpoint_during_a_silence() {
    let scene = Scene::start().await;
    scene.proxy.silence(&Way::BOTH, Silence::Held);
    let mut stream = scene.connect().await;
    stream.write_all(b"hello").await.unwrap();
    assert!(is_silent(&stream).await);
    assert_eq!(scene.proxy.fired().passed, 0);
    scene.proxy.heal();
    assert_eq!(heard(&mut stream, 5).await, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_is_exactly_after_byte_n() {
    for (cut, way) in [(Cut::Fin, Way::Up), (Cut::Fin, Way::Down), (Cut::Rst, Way::Up)] {
        let scene = Scene::start().await;
        let mut stream = scene.connected().await;
        scene.proxy.trap(way, 3, Trap::Cut(cut));
        stream.write_all(b"12345").await.unwrap();
        let (bytes, end) = end_of(&mut stream).await;
        match cut {
            // What passed downwards has arrived; what passed upwards may not have come back in time.
            Cut::Fin if way == Way::Down => assert_eq!((&*bytes, end), (&b"123"[..], Ok(()))),
            Cut::Fin => assert!(b"123".starts_with(&bytes) && end.is_ok(), "{bytes:?} {end:?}"),
            Cut::Rst => assert_eq!(end, Err(ErrorKind::ConnectionReset)),
        }
        assert_eq!(scene.proxy.fired().cut, 1);
        assert!(scene.proxy.fired().passed <= 10 + 3 + if way == Way::Down { 5 } else { 3 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_holds_the_rest_of_a_frame_until_it_is_released() {
    let scene = Scene::start().await;
    let mut stream = scene.connected().await;
    scene.proxy.trap(Way::Down, 4, Trap::Stall);
    stream.write_all(b"frame and rest").await.unwrap();
    scene.fired("it stalls", |fired| fired.stalled == 1).await;
    assert_eq!(heard(&mut stream, 4).await, b"fram");
    assert!(is_silent(&stream).await);
    scene.proxy.release();
    assert_eq!(heard(&mut stream, 10).await, b"e and rest");
    // The next one counts anew.
    scene.proxy.trap(Way::Down, 2, Trap::Stall);
    stream.write_all(b"abc").await.unwrap();
    scene.fired("it stalls again", |fired| fired.stalled == 2).await;
    assert_eq!(heard(&mut stream, 2).await, b"ab");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_now_ends_every_connection_and_none_that_comes_later() {
    for cut in [Cut::Rst, Cut::Fin] {
        let scene = Scene::start().await;
        let mut streams = [scene.connected().await, scene.connected().await];
        scene.proxy.cut(cut);
        for stream in &mut streams {
            let expected = if cut == Cut::Fin { Ok(()) } else { Err(ErrorKind::ConnectionReset) };
            assert_eq!(end_of(stream).await, (vec![], expected));
        }
        scene.fired("both are counted", |fired| fired.cut == 2).await;
        echoed(&mut scene.connected().await, b"a new one").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_connections_get_nowhere_and_those_that_are_there_stay() {
    let scene = Scene::start().await;
    let mut before = scene.connected().await;
    scene.proxy.refuse(true);
    // The reset may come while the connection is still being made.
    if let Ok(mut refused) = TcpStream::connect(scene.proxy.address()).await {
        let (bytes, end) = end_of(&mut refused).await;
        assert!(bytes.is_empty() && end == Err(ErrorKind::ConnectionReset), "{bytes:?} {end:?}");
    }
    echoed(&mut before, b"still here").await;
    assert_eq!(scene.proxy.fired().refused, 1);
    scene.proxy.refuse(false);
    echoed(&mut scene.connected().await, b"and again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_one_side_reaches_the_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(&listener.local_addr().unwrap().to_string(), 1).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let (mut server, _) = within("the other side", SOON, listener.accept()).await.unwrap();
    assert_eq!(heard(&mut server, 5).await, b"hello");
    relay::reset(&server);
    drop(server);
    assert_eq!(end_of(&mut client).await, (vec![], Err(ErrorKind::ConnectionReset)));
}
