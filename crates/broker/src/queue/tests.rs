//! What cannot be seen from outside: leases against a model, a disk that is full, a file that shrinks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::writer::Tx;
use super::{Depth, Options, Publish, QueueError, QueueSettings, Queues, State};

fn open(dir: &TempDir) -> Queues {
    let time = AtomicI64::new(0);
    let clock = Arc::new(move || time.fetch_add(1, Ordering::Relaxed));
    Queues::open(dir.path().join("queue.db"), Options::new(clock)).unwrap()
}

fn message(bytes: usize) -> Publish {
    Publish {
        body: Bytes::from(vec![b'x'; bytes]),
        ..Publish::default()
    }
}

#[derive(Debug, Clone)]
enum Op {
    Publish(usize),
    Lease(usize),
    Ack(usize),
    Release(usize, bool),
    Purge,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1_usize..5).prop_map(Op::Publish),
        4 => (1_usize..5).prop_map(Op::Lease),
        3 => (0_usize..6).prop_map(Op::Ack),
        3 => ((0_usize..6), any::<bool>()).prop_map(|(place, seen)| Op::Release(place, seen)),
        1 => Just(Op::Purge),
        1 => Just(Op::Restart),
    ]
}

/// Ready messages with whether a client may have seen them, and leased ones.
#[derive(Default)]
struct Model {
    ready: BTreeMap<u64, bool>,
    leased: BTreeMap<u64, bool>,
}

fn apply(op: &Op, model: &mut Model, queues: &mut Queues, dir: &TempDir) {
    match *op {
        Op::Publish(count) => {
            for _ in 0..count {
                let seq = queues.publish("q", message(1)).wait().unwrap();
                model.ready.insert(seq, false);
            }
        }
        Op::Lease(count) => {
            let leased = queues.lease("q", count, u64::MAX).unwrap();
            let found: Vec<(u64, bool)> = leased
                .iter()
                .map(|message| (message.seq, message.redelivered))
                .collect();
            let expected: Vec<(u64, bool)> = model
                .ready
                .iter()
                .take(count)
                .map(|(seq, seen)| (*seq, *seen))
                .collect();
            assert_eq!(found, expected);
            for (seq, seen) in expected {
                model.ready.remove(&seq);
                model.leased.insert(seq, seen);
            }
        }
        Op::Ack(place) => {
            if let Some(seq) = model.leased.keys().nth(place).copied() {
                queues.ack("q", &[seq]).unwrap();
                model.leased.remove(&seq);
            }
        }
        Op::Release(place, seen) => {
            let found = model.leased.iter().nth(place);
            if let Some((seq, before)) = found.map(|(seq, before)| (*seq, *before)) {
                queues.release("q", &[seq], seen);
                model.leased.remove(&seq);
                // what a client may have seen before, it may still have seen
                model.ready.insert(seq, seen || before);
            }
        }
        Op::Purge => {
            assert_eq!(queues.purge("q").wait(), Ok(model.ready.len() as u64));
            model.ready.clear();
        }
        Op::Restart => {
            queues.close();
            *queues = open(dir);
            let all = model.ready.keys().chain(model.leased.keys());
            model.ready = all.map(|seq| (*seq, true)).collect();
            model.leased.clear();
        }
    }
    let (ready, _) = queues.ready_and_consumers("q").unwrap();
    assert_eq!(ready, model.ready.len() as u64, "after {op:?}");
    let messages = (model.ready.len() + model.leased.len()) as u64;
    let depth = Depth {
        messages,
        bytes: messages,
    };
    assert_eq!(queues.depth("q"), Some(depth), "after {op:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn leases_equal_the_model(ops in proptest::collection::vec(op(), 1..50)) {
        let dir = TempDir::new().unwrap();
        let mut queues = open(&dir);
        queues.declare("q", QueueSettings::default()).wait().unwrap();
        let mut model = Model::default();
        for op in &ops {
            apply(op, &mut model, &mut queues, &dir);
        }
        queues.flush().wait().unwrap();
        prop_assert_eq!(queues.check().unwrap(), Vec::<String>::new());
    }
}

/// Lets the file grow by that many pages and no further.
fn limit_growth(queues: &Queues, pages: u64) {
    let limited = queues.call(move |tx: &mut Tx<'_>| {
        let now: u64 = tx
            .conn
            .query_row("PRAGMA page_count", [], |row| row.get(0))?;
        tx.conn.query_row(
            &format!("PRAGMA max_page_count = {}", now + pages),
            [],
            |_| Ok(()),
        )?;
        Ok(((), |_: &mut State| {}))
    });
    limited.wait().unwrap();
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_works_again_when_there_is_room() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    queues
        .declare("q", QueueSettings::default())
        .wait()
        .unwrap();
    let first = queues.publish("q", message(1)).wait().unwrap();
    limit_growth(&queues, 4);
    let refused = queues.publish("q", message(1 << 20)).wait();
    assert!(matches!(refused, Err(QueueError::Store(_))), "{refused:?}");
    let kept = Depth {
        messages: 1,
        bytes: 1,
    };
    assert_eq!(queues.depth("q"), Some(kept));
    assert_eq!(queues.stats().bytes, 1, "nothing stays reserved");

    limit_growth(&queues, 10_000);
    let second = queues.publish("q", message(1 << 20)).wait().unwrap();
    assert!(second > first);
    queues.ack("q", &[first]).unwrap();
    queues.flush().wait().unwrap();
    drop(queues);
    let queues = open(&dir);
    assert_eq!(queues.depth("q").map(|depth| depth.messages), Some(1));
    let third = queues.publish("q", message(1)).wait().unwrap();
    assert!(third > second);
}

/// What a call that always fails would do afterwards.
type NoEffect = fn(&mut State);

#[test]
fn one_failing_call_does_not_harm_what_is_committed_with_it() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    queues
        .declare("q", QueueSettings::default())
        .wait()
        .unwrap();
    let publishes: Vec<_> = (0..20).map(|_| queues.publish("q", message(10))).collect();
    let failing = queues.call(|tx: &mut Tx<'_>| -> Result<((), NoEffect), QueueError> {
        tx.conn.execute("DELETE FROM message", [])?;
        Err(QueueError::UnknownQueue("made up".to_owned()))
    });
    let more: Vec<_> = (0..20).map(|_| queues.publish("q", message(10))).collect();
    assert!(failing.wait().is_err());
    for publish in publishes.into_iter().chain(more) {
        publish.wait().unwrap();
    }
    let fetched = queues.fetch("q", 0, usize::MAX, u64::MAX).unwrap();
    assert_eq!(fetched.len(), 40, "the failed call has undone only itself");
}

#[test]
fn the_file_shrinks_when_its_messages_are_gone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("queue.db");
    let queues = open(&dir);
    queues
        .declare("q", QueueSettings::default())
        .wait()
        .unwrap();
    let mut last = 0;
    for _ in 0..60 {
        last = queues.publish("q", message(1 << 20)).wait().unwrap();
    }
    queues.ack_up_to("q", last).unwrap();
    queues.flush().wait().unwrap();
    // the writing thread tidies up after it had nothing to do for a while
    let deadline = Instant::now() + Duration::from_secs(30);
    let size = || std::fs::metadata(&path).unwrap().len();
    while size() > 10 << 20 {
        assert!(Instant::now() < deadline, "still {} bytes", size());
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(queues);
    assert!(size() < 10 << 20);
}
