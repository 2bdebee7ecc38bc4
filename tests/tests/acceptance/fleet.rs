//! Thousands of workers.

use std::time::{Duration, Instant};

use ganger_client::NewTask;
use ganger_tests::cluster::{Cluster, WorkerSpec};
use ganger_tests::customer::Customer;
use ganger_tests::procfs;
use ganger_tests::scale::{Scale, alone};
use ganger_tests::wait::Metronome;

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_workers_connect_heartbeat_and_serve() {
    let _turn = alone();
    let (workers, idle) = Scale::from_env().pick((200, 3), (2_000, 30));
    let mut cluster = Cluster::start(&[]);
    let bare = cluster.broker().rss_bytes();
    let start = Instant::now();
    let count = workers.to_string();
    cluster.add(&WorkerSpec::stock("many").slots(1).args(&["--instances", &count]));
    let mut customer = Customer::connect(&cluster).await;
    customer.await_workers(workers, Duration::from_secs(60)).await;
    println!("{workers} workers were ready after {:?}", start.elapsed());

    // Nothing to do: heartbeats alone.
    let (cpu, worker_cpu) = (cluster.broker().cpu_time(), cluster.worker(0).cpu_time());
    let idle = Duration::from_secs(idle);
    Metronome::once(idle).await;
    let share = |now: Duration, before: Duration| (now - before).as_secs_f64() / idle.as_secs_f64() * 100.0;
    let rss = cluster.broker().rss_bytes();
    println!(
        "idle for {idle:?}: the broker uses {:.1} % of a core and {} KiB ({} KiB a worker), the workers {:.1} %",
        share(cluster.broker().cpu_time(), cpu),
        rss >> 10,
        (rss.saturating_sub(bare) / workers as u64) >> 10,
        share(cluster.worker(0).cpu_time(), worker_cpu),
    );

    let tasks = workers * 20;
    let start = Instant::now();
    customer.run((0..tasks).map(|_| ganger_tests::work::plain("noop")), Duration::from_secs(60)).await;
    let took = start.elapsed();
    println!("{tasks} empty tasks over {workers} workers: {:.0}/s", tasks as f64 / took.as_secs_f64());
    let nap = NewTask::new("sleep", "200ms");
    let start = Instant::now();
    let naps = (0..workers).map(|_| nap.clone().id(ganger_tests::work::fresh_id()));
    customer.run(naps, Duration::from_secs(60)).await;
    println!("{workers} naps of 200 ms, one for each: {:?}", start.elapsed());
    let peak = procfs::peak_rss_bytes(cluster.broker().pid()).unwrap_or(0);
    println!("the broker's memory at its peak: {} KiB", peak >> 10);

    let ended: Vec<u64> = customer.workers().await.iter().map(|worker| worker.ended).collect();
    let busy = ended.iter().filter(|ended| **ended > 0).count();
    assert_eq!(ended.len(), workers, "a worker was lost");
    assert!(busy * 10 >= workers * 9, "only {busy} of {workers} workers were given anything");
    for counter in ["workers_lost_silent", "workers_lost_connection"] {
        assert_eq!(customer.counter(counter).await, 0, "{counter}");
    }
}
