//! Watching what happens.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::TcpStream;
use std::time::Instant;

use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::scale::shared;
use ganger_tests::wait::eventually;
use ganger_tests::web::Web;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::house::{SOON, outcome, submit, web, with_worker};

/// A stream of events.
struct Stream {
    lines: Lines<BufReader<TcpStream>>,
}

/// One of them.
#[derive(Clone, PartialEq, Debug)]
struct Event {
    id: Option<u64>,
    name: String,
    data: Value,
}

impl Stream {
    fn open(at: &str, query: &str, headers: &[(&str, &str)]) -> Self {
        Self::over(TcpStream::connect(at).unwrap(), at, query, headers)
    }

    fn over(mut stream: TcpStream, at: &str, query: &str, headers: &[(&str, &str)]) -> Self {
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut head = format!("GET /v1/events{query} HTTP/1.0\r\nHost: {at}\r\n");
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        write!(stream, "{head}\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines();
        let head: Vec<String> =
            lines.by_ref().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        assert!(head[0].contains("200"), "{head:?}");
        Self { lines }
    }

    fn next(&mut self) -> Event {
        let (mut id, mut name) = (None, String::new());
        loop {
            let line = self.lines.next().expect("the stream goes on").unwrap();
            if let Some(of) = line.strip_prefix("event: ") {
                name = of.to_owned();
            } else if let Some(number) = line.strip_prefix("id: ") {
                id = Some(number.parse().unwrap());
            } else if let Some(data) = line.strip_prefix("data: ") {
                // The fields may come in any order; an empty line ends them.
                let data = serde_json::from_str(data).unwrap();
                for line in self.lines.by_ref().map(Result::unwrap).take_while(|line| !line.is_empty()) {
                    match line.strip_prefix("id: ") {
                        Some(number) => id = Some(number.parse().unwrap()),
                        None => name = line.strip_prefix("event: ").unwrap_or(&name).to_owned(),
                    }
                }
                return Event { id, name, data };
            }
        }
    }

    /// Events up to one, which is the last.
    fn until(&mut self, mut is_it: impl FnMut(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.next();
            let is_last = is_it(&event);
            events.push(event);
            if is_last {
                return events;
            }
        }
    }
}

fn at(cluster: &Cluster) -> String {
    cluster.endpoints().http.clone().unwrap()
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

#[test]
fn a_task_is_heard_of_from_the_queue_to_its_outcome() {
    let _turn = shared();
    let (cluster, mut web) = with_worker(&[]);
    let mut stream = Stream::open(&at(&cluster), "?types=tasks", &[]);
    let first = stream.next();
    assert_eq!((first.name.as_str(), first.id), ("watching", first.data["newest"].as_u64()));
    let task = json!({"kind": "fail", "payload": "no", "options": {"max_attempts": 2, "backoff_ms": 1}});
    let id = submit(&mut web, &task);
    let events = stream.until(|event| event.name == "task_settled");
    let steps = ["task_accepted", "task_assigned", "task_attempt_ended", "task_assigned", "task_settled"];
    assert_eq!(names(&events), steps);
    for (event, number) in events.iter().zip(first.id.unwrap() + 1..) {
        let data = &event.data;
        assert_eq!(
            (event.id, &data["number"], &data["type"]),
            (Some(number), &json!(number), &json!(event.name))
        );
        assert_eq!((&data["id"], &data["kind"]), (&json!(id), &json!("fail")));
    }
    let worker = web.get("/v1/workers").json()["rows"][0]["id"].clone();
    assert_eq!((&events[1].data["attempt"], &events[1].data["worker"]), (&json!(1), &worker));
    assert_eq!((&events[2].data["end"], &events[2].data["error"]), (&json!("failed"), &json!("no")));
    assert!(events[2].data["retry_at_ms"].is_u64(), "{:?}", events[2]);
    assert_eq!((&events[4].data["outcome"], &events[4].data["attempt"]), (&json!("failed"), &json!(2)));
}

#[test]
fn what_an_operator_does_is_heard_of() {
    let _turn = shared();
    let (cluster, mut web) = with_worker(&[]);
    let types = "?types=kind_paused,kind_resumed,tasks_discarded";
    let mut stream = Stream::open(&at(&cluster), types, &[]);
    assert_eq!(stream.next().name, "watching");
    for act in ["pause", "resume"] {
        assert_eq!(web.call("POST", &format!("/v1/kinds/echo/{act}")).status, 204);
        let event = stream.next();
        assert_eq!((event.name, &event.data["kind"]), (format!("kind_{act}d"), &json!("echo")));
    }
    let failed = ["!", "!"].map(|text| json!({"kind": "fail", "payload": text}));
    assert_eq!(web.post("/v1/tasks?wait=30s", &json!(failed)).status, 200);
    assert_eq!(web.post("/v1/dead/discard", &json!({"all": true})).json()["discarded"], 2);
    let event = stream.next();
    assert_eq!((event.name.as_str(), &event.data["count"]), ("tasks_discarded", &json!(2)));
}

#[test]
fn workers_and_knowledge_are_heard_of_and_kept_apart_by_the_filter() {
    let _turn = shared();
    let mut cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    let mut workers = Stream::open(&at(&cluster), "?types=workers", &[]);
    let mut topics = Stream::open(&at(&cluster), "?topics=mine&types=knowledge", &[]);
    let place = cluster.add(&WorkerSpec::stock("w7"));
    let joined = &workers.until(|event| event.name == "worker_joined")[1].data;
    assert_eq!(joined["name"], "w7");
    for path in ["/v1/knowledge/theirs/k", "/v1/knowledge/mine/k"] {
        assert_eq!(web.send("PUT", path, &[("Content-Type", "application/json")], b"1").status, 200);
    }
    assert_eq!(web.call("DELETE", "/v1/knowledge/mine/k").status, 200);
    let changes = topics.until(|event| event.data["removed"] == true);
    assert_eq!(names(&changes), ["watching", "knowledge_changed", "knowledge_changed"]);
    assert_eq!((&changes[1].data["topic"], &changes[1].data["bytes"]), (&json!("mine"), &json!(1)));
    cluster.worker(place).term();
    assert_eq!(
        names(&workers.until(|event| event.name == "worker_left")),
        ["worker_draining", "worker_left"]
    );
    let place = cluster.add(&WorkerSpec::stock("w8"));
    workers.until(|event| event.name == "worker_joined");
    cluster.worker(place).kill();
    let lost = workers.until(|event| event.name == "worker_lost");
    assert_eq!((names(&lost), &lost[1].data["silent"]), (vec!["worker_away", "worker_lost"], &json!(false)));
}

#[test]
fn whoever_comes_back_with_a_number_hears_all_that_came_after_it() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&["--durability", "journal"]);
    let mut web = web(&cluster);
    let mut stream = Stream::open(&at(&cluster), "", &[]);
    let ids: Vec<String> = (0..5).map(|_| submit(&mut web, &json!({"kind": "nobody"}))).collect();
    let all = stream.until(|event| event.data["id"] == ids[4]);
    drop(stream);
    let later = submit(&mut web, &json!({"kind": "nobody"}));
    let second = all[2].id.unwrap().to_string();
    let by_query = format!("?after={second}");
    let by_header = [("Last-Event-ID", second.as_str())];
    for (query, headers) in [(by_query.as_str(), &[][..]), ("?after=1", &by_header[..])] {
        let mut again = Stream::open(&at(&cluster), query, headers);
        assert_eq!(again.next().id, Some(second.parse().unwrap()), "nothing is lost if it breaks right then");
        let heard = again.until(|event| event.data["id"] == later);
        assert_eq!(heard[..3], all[3..]);
        assert_eq!(heard.len(), 4);
    }
}

