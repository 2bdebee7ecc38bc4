//! S13: every right against every message; and the file that gives the rights.

use bytes::Bytes;
use ganger_common::limits::WORKER_SLOTS_MAX;
use ganger_common::message::Lease;
use ganger_common::view::Among;
use ganger_common::{Attempt, ClientId, ConnId, Epoch, Revision, SessionToken, TaskId, WorkerId};
use ganger_scheduler::effect::KnowledgeAnswer;
use ganger_scheduler::input::{Discard, KnowledgeOp, NewTask, TaskFilter, WorkerHello};
use ganger_scheduler::record::Change;
use ganger_scheduler::{ClientRequest, Config, Now, Scheduler, Time, WorkerRequest};
use ganger_transport::door::{PublicKey, SecretKey};
use ganger_transport::{Auth, PeerMeta};
use uuid::Uuid;

use super::guard::{Guard, Owners};
use super::rights::{Port, Role, Roles, of_client, of_worker};
use super::{KeyRing, file};
use crate::convert::PreRefused;
use crate::shell::Side;

fn id() -> TaskId {
    TaskId(Uuid::now_v7())
}

fn ops() -> Vec<(&'static str, KnowledgeOp)> {
    let (topic, key) = ("t".to_owned(), "k".to_owned());
    vec![
        ("w", KnowledgeOp::Put { topic: topic.clone(), key: key.clone(), value: Bytes::new(), expect: None }),
        ("w", KnowledgeOp::Delete { topic: topic.clone(), key: key.clone(), expect: None }),
        ("r", KnowledgeOp::Get { topic: topic.clone(), key }),
        ("r", KnowledgeOp::List { prefix: topic, after: None, keys_only: false, limit: None }),
        ("r", KnowledgeOp::Since { revision: Revision(0) }),
        ("r", KnowledgeOp::Status),
    ]
}

/// Every message of a client, with the roles that it is for: s, w(rite), r(ead), a.
fn client_messages() -> Vec<(&'static str, ClientRequest)> {
    let tasks = || vec![id()];
    let hello = ClientRequest::Hello {
        client: ClientId(Uuid::now_v7()),
        token: SessionToken(Uuid::new_v4()),
        name: String::new(),
    };
    let list = ClientRequest::List { req: 1, filter: TaskFilter::default(), after: None, limit: None };
    let everything = Discard::All { among: Among::Any, kind: None, after: None };
    let drain = ClientRequest::Drain { req: 1, workers: Vec::new(), broker: true, deadline: None };
    let mut all = vec![
        ("srwa", hello),
        ("srwa", ClientRequest::Heartbeat),
        ("srwa", ClientRequest::Goodbye),
        ("srwa", ClientRequest::Ack { upto: 1 }),
        ("srwa", ClientRequest::Status { req: 1 }),
        ("sa", ClientRequest::Watch { req: 1, tasks: tasks(), events: false }),
        ("sa", ClientRequest::Cancel { req: 1, tasks: tasks() }),
        ("sa", ClientRequest::Retry { req: 1, tasks: tasks() }),
        ("a", ClientRequest::Discard { req: 1, which: Discard::Tasks(tasks()) }),
        ("a", ClientRequest::Discard { req: 1, which: everything }),
        ("a", ClientRequest::Pause { req: 1, kind: "k".into() }),
        ("a", ClientRequest::Resume { req: 1, kind: "k".into() }),
        ("sa", ClientRequest::Fetch { req: 1, task: id() }),
        ("sa", ClientRequest::Payload { req: 1, task: id() }),
        ("sa", ClientRequest::Explain { req: 1, task: id() }),
        ("sa", list),
        ("a", ClientRequest::ListWorkers { req: 1, after: None, limit: None }),
        ("a", drain),
        ("w", ClientRequest::Publish { req: 1, topic: "t".to_owned(), body: Bytes::new() }),
    ];
    all.extend(ops().into_iter().map(|(roles, op)| (roles, ClientRequest::Knowledge { req: 1, op })));
    all
}

fn worker_messages() -> Vec<(&'static str, WorkerRequest)> {
    let lease = Lease { task: id(), epoch: Epoch(1), attempt: Attempt(1) };
    let report = WorkerRequest::Report { seq: 1, started: vec![], ended: vec![], waiting: 0, recall: None };
    let mut all = vec![
        ("k", WorkerRequest::Hello(worker_hello("echo"))),
        ("k", WorkerRequest::Heartbeat { revision: Revision(0) }),
        ("k", report),
        ("k", WorkerRequest::Progress { lease, fraction: None, text: String::new() }),
        ("k", WorkerRequest::Partial { lease, index: 0, data: Bytes::new() }),
        ("k", WorkerRequest::Drain { deadline: None }),
        ("k", WorkerRequest::Goodbye),
    ];
    all.extend(ops().into_iter().map(|(roles, op)| (roles, WorkerRequest::Knowledge { req: 1, op })));
    all
}

