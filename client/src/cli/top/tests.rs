use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ganger_client::Error;
use ganger_common::view::{HistogramView, KindView, StatusView, WorkerState, WorkerView};
use ganger_common::{Epoch, Revision, WorkerId};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::draw::draw;
use super::rows::grouped;
use super::sample::{Flow, Sample};
use super::screen::{Next, Order, Screen};

fn kind(name: &str, queued: u64, workers: u32, oldest_ms: u64) -> KindView {
    KindView { kind: name.to_owned(), queued, leased: 4, workers, oldest_ms, paused: false }
}

fn worker(number: u8, busy_us: u64, silent_ms: u64) -> WorkerView {
    WorkerView {
        id: WorkerId::from_bytes([number; 16]),
        name: format!("worker-{number}"),
        host: "shed".to_owned(),
        pid: 1,
        state: if silent_ms > 2_000 { WorkerState::Away } else { WorkerState::Ready },
        kinds: vec!["resize".to_owned()],
        slots: 4,
        credit: 8,
        running: 3,
        waiting: 2,
        ended: busy_us / 1_000,
        silent_ms,
        revision: Revision(u64::from(number)),
        average_run_us: 1_000,
        busy_us,
    }
}

/// A look at a broker that has been up for so many seconds, at 1,000 tasks a second.
fn look(began: Instant, seconds: u64) -> Sample {
    let counters = [("tasks_accepted", seconds * 1_000), ("tasks_succeeded", seconds * 900)];
    let status = StatusView {
        broker: "ganger-broker 1".to_owned(),
        epoch: Epoch(1),
        uptime_ms: seconds * 1_000,
        durability: "journal".to_owned(),
        workers: 2,
        slots: 8,
        queued: 1_234_567,
        parked: 12,
        running: 6,
        dead_set: 3,
        revision: Revision(2),
        counters: counters.map(|(name, count)| (name.to_owned(), count)).into(),
        durations: vec![HistogramView {
            name: "submit_to_settle".to_owned(),
            bounds_us: vec![2_500, 10_000],
            counts: vec![seconds * 890, seconds * 10, 0],
            sum_us: 0,
        }],
        kinds: vec![kind("resize", 1_234_555, 2, 1_000), kind("nobody\x1b[2J", 12, 0, 90_000)],
        ..StatusView::default()
    };
    let workers = vec![worker(1, seconds * 1_000_000, 3_000), worker(2, seconds * 3_000_000, 10)];
    Sample { status, workers: Some(workers), at: began + Duration::from_secs(seconds) }
}

fn screen() -> Screen {
    let began = Instant::now();
    let mut screen = Screen::new("tcp://127.0.0.1:7710".to_owned(), true);
    (10..13).for_each(|seconds| screen.take(Ok(look(began, seconds))));
    screen
}

fn terminal(screen: &Screen, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, screen)).unwrap();
    terminal
}

/// What a terminal of this size shows, line by line.
fn shown(screen: &Screen, width: u16, height: u16) -> Vec<String> {
    let terminal = terminal(screen, width, height);
    let cells = terminal.backend().buffer().content();
    let line =
        |cells: &[ratatui::buffer::Cell]| cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>();
    cells.chunks(usize::from(width)).map(|cells| line(cells).trim_end().to_owned()).collect()
}