#[test]
fn a_number_from_too_long_ago_is_told_so_over_restarts_too() {
    let _turn = shared();
    let mut cluster = Cluster::start_with_http(&["--durability", "journal"]);
    let mut stream = Stream::open(&at(&cluster), "", &[]);
    let first = stream.next();
    let mut old = Stream::open(&at(&cluster), "?after=17", &[]);
    let events = [old.next(), old.next()];
    assert_eq!(names(&events), ["watching", "missed"]);
    assert_eq!((events[1].id, events[1].data.get("count")), (None, None), "nobody has counted them");
    assert!(events[1].data["oldest"].as_u64() > first.id);
    drop((stream, old));
    cluster.restart_broker();
    let mut stream = Stream::open(&at(&cluster), &format!("?after={}", first.id.unwrap()), &[]);
    let events = [stream.next(), stream.next()];
    assert_eq!(names(&events), ["watching", "missed"]);
    assert!(events[0].data["newest"].as_u64() > first.id, "numbers only grow");
}

#[test]
fn what_is_too_much_to_be_told_is_counted_and_both_add_up() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    let mut stream = Stream::open(&at(&cluster), "?types=tasks", &[]);
    stream.next();
    let begin = Instant::now();
    let (batches, size) = (5, 4_000);
    for _ in 0..batches {
        hand_in(&mut web, size);
    }
    let mut all = 0;
    let events = stream.until(|event| {
        all += match event.name.as_str() {
            "summary" => event.data["accepted"].as_u64().unwrap(),
            _ => 1,
        };
        all >= batches * size
    });
    let singles = events.iter().filter(|event| event.name == "task_accepted").count();
    let budget = 2_000 + 1_000 * (begin.elapsed().as_secs() as usize + 1);
    assert!(singles <= budget, "{singles} in {:?}", begin.elapsed());
    assert_eq!(all, batches * size, "each was told of or counted, and none twice");
    assert!(events.iter().all(|event| event.name != "missed"));
}

