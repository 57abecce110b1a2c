//! Many connectors on one engine. `FERROCTI_TEST_MANY` says how many (20 when it is not set).

use std::time::Duration;

use ferrocti_composer::{Current, Requested, State};
use tokio::time::Instant;

use crate::{
    containers,
    contract::STUBBORN,
    engine::{Site, container},
};

/// Processor time of this process, composer and platform together.
fn cpu() -> Duration {
    let usage = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = usage[usage.rfind(')').unwrap()..]
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_start_and_stop_side_by_side_and_all_are_looked_at() {
    let Some(bench) = containers().await else {
        return;
    };
    let count: usize = std::env::var("FERROCTI_TEST_MANY")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20);
    let site = Site::new(bench, Vec::new()).await;
    site.platform.get().patient = true;
    let image = site.image("stubborn", STUBBORN);
    let ids: Vec<String> = (0..count).map(|n| format!("c{n:03}")).collect();
    let began = Instant::now();
    site.platform.change(|platform| {
        for id in &ids {
            let assigned = container(id, "1", &image);
            platform.connectors.insert(id.clone(), assigned);
        }
    });
    site.platform
        .until("all are told to run", |p| {
            ids.iter().all(|id| {
                p.told
                    .get(id)
                    .is_some_and(|t| t.current == Some(Current::Started))
            })
        })
        .await;
    let started = began.elapsed();
    println!("MEASURED {count} containers: from nothing to all running and told {started:?}");
    for id in &ids {
        site.platform.hear(id);
    }
    let lively = Instant::now();
    site.platform
        .until("figures and logs of all have come", |p| {
            let mut told = p.reports.iter().flat_map(|(_, r)| &r.connectors);
            let healthy = |id: &String| {
                told.clone()
                    .any(|t| t.id == *id && t.health.is_some_and(|h| h.memory > Some(0)))
            };
            let healthy = ids.iter().all(healthy);
            let _ = told.next();
            healthy && ids.iter().all(|id| p.lines.contains_key(id))
        })
        .await;
    println!(
        "MEASURED {count} containers: figures and logs of all {:?} later",
        lively.elapsed()
    );
    let (cpu_before, questions) = (cpu(), site.platform.get().questions);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let questions = site.platform.get().questions - questions;
    println!(
        "MEASURED {count} idle containers: {:?} of processor time and {questions} requests to the platform in 30 s",
        cpu() - cpu_before
    );
    assert!(questions <= 30, "{questions}");
    let began = Instant::now();
    site.platform.change(|platform| {
        for assigned in platform.connectors.values_mut() {
            assigned.requested = Requested::Stopped;
        }
    });
    site.platform
        .until("all are told to be stopped", |p| {
            p.told.values().all(|told| told.state == State::Stopped)
        })
        .await;
    println!(
        "MEASURED {count} containers that ignore SIGTERM: all stopped {:?}",
        began.elapsed()
    );
    site.end().await;
}
