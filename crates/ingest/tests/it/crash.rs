//! What happens again after a crash changes nothing, and nothing is lost.

use std::sync::Arc;

use ferrocti_broker::queue::push_queue;
use ferrocti_ingest::{Ingest, Options};
use ferrocti_store::WorkStatus;
use serde_json::json;

use crate::platform::*;

const QUEUE_FILES: [&str; 3] = ["queues.db", "queues.db-wal", "queues.db-shm"];

/// Closes the platform, lets `between` change the files, and opens it again.
fn reopen(platform: Platform, between: impl FnOnce(&std::path::Path)) -> Platform {
    let Platform {
        clock,
        store,
        queues,
        ingest,
        admin,
        dir,
    } = platform;
    drop(ingest);
    queues.close();
    drop((queues, store));
    between(dir.path());
    let (store, queues) = open(dir.path(), &clock, 1000 + store_generation(dir.path()));
    let ingest = Ingest::new(
        store.clone(),
        queues.clone(),
        clock.clone(),
        Options::default(),
    );
    Platform {
        clock,
        store,
        queues,
        ingest,
        admin,
        dir,
    }
}

/// A seed of its own for every opening: internal ids must not come again.
fn store_generation(dir: &std::path::Path) -> u64 {
    let path = dir.join("generation");
    let generation = std::fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
        + 1;
    std::fs::write(&path, generation.to_string()).unwrap();
    generation
}

#[test]
fn messages_that_come_again_after_a_crash_change_nothing() {
    let platform = Platform::new();
    let work = platform.work(false);
    let aside = tempfile::TempDir::new().unwrap();
    for number in 0..20 {
        platform.send_with(
            CONNECTOR,
            &[
                malware(number, &format!("Foo {number}")),
                malware(100 + number, &format!("Bar {number}")),
            ],
            json!({"work_id": work}),
        );
    }
    // the queue file as it was before anything was acknowledged
    let platform = reopen(platform, |dir| {
        for name in QUEUE_FILES {
            if dir.join(name).exists() {
                std::fs::copy(dir.join(name), aside.path().join(name)).unwrap();
            }
        }
    });
    platform.work_off();
    let end = platform.history_end();
    assert_eq!(platform.progress(&work), (WorkStatus::Complete, 40, 40, 0));
    let platform = reopen(platform, |dir| {
        for name in QUEUE_FILES {
            drop(std::fs::remove_file(dir.join(name)));
            if aside.path().join(name).exists() {
                std::fs::copy(aside.path().join(name), dir.join(name)).unwrap();
            }
        }
    });
    assert_eq!(
        platform.depth(CONNECTOR),
        20,
        "the messages are there again"
    );
    platform.work_off();
    assert_eq!(platform.depth(CONNECTOR), 0);
    assert_eq!(platform.progress(&work), (WorkStatus::Complete, 40, 40, 0));
    assert_eq!(
        (platform.history_end(), platform.count("Malware")),
        (end, 40)
    );
    assert_eq!(platform.ingest.metrics().repeated, 20);
}

#[test]
fn a_dead_letter_set_aside_just_before_a_crash_is_reported_to_its_work() {
    let platform = Platform::new();
    let work = platform.work(false);
    platform.publish(
        CONNECTOR,
        json!({"type": "event", "work_id": work})
            .to_string()
            .into_bytes(),
    );
    let queue = push_queue(CONNECTOR);
    let seq = platform.queues.fetch(&queue, 0, 1, 1).unwrap()[0].seq;
    platform
        .queues
        .dead_letter(&queue, seq, "event messages are not available")
        .wait()
        .unwrap();
    let platform = reopen(platform, |_| {});
    platform.work_off();
    assert_eq!(platform.progress(&work).2, 1);
    assert_eq!(platform.errors(&work), ["event messages are not available"]);
    let platform = reopen(platform, |_| {});
    platform.work_off();
    assert_eq!(platform.errors(&work).len(), 1, "it is reported once");
}

#[test]
fn a_pushed_bundle_whose_pointer_was_lost_is_queued_again() {
    let platform = Platform::new();
    let bundle =
        json!({"type": "bundle", "objects": [malware(1, "Foo"), malware(2, "Bar")]}).to_string();
    let pushed = platform
        .ingest
        .push_bundle(&*platform.admin, CONNECTOR, &bundle, None)
        .unwrap();
    platform
        .queues
        .purge(&push_queue(CONNECTOR))
        .wait()
        .unwrap();
    let platform = reopen(platform, |_| {});
    let running = platform.ingest.start().unwrap();
    wait_until(|| platform.progress(&pushed.work).0 == WorkStatus::Complete);
    running.stop();
    assert_eq!(
        platform.progress(&pushed.work),
        (WorkStatus::Complete, 2, 2, 0)
    );
    assert_eq!(platform.count("Malware"), 2);
    let _: &Arc<_> = &platform.admin;
}