fn worker_hello(kind: &str) -> WorkerHello {
    WorkerHello {
        worker: WorkerId(Uuid::now_v7()),
        token: SessionToken(Uuid::new_v4()),
        name: String::new(),
        host: String::new(),
        pid: 1,
        kinds: vec![kind.into()],
        slots: WORKER_SLOTS_MAX,
        holding: vec![],
        revision: Revision(0),
        draining: false,
    }
}

fn letter(role: Role) -> char {
    match role {
        Role::Submit => 's',
        Role::Work => 'k',
        Role::KnowledgeRead => 'r',
        Role::KnowledgeWrite => 'w',
        Role::Admin => 'a',
    }
}

/// A guard, with one connection of a key that has these rights.
struct Case {
    _folder: tempfile::TempDir,
    guard: Guard,
    ring: KeyRing,
    scheduler: Scheduler,
    key: PublicKey,
    path: std::path::PathBuf,
}

const CONN: ConnId = ConnId(1);

impl Case {
    fn new(rights: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let key = SecretKey::generate().public();
        std::fs::write(&path, format!("{key} {rights}\n")).unwrap();
        let ring = KeyRing::load(SecretKey::generate(), &path).unwrap();
        let mut guard = Guard::of(&ring, Owners::default());
        guard.up(CONN, Side::Client, &PeerMeta { addr: None, auth: Auth::Key(key) });
        let scheduler = Scheduler::new(Config::default(), Now::default());
        Self { _folder: folder, guard, ring, scheduler, key, path }
    }

    fn client(&mut self, request: ClientRequest) -> Result<(), String> {
        let (mut request, mut refused) = (request, PreRefused::default());
        let verdict = self.guard.client(CONN, &mut request, &mut refused, &self.scheduler, Time::default());
        verdict.map_err(|denied| denied.text)
    }

    fn worker(&mut self, request: &WorkerRequest) -> Result<(), String> {
        self.guard.worker(CONN, request, Time::default()).map_err(|denied| denied.text)
    }

    /// How many of the tasks of these kinds go on.
    fn submit(&mut self, kinds: &[&str]) -> usize {
        let task = |kind: &&str| NewTask {
            id: id(),
            kind: (*kind).into(),
            payload: Bytes::new().into(),
            options: None,
        };
        let tasks = kinds.iter().map(task).collect();
        let mut request = ClientRequest::Submit { seq: 1, again: false, tasks };
        let mut refused = PreRefused::default();
        let now = Time::default();
        self.guard.client(CONN, &mut request, &mut refused, &self.scheduler, now).unwrap();
        let ClientRequest::Submit { tasks, .. } = request else { unreachable!() };
        assert_eq!(tasks.len() + refused.len(), kinds.len());
        tasks.len()
    }
}

#[test]
fn s13_every_role_may_say_what_is_its_and_nothing_else() {
    for role in Role::ALL {
        let mut case = Case::new(role.name());
        for (roles, request) in client_messages() {
            let (_, what) = of_client(&request);
            let verdict = case.client(request);
            assert_eq!(verdict.is_ok(), roles.contains(letter(role)), "{role}: {what}: {verdict:?}");
        }
        for (roles, request) in worker_messages() {
            let (_, what) = of_worker(&request);
            let verdict = case.worker(&request);
            assert_eq!(verdict.is_ok(), roles.contains(letter(role)), "{role}: {what}: {verdict:?}");
        }
        assert_eq!(case.submit(&["a"]) == 1, role == Role::Submit, "{role}: submit");
    }
}

#[test]
fn s13_without_a_role_nothing_is_allowed() {
    let mut case = Case::new("submit");
    // Those of whom nothing is known: no key, and no connection either.
    case.guard.up(CONN, Side::Client, &PeerMeta::default());
    for (_, request) in client_messages() {
        assert!(case.client(request).is_err());
    }
    case.guard.down(CONN);
    for (_, request) in worker_messages() {
        assert!(case.worker(&request).is_err());
    }
    assert_eq!(case.submit(&["a", "b"]), 0);
}