fn press(screen: &mut Screen, code: KeyCode) -> Next {
    screen.on_key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn write(screen: &mut Screen, text: &str) {
    text.chars().for_each(|letter| _ = press(screen, KeyCode::Char(letter)));
}

/// The first words of the rows of a table, which begins after the line with this title.
fn names(lines: &[String], title: &str) -> Vec<String> {
    let from = lines.iter().position(|line| line.contains(title)).unwrap() + 2;
    let rows = lines[from..].iter().take_while(|line| !line.is_empty() && !line.contains("workers:"));
    rows.filter(|line| !line.contains("q leave"))
        .filter_map(|line| line.split_whitespace().next().map(ToOwned::to_owned))
        .collect()
}

#[test]
fn the_figures_are_those_of_the_broker_and_what_passed_between_two_looks() {
    let lines = shown(&screen(), 120, 30);
    let text = lines.join("\n");
    for said in [
        "tcp://127.0.0.1:7710",
        "up 12s",
        "ready",
        "came/s 1,000",
        "ended/s 900",
        "running 6",
        "busy 50%",
        "dead 3",
        "knowledge r2",
        "half within 2ms 500us  99 % within 10ms",
        "waiting 1,234,567",
        "parked 12",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    let row = |name: &str| lines.iter().find(|line| line.starts_with(name)).unwrap().clone();
    let cells = |name: &str| row(name).split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    assert_eq!(cells("worker-1"), "away 25% 3/4 2 1,000 1000us 3s 1");
    assert_eq!(cells("worker-2"), "ready 75% 3/4 2 3,000 1000us 10ms 2");
    assert_eq!(cells("resize"), "1,234,555 4 2 1s");
}

#[test]
fn a_name_cannot_steer_the_terminal_and_what_is_wrong_has_a_colour() {
    let screen = screen();
    assert!(shown(&screen, 100, 30).iter().any(|line| line.starts_with("nobody [2J")));
    let terminal = terminal(&screen, 100, 30);
    let buffer = terminal.backend().buffer();
    let is_red = |cell: &&ratatui::buffer::Cell| cell.fg == Color::Red;
    let red: String = buffer.content().iter().filter(is_red).map(ratatui::buffer::Cell::symbol).collect();
    assert!(red.contains("away"), "{red}");
    let plain = Screen { has_color: false, ..screen };
    let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
    terminal.draw(|frame| draw(frame, &plain)).unwrap();
    assert!(terminal.backend().buffer().content().iter().all(|cell| cell.fg == Color::Reset));
}

#[test]
fn keys_change_the_order_and_filter() {
    let mut screen = screen();
    assert_eq!(names(&shown(&screen, 100, 30), "workers:"), ["worker-1", "worker-2"]);
    press(&mut screen, KeyCode::Char('s'));
    assert_eq!(screen.order, Order::Load);
    assert_eq!(names(&shown(&screen, 100, 30), "workers:"), ["worker-2", "worker-1"]);
    assert_eq!(names(&shown(&screen, 100, 30), "kind:"), ["resize", "nobody"]);
    press(&mut screen, KeyCode::Char('s'));
    assert_eq!(names(&shown(&screen, 100, 30), "workers:"), ["worker-1", "worker-2"], "by silence");
    assert_eq!(names(&shown(&screen, 100, 30), "kind:"), ["nobody", "resize"], "by the oldest");

    write(&mut screen, "/worker-2q");
    press(&mut screen, KeyCode::Backspace);
    let lines = shown(&screen, 100, 30);
    assert!(lines.last().unwrap().starts_with("filter: worker-2_"), "{lines:?}");
    assert_eq!(names(&lines, "workers:"), ["worker-2"]);
    assert!(lines.iter().any(|line| line.contains("workers: 1 of 2")));
    press(&mut screen, KeyCode::Enter);
    press(&mut screen, KeyCode::Esc);
    assert_eq!(names(&shown(&screen, 100, 30), "workers:").len(), 2);
}

#[test]
fn tables_scroll_to_their_last_row_and_not_beyond() {
    let mut screen = screen();
    (0..5).for_each(|_| _ = press(&mut screen, KeyCode::Down));
    assert_eq!(names(&shown(&screen, 100, 30), "workers:"), ["worker-2"]);
    press(&mut screen, KeyCode::Home);
    press(&mut screen, KeyCode::Tab);
    press(&mut screen, KeyCode::PageDown);
    let lines = shown(&screen, 100, 30);
    assert_eq!((names(&lines, "kind:").len(), names(&lines, "workers:").len()), (1, 2));
}

#[test]
fn it_leaves_on_q_and_on_control_c_but_not_while_a_filter_is_typed() {
    let mut screen = screen();
    write(&mut screen, "/");
    assert_eq!(press(&mut screen, KeyCode::Char('q')), Next::Stay);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(screen.on_key(interrupt), Next::Leave);
    press(&mut screen, KeyCode::Esc);
    assert_eq!(press(&mut screen, KeyCode::Char('q')), Next::Leave);
}

#[test]
fn help_is_shown_over_everything_and_goes_with_the_next_key() {
    let mut screen = screen();
    press(&mut screen, KeyCode::Char('?'));
    assert!(shown(&screen, 100, 30).iter().any(|line| line.contains("filter kinds and workers")));
    press(&mut screen, KeyCode::Esc);
    assert!(!screen.is_helping);
}

#[test]
fn a_broker_that_does_not_answer_is_said_and_what_was_known_stays() {
    let mut screen = screen();
    screen.take(Err(Error::TimedOut { after: Duration::from_secs(1) }));
    let text = shown(&screen, 120, 30).join("\n");
    assert!(text.contains("no answer") && text.contains("worker-2"), "{text}");
    let began = Instant::now();
    screen.take(Ok(look(began, 20)));
    assert!(shown(&screen, 120, 30).join("\n").contains("ready"));
}

#[test]
fn what_is_held_does_not_change() {
    let mut screen = screen();
    press(&mut screen, KeyCode::Char('p'));
    screen.take(Ok(look(Instant::now(), 50)));
    let text = shown(&screen, 120, 30).join("\n");
    assert!(text.contains("held") && text.contains("up 12s"), "{text}");
}

#[test]
fn another_broker_is_not_compared_with_the_one_before() {
    let began = Instant::now();
    let (one, mut other) = (look(began, 10), look(began, 11));
    assert!(Flow::between(&one, &other).is_some());
    assert!(Flow::between(&other, &one).is_none(), "it was started anew");
    other.status.epoch = Epoch(2);
    assert!(Flow::between(&one, &other).is_none());
}

#[test]
fn it_fits_any_terminal_without_a_panic() {
    let mut screen = screen();
    for is_helping in [false, true] {
        screen.is_helping = is_helping;
        for (width, height) in [(1, 1), (10, 3), (40, 10), (80, 24), (300, 100)] {
            shown(&screen, width, height);
        }
    }
    shown(&Screen::new(String::new(), false), 80, 24);
    screen.is_helping = false;
    let narrow = shown(&screen, 40, 24).join("\n");
    assert!(narrow.contains("STATE") && !narrow.contains("KNOWLEDGE"), "{narrow}");
}

#[test]
fn whoever_may_not_list_workers_sees_the_rest() {
    let mut screen = screen();
    let sample = Sample { workers: None, ..look(Instant::now(), 13) };
    screen.take(Ok(sample));
    let text = shown(&screen, 100, 30).join("\n");
    assert!(text.contains("this key may not list them") && text.contains("resize"), "{text}");
}

#[test]
fn numbers_are_grouped() {
    for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
        assert_eq!(grouped(number), text);
    }
}