/// Hands in tasks that nobody serves.
fn hand_in(web: &mut Web, size: u64) {
    let tasks: Vec<Value> = (0..size).map(|_| json!({"kind": "n".repeat(128)})).collect();
    assert_eq!(web.post("/v1/tasks", &json!(tasks)).json()["accepted"], size);
}

#[test]
fn i15_a_watcher_that_does_not_read_costs_nothing_and_is_told_what_it_missed() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let (at, mut web) = (at(&cluster), web(&cluster));
    let mut stream = Stream::over(reluctant(&at), &at, "?types=tasks", &[]);
    assert_eq!(stream.next().name, "watching");
    let mut quick = Stream::open(&at, "?types=tasks", &[]);
    let first = quick.next().id.unwrap();
    let before = cluster.broker().rss_bytes();
    let (mut handed_in, mut told, mut last) = (0, 0, first);
    // Until more events have passed than are kept, 8,192, and than the kernel holds, 4 MiB of them.
    while last < first + 26_000 {
        hand_in(&mut web, 250);
        handed_in += 250;
        let events = quick.until(|event| {
            told += event.data["accepted"].as_u64().unwrap_or(1);
            told == handed_in
        });
        last = events[events.len() - 1].id.unwrap();
    }
    let grown = cluster.broker().rss_bytes().saturating_sub(before);
    assert!(grown < 48 << 20, "the broker has grown by {} KiB for {handed_in} tasks", grown >> 10);
    let heard = stream.until(|event| event.name == "missed");
    let (missed, read) =
        (&heard[heard.len() - 1].data, heard.iter().rev().find_map(|event| event.id).unwrap());
    let (count, oldest) = (missed["count"].as_u64().unwrap(), missed["oldest"].as_u64().unwrap());
    assert!(count > 0 && oldest == read + count + 1, "{missed} after {read}");
    assert_eq!(stream.next().id, Some(oldest));
}

/// A connection whose kernel takes little for whoever does not read.
fn reluctant(at: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.connect(&at.parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.into()
}

#[test]
fn what_nobody_watches_is_not_recorded_and_costs_no_memory() {
    let _turn = shared();
    let (cluster, mut web) = with_worker(&[]);
    let id = submit(&mut web, &json!({"kind": "echo"}));
    outcome(&mut web, &id);
    let mut stream = Stream::open(&at(&cluster), "?after=0", &[]);
    let first = stream.next();
    assert_eq!(first.data["oldest"].as_u64(), first.data["newest"].as_u64().map(|newest| newest + 1));
    eventually("what comes then is told", SOON, || {
        submit(&mut web, &json!({"kind": "echo"}));
        stream.next().name == "task_accepted"
    });
}

#[test]
fn what_is_asked_for_wrongly_is_refused() {
    let _turn = shared();
    let cluster = Cluster::start_with_http(&[]);
    let mut web = web(&cluster);
    assert_eq!(web.get("/v1/events?types=everything").refusal(), (400, "bad_option".to_owned()));
    assert_eq!(web.get("/v1/events?kind=a").refusal(), (400, "bad_option".to_owned()));
    let answer = web.send("GET", "/v1/events", &[("Last-Event-ID", "yesterday")], b"");
    assert_eq!(answer.refusal(), (400, "bad_option".to_owned()));
    let many = vec!["a"; 65].join(",");
    assert_eq!(web.get(&format!("/v1/events?kinds={many}")).refusal(), (413, "too_many".to_owned()));
}