#[test]
fn s12_kinds_and_topics_are_those_that_begin_right() {
    let mut case = Case::new("submit,work,knowledge-read,knowledge-write kinds=thumb.,echo topics=pub/");
    assert_eq!(case.submit(&["thumb.small", "echo", "echo2", "thumb", "resize", "Thumb.small"]), 3);
    let hello = |kind| WorkerRequest::Hello(worker_hello(kind));
    assert!(case.worker(&hello("thumb.x")).is_ok() && case.worker(&hello("resize")).is_err());
    let list = |kind: Option<&str>| ClientRequest::List {
        req: 1,
        filter: TaskFilter { state: None, kind: kind.map(str::to_owned) },
        after: None,
        limit: None,
    };
    assert!(case.client(list(Some("thumb.x"))).is_ok());
    assert!(case.client(list(None)).is_err() && case.client(list(Some("resize"))).is_err());
    let mut operator = Case::new("admin kinds=thumb.");
    let all = |kind: Option<&str>| {
        let (kind, after) = (kind.map(str::to_owned), None);
        ClientRequest::Discard { req: 1, which: Discard::All { among: Among::Any, kind, after } }
    };
    assert!(operator.client(all(Some("thumb.x"))).is_ok());
    assert!(operator.client(all(None)).is_err() && operator.client(all(Some("resize"))).is_err());
    for (kind, is_theirs) in [("thumb.x", true), ("resize", false)] {
        let pause = ClientRequest::Pause { req: 1, kind: kind.into() };
        let resume = ClientRequest::Resume { req: 1, kind: kind.into() };
        assert_eq!(operator.client(pause).is_ok(), is_theirs, "pause {kind}");
        assert_eq!(operator.client(resume).is_ok(), is_theirs, "resume {kind}");
    }
    let publish =
        |topic: &str| ClientRequest::Publish { req: 1, topic: topic.to_owned(), body: Bytes::new() };
    assert!(case.client(publish("pub/x")).is_ok() && case.client(publish("pub")).is_err());
    let list = |prefix: &str| ClientRequest::Knowledge {
        req: 1,
        op: KnowledgeOp::List { prefix: prefix.to_owned(), after: None, keys_only: true, limit: None },
    };
    assert!(case.client(list("pub/a")).is_ok() && case.client(list("")).is_err());
    let since = ClientRequest::Knowledge { req: 1, op: KnowledgeOp::Since { revision: Revision(0) } };
    assert!(case.client(since).is_ok(), "what is not for it is blotted out of the answer");
    let change = |revision, topic: &str| Change {
        revision: Revision(revision),
        topic: topic.to_owned(),
        key: "key".to_owned(),
        value: Some("value".into()),
    };
    let items = vec![change(1, "pub/a"), change(2, "secret"), change(3, "pub/b")];
    let mut answer = KnowledgeAnswer::Changes { revision: Revision(3), items };
    case.guard.answer(CONN, &mut answer);
    let blot = Change { revision: Revision(2), topic: String::new(), key: String::new(), value: None };
    let items = vec![change(1, "pub/a"), blot, change(3, "pub/b")];
    assert_eq!(answer, KnowledgeAnswer::Changes { revision: Revision(3), items });
}

#[test]
fn s19_who_is_over_a_quota_is_busy_and_nobody_else() {
    let mut case = Case::new("submit tasks=3");
    assert_eq!(case.submit(&["a"; 5]), 3);
    let mut other = Case::new("submit");
    assert_eq!(other.submit(&["a"; 5]), 5);
}

#[test]
fn s25_new_rights_hold_for_the_next_message() {
    let mut case = Case::new("submit");
    assert_eq!(case.submit(&["a"]), 1);
    std::fs::write(&case.path, format!("{} knowledge-read\n", case.key)).unwrap();
    assert_eq!(case.ring.reload().unwrap(), 1);
    assert_eq!(case.submit(&["a"]), 0);
    std::fs::write(&case.path, "not a key\n").unwrap();
    case.ring.reload().unwrap_err();
    assert_eq!(case.ring.len(), 1, "a file that is wrong changes nothing");
    std::fs::write(&case.path, "").unwrap();
    case.ring.reload().unwrap();
    let status = case.client(ClientRequest::Status { req: 1 });
    assert!(status.is_err() && case.ring.is_empty());
}

#[test]
fn each_port_is_for_those_who_have_business_there() {
    let key = SecretKey::generate().public();
    let at = |rights: &str| {
        let table = file::read(&format!("{key} {rights}")).unwrap();
        [Port::Clients, Port::Workers, Port::Knowledge].map(|port| table[&key].grant(port).is_some())
    };
    assert_eq!(at("submit"), [true, false, false]);
    assert_eq!(at("work"), [false, true, false]);
    assert_eq!(at("work,knowledge-read"), [true, true, true]);
    assert_eq!(at("knowledge-write"), [true, false, false]);
    assert_eq!(at("admin connections=5"), [true, false, false]);
    let table = file::read(&format!("{key} knowledge-read topics=a/,b")).unwrap();
    let topics = table[&key].grant(Port::Knowledge).unwrap().topics.unwrap();
    assert_eq!(&*topics, ["k/a/", "b/a/", "k/b", "b/b", "beat", "pulse"].map(str::to_owned));
}

