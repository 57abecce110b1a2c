//! The queue file through its public interface: what is confirmed stays, counts are true, nothing is handed out twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ferrocti_broker::queue::{
    DeleteConditions, QueueSettings, WORKER_EXCHANGE, push_queue, push_routing,
};
use ferrocti_broker::{
    DeadLetterQuery, Depth, OpenError, Options, Properties, Publish, QueueError, Queues,
};
use tempfile::TempDir;

fn options() -> Options {
    let time = AtomicI64::new(1_700_000_000_000);
    Options::new(Arc::new(move || time.fetch_add(1, Ordering::Relaxed)))
}

fn open(dir: &TempDir) -> Queues {
    Queues::open(dir.path().join("queue.db"), options()).unwrap()
}

fn message(body: &str) -> Publish {
    Publish {
        body: Bytes::copy_from_slice(body.as_bytes()),
        ..Publish::default()
    }
}

fn bodies(queues: &Queues, queue: &str) -> Vec<String> {
    let fetched = queues.fetch(queue, 0, usize::MAX, u64::MAX).unwrap();
    fetched
        .into_iter()
        .map(|message| String::from_utf8(message.body.to_vec()).unwrap())
        .collect()
}

#[test]
fn messages_come_back_in_order_with_their_properties_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    queues
        .declare("q", QueueSettings::default())
        .wait()
        .unwrap();
    let publish = Publish {
        body: Bytes::from_static(b"one"),
        properties: Properties::persistent_json().into(),
        size_hint: Some(500),
        ..Publish::default()
    };
    let first = queues.publish("q", publish.clone()).wait().unwrap();
    let second = queues.publish("q", message("two")).wait().unwrap();
    drop(queues);

    let queues = open(&dir);
    let fetched = queues.fetch("q", 0, 10, u64::MAX).unwrap();
    assert_eq!(
        fetched
            .iter()
            .map(|message| message.seq)
            .collect::<Vec<_>>(),
        [first, second]
    );
    assert_eq!(fetched[0].body, publish.body);
    assert_eq!(
        fetched[0].properties.decode().unwrap(),
        Properties::persistent_json()
    );
    assert!(
        fetched[0].redelivered,
        "a message of an earlier run may have been delivered then"
    );
    assert_eq!(
        queues.depth("q"),
        Some(Depth {
            messages: 2,
            bytes: 503
        })
    );
    assert_eq!(queues.check().unwrap(), Vec::<String>::new());
}

#[test]
fn a_number_is_never_used_again_even_when_its_message_is_gone() {
    let dir = TempDir::new().unwrap();
    let mut last = 0;
    for _ in 0..3 {
        let queues = open(&dir);
        queues
            .declare("q", QueueSettings::default())
            .wait()
            .unwrap();
        for _ in 0..5 {
            let seq = queues.publish("q", message("x")).wait().unwrap();
            assert!(seq > last, "{seq} after {last}");
            last = seq;
            queues.ack("q", &[seq]).unwrap();
        }
    }
}

#[test]
fn a_second_opening_of_the_file_is_refused() {
    let dir = TempDir::new().unwrap();
    let _queues = open(&dir);
    let second = Queues::open(dir.path().join("queue.db"), options());
    assert!(
        matches!(second, Err(OpenError::Locked { .. })),
        "{second:?}"
    );
}

#[test]
fn limits_refuse_a_publish_and_leave_no_trace() {
    let dir = TempDir::new().unwrap();
    let limits = Options {
        max_queue_bytes: 10,
        max_total_bytes: 14,
        max_message_bytes: 8,
        ..options()
    };
    let queues = Queues::open(dir.path().join("queue.db"), limits).unwrap();
    queues
        .declare("a", QueueSettings::default())
        .wait()
        .unwrap();
    queues
        .declare("b", QueueSettings::default())
        .wait()
        .unwrap();
    assert!(matches!(
        queues.publish("a", message("123456789")).wait(),
        Err(QueueError::TooLarge { bytes: 9, limit: 8 })
    ));
    queues.publish("a", message("12345678")).wait().unwrap();
    assert!(matches!(
        queues.publish("a", message("123")).wait(),
        Err(QueueError::QueueFull {
            bytes: 8,
            limit: 10,
            ..
        })
    ));
    assert!(matches!(
        queues.publish("b", message("1234567")).wait(),
        Err(QueueError::StoreFull {
            bytes: 8,
            limit: 14
        })
    ));
    assert_eq!(
        queues.publish("none", message("")).wait(),
        Err(QueueError::UnknownQueue("none".to_owned()))
    );
    assert_eq!(
        queues.depth("a"),
        Some(Depth {
            messages: 1,
            bytes: 8
        })
    );
    assert_eq!(queues.depth("b"), Some(Depth::default()));

    let seq = queues.fetch("a", 0, 1, 1).unwrap()[0].seq;
    queues.ack("a", &[seq]).unwrap();
    queues.flush().wait().unwrap();
    queues.publish("a", message("123")).wait().unwrap();
}

