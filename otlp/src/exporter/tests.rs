//! The queue and the thread, with a collector that is there, that is not, and that never answers.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use super::*;
use crate::span::Role;

fn span(number: u8) -> Span {
    let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    Span {
        context: context.parse().unwrap(),
        state: None,
        parent: "00f067aa0ba902b7".parse().unwrap(),
        name: format!("run {number}"),
        role: Role::Internal,
        began: 1,
        ended: 2,
        error: None,
        attributes: vec![("ganger.task.attempt", u32::from(number).into())],
    }
}

fn at(listener: &TcpListener) -> Collector {
    format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()
}

/// Reads a request to its end, and answers it.
fn answer(mut stream: TcpStream, status: &str) -> Vec<u8> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk).unwrap();
        request.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if request.len() >= head.len() + 4 + length.parse::<usize>().unwrap() {
            break;
        }
    }
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
    request
}

#[test]
fn what_waits_at_the_end_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sending = Exporter::start(at(&listener), "test").unwrap();
    let exporter = sending.exporter().clone();
    (1..=3).for_each(|number| exporter.offer(span(number)));
    let collector = std::thread::spawn(move || answer(listener.accept().unwrap().0, "200 OK"));
    sending.finish();
    let request = collector.join().unwrap();
    let text = String::from_utf8_lossy(&request);
    assert!(text.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{text}");
    assert!(["run 1", "run 2", "run 3", "service.name"].iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(exporter.counts(), Counts { exported: 3, dropped: 0 });
}

#[test]
fn a_collector_that_has_no_time_gets_the_same_spans_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sending = Exporter::start(at(&listener), "test").unwrap();
    sending.exporter().offer(span(1));
    let first = answer(listener.accept().unwrap().0, "503 Service Unavailable");
    let second = answer(listener.accept().unwrap().0, "200 OK");
    assert_eq!(first, second);
    let exporter = sending.exporter().clone();
    sending.finish();
    assert_eq!(exporter.counts(), Counts { exported: 1, dropped: 0 });
}

#[test]
fn spans_that_a_collector_will_not_have_are_dropped_and_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sending = Exporter::start(at(&listener), "test").unwrap();
    sending.exporter().offer(span(1));
    answer(listener.accept().unwrap().0, "400 Bad Request");
    let exporter = sending.exporter().clone();
    sending.finish();
    assert_eq!(exporter.counts(), Counts { exported: 0, dropped: 1 });
}

#[test]
fn a_collector_that_is_silent_costs_a_queue_and_ends_with_the_program() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sending = Exporter::start(at(&listener), "test").unwrap();
    let exporter = sending.exporter().clone();
    let (done, is_done) = mpsc::channel();
    let many = 2 * (QUEUE_SPANS_MAX + BATCH_SPANS_MAX);
    (0..many).for_each(|_| exporter.offer(span(1)));
    assert!(exporter.counts().dropped >= QUEUE_SPANS_MAX as u64, "what does not fit is dropped");
    std::thread::spawn(move || {
        sending.finish();
        let _ = done.send(());
    });
    is_done.recv_timeout(10 * FINISH_WITHIN).expect("an end that does not wait for the collector");
    assert_eq!(exporter.counts(), Counts { exported: 0, dropped: many as u64 });
}
