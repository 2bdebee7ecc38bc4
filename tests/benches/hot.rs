//! The hot parts by the clock: `cargo bench -p ganger-tests`. Figures are for batches of [`BATCH`] tasks; a
//! quiet machine is needed for them to mean anything. `cargo instructions` needs none.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ganger_broker::journal::{Journal, JournalOptions, SqliteJournal};
use ganger_common::codec::Blob;
use ganger_common::message::{Dispatch, DispatchItem, Durability, FromClient, FromWorker, ToWorker};
use ganger_common::{Attempt, Epoch, TaskId, decode, encode};
use ganger_scheduler::input::NewTask;
use ganger_scheduler::{Lsn, Record, Wall};
use ganger_tests::exchange::{BATCH, Frames, KIND, PAYLOAD, SchedulerExchange, ShellExchange};

fn id(number: u64) -> TaskId {
    TaskId::from_bytes(u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes())
}

fn codec(criterion: &mut Criterion) {
    let payload = [0x61; PAYLOAD];
    let item = |number| DispatchItem {
        task: id(number),
        attempt: Attempt(1),
        kind: KIND.into(),
        payload: Blob(&payload),
        detail: None,
    };
    let dispatch = Dispatch { epoch: Epoch(1), tasks: (0..BATCH as u64).map(item).collect() };
    let mut frames = Frames::default();
    let (submit, report) = (frames.submit(BATCH), frames.report(&dispatch));
    let tasks = ToWorker::Tasks(dispatch);
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("decode submit", |bench| bench.iter(|| decode::<FromClient<'_>>(&submit).is_ok()));
    group.bench_function("decode report", |bench| bench.iter(|| decode::<FromWorker<'_>>(&report).is_ok()));
    group.bench_function("encode tasks", |bench| bench.iter(|| encode(&tasks)));
    group.finish();
}

fn exchange(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    group.throughput(Throughput::Elements(BATCH as u64));
    for durability in [Durability::Memory, Durability::Journal] {
        let mut exchange = SchedulerExchange::new(durability);
        group.bench_function(format!("scheduler {}", durability.as_str()), |bench| {
            bench.iter(|| exchange.turn(BATCH));
        });
    }
    let mut exchange = ShellExchange::new();
    group.bench_function("shell", |bench| bench.iter(|| exchange.turn(BATCH)));
    group.finish();
}

fn journal(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut journal = SqliteJournal::open(&JournalOptions::new(directory.path())).expect("a new journal");
    journal.read(&mut |_, _| {}).expect("an empty journal");
    let mut last = Lsn(0);
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("append and sync", |bench| {
        let batch = || {
            last = Lsn(last.0 + 1);
            let task = |number| NewTask {
                id: id(last.0 * BATCH as u64 + number),
                kind: KIND.into(),
                payload: Bytes::from_static(&[0x61; PAYLOAD]).into(),
                options: None,
            };
            let tasks = (0..BATCH as u64).map(task).collect();
            vec![(last, Record::Accepted { at: Wall(1), client: None, tasks })]
        };
        // One at a time: the numbers of batches follow each other.
        bench.iter_batched(batch, |mut batch| journal.append(&mut batch).is_ok(), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(hot, codec, exchange, journal);
criterion_main!(hot);
