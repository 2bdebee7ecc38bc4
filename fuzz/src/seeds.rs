//! Where the fuzzer begins: the worked examples, and every kind of step once.

use crate::door;
use crate::golden::{self, Direction};

/// One seed.
#[derive(Debug)]
pub struct Seed {
    /// The folder of its target, and its name.
    pub path: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// In a [conversation](conversation) decisions that are not named are the first of their alternatives, and
/// so many of them come before the first step.
const SETUP: usize = 8;
/// Steps of one kind in a row: enough for what one of them begins to be ended by another.
const REPEATED: u8 = 12;

/// Every seed.
pub fn all() -> Vec<Seed> {
    let mut seeds: Vec<Seed> =
        golden::EXAMPLES.iter().map(|example| seed("codec", example.title, example.bytes.clone())).collect();
    let targets = [
        // The steps that say an example, up to the choice among examples, as the targets read them.
        ("broker", Direction::FromClient, &[8, 0, 0][..], 16),
        ("broker", Direction::FromWorker, &[8, 1, 0], 0),
        ("client_session", Direction::ToClient, &[0, 8, 0], 12),
        ("worker_session", Direction::ToWorker, &[0, 12, 0], 16),
    ];
    for (target, direction, say, steps) in targets {
        let examples = golden::EXAMPLES.iter().filter(|example| example.direction == direction);
        for (place, example) in examples.enumerate() {
            let said = [say, &[place as u8, 0]].concat();
            seeds.push(seed(target, example.title, conversation(&said.repeat(2))));
        }
        for step in 0..steps {
            let decisions: Vec<u8> = (0..REPEATED).flat_map(|turn| [step, turn, turn / 2, 1, turn]).collect();
            seeds.push(seed(target, &format!("step {step}"), conversation(&decisions)));
        }
    }
    seeds.extend(visits());
    seeds
}

/// Visits to the door, right and wrong ones. The first bytes say whom somebody visits, as what, in which
/// pieces, and what the library says: see [`door::run`].
fn visits() -> impl Iterator<Item = Seed> {
    const ROUTER: u8 = 0;
    const PUBLISHER: u8 = 1;
    // In one piece, and a library that says nothing; in pieces of 3, 0 and 50 bytes, and one that says 20 bytes.
    const PLAINLY: &[u8] = &[0, 0];
    const IN_PIECES: &[u8] = &[3, 3, 0, 50, 1, 0, 20, 0];
    let (null, curve) = (door::greeting(b"NULL"), door::greeting(b"CURVE"));
    let (text, ping) = (door::frame(0, b"text"), door::frame(4, b"\x04PING\x00\x0acontext"));
    let dealer = [null.clone(), door::ready(b"DEALER"), text.clone()].concat();
    let subscriber = [null.clone(), door::ready(b"SUB"), door::frame(0, b"\x01news")].concat();
    let topics = [&b"\x01a"[..], b"\x01b", b"\x00a", b"\x01c", b"\x01d"].map(|topic| door::frame(0, topic));
    let parts = [door::frame(1, b"one"), door::frame(1, b"two"), door::frame(0, b"three")].concat();
    let large = [door::frame(0, &[1; 400]), text.clone()].concat();
    let hello = door::frame(
        4,
        &[b"\x05HELLO\x01\x00", &[0; 72][..], &[9; 32], &[0, 0, 0, 0, 0, 0, 0, 1], &[5; 80]].concat(),
    );
    let initiate = door::frame(4, &[b"\x08INITIATE", &[3; 249][..]].concat());
    let message = door::frame(4, &[b"\x07MESSAGE", &[0, 0, 0, 0, 0, 0, 0, 9], &[4; 24][..]].concat());
    let tamper =
        |bytes: &[u8]| [&[2, 0, 0, 4][..], b"text", &[1, 0, 2], b"pa", &[0, 2], b"rt", bytes].concat();
    [
        ("dealer", ROUTER, 0, PLAINLY, dealer.clone()),
        ("dealer in pieces", ROUTER, 0, IN_PIECES, dealer),
        ("subscriber", PUBLISHER, 0, IN_PIECES, subscriber),
        ("web browser", ROUTER, 0, PLAINLY, b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("zmtp 2", ROUTER, 0, PLAINLY, [&null[..10], &[1, 5, 0, 0, 0, 5], b"hello"].concat()),
        ("ready twice", ROUTER, 0, PLAINLY, [null, door::ready(b"DEALER"), door::ready(b"DEALER")].concat()),
        ("heartbeats", ROUTER, 1, IN_PIECES, [ping.clone(), text.clone(), ping].concat()),
        ("parts", ROUTER, 1, IN_PIECES, parts),
        ("large message", ROUTER, 1, IN_PIECES, large),
        ("announcement", ROUTER, 1, PLAINLY, vec![2, 0x40, 0, 0, 0, 0, 0, 0, 0]),
        ("topics", PUBLISHER, 1, IN_PIECES, topics.concat()),
        ("curve hello", ROUTER, 2, &[0, 0, 0], hello.clone()),
        ("curve initiate", ROUTER, 2, &[0, 0, 0], [hello, initiate].concat()),
        ("curve from the start", PUBLISHER, 2, &[0, 0, 1], curve),
        ("insider", ROUTER, 3, PLAINLY, tamper(&[])),
        ("insider subscribes", PUBLISHER, 3, PLAINLY, [&[1, 0, 0, 5][..], b"\x01news"].concat()),
        ("insider tampers", ROUTER, 3, PLAINLY, tamper(&message)),
    ]
    .into_iter()
    .map(|(title, host, kind, how, said)| seed("door", title, [&[host, kind], how, &said[..]].concat()))
}

fn seed(target: &str, title: &str, bytes: Vec<u8>) -> Seed {
    Seed { path: format!("{target}/{}", title.replace(' ', "-")), bytes }
}

fn conversation(steps: &[u8]) -> Vec<u8> {
    [&[0; SETUP], steps].concat()
}