#[test]
fn reading_goes_on_behind_the_position_and_stops_at_the_byte_limit() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    queues
        .declare("q", QueueSettings::default())
        .wait()
        .unwrap();
    for body in ["aaaa", "bbbb", "cccc"] {
        queues.publish("q", message(body)).wait().unwrap();
    }
    let first = queues.fetch("q", 0, 10, 5).unwrap();
    assert_eq!(first.len(), 2, "the second message reaches the limit");
    let rest = queues.fetch("q", first[1].seq, 10, u64::MAX).unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].body, "cccc");
    queues.ack_up_to("q", first[1].seq).unwrap();
    queues.flush().wait().unwrap();
    assert_eq!(
        queues.depth("q"),
        Some(Depth {
            messages: 1,
            bytes: 4
        })
    );
}

#[test]
fn a_waiting_consumer_is_told_of_new_work_only() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    queues
        .declare("q", QueueSettings::default())
        .wait()
        .unwrap();
    queues
        .declare("other", QueueSettings::default())
        .wait()
        .unwrap();
    let mine = |name: &str| (name == "q").then_some(0);
    assert!(queues.wait_for_work(mine, Duration::ZERO).is_empty());
    queues.publish("other", message("x")).wait().unwrap();
    assert!(queues.wait_for_work(mine, Duration::ZERO).is_empty());

    let waiting = std::thread::spawn({
        let queues = queues.clone();
        move || queues.wait_for_work(mine, Duration::from_secs(30))
    });
    let seq = queues.publish("q", message("x")).wait().unwrap();
    assert_eq!(waiting.join().unwrap(), ["q"]);
    assert!(
        queues
            .wait_for_work(|name| (name == "q").then_some(seq), Duration::ZERO)
            .is_empty()
    );
}

#[test]
fn nobody_is_woken_again_for_messages_that_were_deleted_unread() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    queues
        .declare("q", QueueSettings::default())
        .wait()
        .unwrap();
    let read = queues.publish("q", message("read")).wait().unwrap();
    let unread = queues.publish("q", message("unread")).wait().unwrap();
    queues.ack("q", &[unread]).unwrap();
    queues.flush().wait().unwrap();
    let position = |_: &str| Some(read);
    assert_eq!(queues.wait_for_work(position, Duration::ZERO), ["q"]);
    assert!(queues.fetch("q", read, 10, u64::MAX).unwrap().is_empty());
    assert!(queues.wait_for_work(position, Duration::ZERO).is_empty());
    queues.publish("q", message("new")).wait().unwrap();
    assert_eq!(queues.wait_for_work(position, Duration::ZERO), ["q"]);
}

#[test]
fn a_dead_letter_keeps_everything_and_can_be_replayed() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    queues.declare_connector("c1", Bytes::new()).wait().unwrap();
    let publish = Publish {
        properties: Properties::persistent_json().into(),
        ..message("bad")
    };
    let seq = queues
        .publish_routed(WORKER_EXCHANGE, &push_routing("c1"), publish)
        .wait()
        .unwrap();
    let queue = push_queue("c1");
    let id = queues.dead_letter(&queue, seq, "not JSON").wait().unwrap();
    assert_eq!(queues.depth(&queue), Some(Depth::default()));
    assert!(matches!(
        queues.dead_letter(&queue, seq, "again").wait(),
        Err(QueueError::UnknownMessage { .. })
    ));
    drop(queues);

    let queues = open(&dir);
    let letters = queues
        .dead_letters(&DeadLetterQuery {
            queue: Some(queue.clone()),
            ..DeadLetterQuery::default()
        })
        .unwrap();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(
        (letter.id, letter.seq, letter.reason.as_str()),
        (id, Some(seq), "not JSON")
    );
    assert_eq!(
        (letter.exchange.as_str(), letter.body_bytes),
        (WORKER_EXCHANGE, 3)
    );
    assert!(letter.dead_at > letter.published_at);
    assert_eq!(queues.dead_letter_body_of(id).unwrap(), "bad");
    assert_eq!(
        queues.stats().bytes,
        3,
        "dead letters count towards the total"
    );

    let replayed = queues.replay(id).wait().unwrap();
    assert_eq!(replayed.queue, queue);
    assert!(replayed.seq > seq);
    assert_eq!(bodies(&queues, &queue), ["bad"]);
    assert_eq!(
        queues.replay(id).wait(),
        Err(QueueError::UnknownDeadLetter(id))
    );
    assert!(
        queues
            .dead_letters(&DeadLetterQuery::default())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_part_of_a_message_can_be_set_aside_and_discarded() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    let id = queues
        .dead_letter_body("q", message("part"), "refused")
        .wait()
        .unwrap();
    assert_eq!(queues.stats().dead_letters, 1);
    assert_eq!(
        queues.replay(id).wait(),
        Err(QueueError::UnknownQueue("q".to_owned())),
        "it waits for its queue"
    );
    queues.discard(id).wait().unwrap();
    assert_eq!(
        queues.discard(id).wait(),
        Err(QueueError::UnknownDeadLetter(id))
    );
    let stats = queues.stats();
    assert_eq!((stats.dead_letters, stats.bytes), (0, 0));
}