#[test]
fn the_file_is_read_as_it_is_documented() {
    let (one, two) = (SecretKey::generate().public(), SecretKey::generate().public());
    let text = format!(
        "# keys\n\n{one}   submit,admin  kinds=a.,b tasks=10 bytes=1MiB connections=2 rate=5   # the shop # 7\n\
         \t{two} work#\n#{two}\n"
    );
    assert!(file::read(&text).is_err(), "a comment begins after a blank");
    let table = file::read(&text.replace("work#", "work #")).unwrap();
    let shop = &table[&one];
    assert_eq!((table.len(), shop.label.as_str()), (2, "the shop # 7"));
    assert_eq!(shop.roles, Roles::default().with(Role::Admin).with(Role::Submit));
    assert_eq!(shop.quota.bytes, Some(1 << 20));
    assert_eq!((shop.quota.tasks, shop.quota.connections, shop.quota.rate), (Some(10), Some(2), Some(5)));
    assert!(shop.kinds.covers("a.x") && !shop.kinds.covers("x") && shop.topics.is_all());
}

#[test]
fn a_file_that_is_wrong_is_refused_by_line_and_shows_no_secret() {
    let key = SecretKey::generate().public();
    let secret = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7abc";
    for (line, says) in [
        (format!("{key}"), "no roles"),
        (format!("{key} sumbit"), "\"sumbit\" is no role"),
        (format!("{key} submit, admin"), "is no role"),
        (format!("{key} submit kinds="), "everything"),
        (format!("{key} submit kinds=a,,b"), "everything"),
        (format!("{key} submit speed=1"), "no such option"),
        (format!("{key} submit tasks=many"), "tasks=many"),
        (format!("{key} submit tasks=1 tasks=2"), "twice"),
        (format!("{key} submit quickly"), "is no option"),
        (format!("{key} submit\n{key} admin"), "earlier line"),
        (format!("secret-key = \"{secret}\""), "must begin with a public key"),
        (format!("{secret} submit"), "must begin with a public key"),
    ] {
        let (number, why) = file::read(&format!("# one\n{line}")).unwrap_err();
        assert_eq!(number, if line.contains('\n') { 3 } else { 2 }, "{line}");
        assert!(why.contains(says) && !why.contains(secret), "{line}: {why}");
    }
}

#[test]
fn s13_a_fingerprint_opens_nothing_as_a_key_and_a_key_nothing_as_a_fingerprint() {
    let mut case = Case::new("submit");
    let (token, key) = ([7; 32], *case.key.as_bytes());
    let hex: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(&case.path, format!("{} submit\ntoken:{hex} submit\n", case.key)).unwrap();
    case.ring.reload().unwrap();
    assert!(case.ring.knows_token(&token) && !case.ring.knows_token(&key) && !case.ring.knows_local());
    let mut taken_as = |auth| {
        case.guard.up(CONN, Side::Client, &PeerMeta { addr: None, auth });
        case.submit(&["a"]) == 1
    };
    assert!(taken_as(Auth::Token(token)) && taken_as(Auth::Key(PublicKey::from_bytes(key))));
    assert!(!taken_as(Auth::Key(PublicKey::from_bytes(token))) && !taken_as(Auth::Token(key)));
    assert!(!taken_as(Auth::Local) && !taken_as(Auth::None));
    std::fs::write(&case.path, "local submit\n").unwrap();
    case.ring.reload().unwrap();
    case.guard.up(CONN, Side::Client, &PeerMeta { addr: None, auth: Auth::Local });
    assert!(case.submit(&["a"]) == 1 && case.ring.knows_local());
}

#[test]
fn s13_the_gateway_itself_may_ask_for_figures_and_see_nothing() {
    let mut case = Case::new("submit");
    case.guard.up(CONN, Side::Client, &PeerMeta { addr: None, auth: Auth::Gateway });
    // A new reading of the file must not make it nobody.
    case.ring.reload().unwrap();
    assert!(case.client(ClientRequest::Status { req: 1 }).is_ok());
    let list = |prefix: &str| ClientRequest::Knowledge {
        req: 1,
        op: KnowledgeOp::List { prefix: prefix.to_owned(), after: None, keys_only: true, limit: None },
    };
    assert!(case.client(list("")).is_err() && case.client(list("a")).is_err());
    assert!(case.client(ClientRequest::ListWorkers { req: 1, after: None, limit: None }).is_err());
    assert_eq!(case.submit(&["a"]), 0);
}

#[test]
fn nobody_works_over_http() {
    for line in ["local work", "local submit,work", &format!("token:{} work", "0".repeat(64))] {
        assert!(file::read(line).unwrap_err().1.contains("work"), "{line}");
    }
    for line in ["token: submit", "token:00 submit", &format!("token:{} submit", "g".repeat(64))] {
        assert!(file::read(line).unwrap_err().1.contains("fingerprint"), "{line}");
    }
}