#[test]
fn connector_queues_and_bindings_survive_a_restart_until_deleted() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    queues.declare_connector("c1", Bytes::new()).wait().unwrap();
    queues.declare_connector("c1", Bytes::new()).wait().unwrap();
    drop(queues);
    let queues = open(&dir);
    queues
        .publish_routed(WORKER_EXCHANGE, &push_routing("c1"), message("x"))
        .wait()
        .unwrap();
    assert_eq!(
        queues
            .list()
            .into_iter()
            .map(|info| (info.name, info.messages))
            .collect::<Vec<_>>(),
        [("listen_c1".to_owned(), 0), ("push_c1".to_owned(), 1)]
    );
    assert_eq!(queues.delete_connector("c1").wait(), Ok(1));
    assert_eq!(queues.delete_connector("c1").wait(), Ok(0));
    let publish = queues
        .publish_routed(WORKER_EXCHANGE, &push_routing("c1"), message("x"))
        .wait();
    assert!(
        matches!(publish, Err(QueueError::UnknownQueue(_))),
        "{publish:?}"
    );
    assert_eq!(queues.stats().bytes, 0);
}

#[test]
fn a_claimed_queue_has_one_owner_until_the_claim_is_dropped() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    queues
        .declare("q", QueueSettings::default())
        .wait()
        .unwrap();
    let claim = queues.claim("q").unwrap();
    assert_eq!(
        queues.claim("q").unwrap_err(),
        QueueError::Claimed("q".to_owned())
    );
    assert_eq!(queues.list()[0].consumers, 1);
    let delete = queues
        .delete(
            "q",
            DeleteConditions {
                if_unused: true,
                if_empty: false,
            },
        )
        .wait();
    assert_eq!(delete, Err(QueueError::InUse("q".to_owned())));
    drop(claim);
    assert!(queues.claim("q").is_ok());
}

#[test]
fn a_queue_is_purged_and_deleted_only_under_its_conditions() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    queues
        .declare("q", QueueSettings::default())
        .wait()
        .unwrap();
    for _ in 0..3 {
        queues.publish("q", message("x")).wait().unwrap();
    }
    let only_empty = DeleteConditions {
        if_empty: true,
        if_unused: false,
    };
    assert_eq!(
        queues.delete("q", only_empty).wait(),
        Err(QueueError::NotEmpty("q".to_owned()))
    );
    assert_eq!(queues.purge("q").wait(), Ok(3));
    assert_eq!(queues.depth("q"), Some(Depth::default()));
    assert_eq!(queues.delete("q", only_empty).wait(), Ok(0));
    assert_eq!(queues.depth("q"), None);
    assert_eq!(
        queues.purge("q").wait(),
        Err(QueueError::UnknownQueue("q".to_owned()))
    );
}

#[test]
fn transient_queues_are_gone_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    let settings = QueueSettings {
        transient: true,
        ..QueueSettings::default()
    };
    queues.declare("t", settings).wait().unwrap();
    queues.publish("t", message("x")).wait().unwrap();
    drop(queues);
    let queues = open(&dir);
    assert_eq!(queues.depth("t"), None);
    assert_eq!(queues.stats().bytes, 0);
}

#[test]
fn publishers_that_wait_together_share_flushes() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    queues
        .declare("q", QueueSettings::default())
        .wait()
        .unwrap();
    let before = queues.stats().commits;
    let tickets: Vec<_> = (0..500)
        .map(|_| queues.publish("q", message("x")))
        .collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let commits = queues.stats().commits - before;
    assert!(commits < 250, "500 publishes took {commits} flushes");
    assert_eq!(queues.depth("q").unwrap().messages, 500);
}

#[test]
fn a_closed_file_refuses_politely() {
    let dir = TempDir::new().unwrap();
    let queues = open(&dir);
    queues
        .declare("q", QueueSettings::default())
        .wait()
        .unwrap();
    queues.close();
    assert_eq!(
        queues.publish("q", message("x")).wait(),
        Err(QueueError::Closed)
    );
    assert_eq!(queues.flush().wait(), Err(QueueError::Closed));
    assert!(
        queues
            .wait_for_work(|_| Some(0), Duration::from_secs(30))
            .is_empty()
    );
}
