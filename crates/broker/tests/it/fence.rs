//! A connector changes hands while its former instance is connected.

use bytes::Bytes;
use ferrocti_broker::Publish;
use ferrocti_broker::queue::{
    CONNECTOR_EXCHANGE, QueueSettings, WORKER_EXCHANGE, listen_queue, listen_routing, push_queue,
    push_routing,
};
use lapin::Confirmation;

use crate::harness::{Inbox, TestBroker, confirming, publish, queue_options, try_connect, until};

async fn broker() -> TestBroker {
    let broker = TestBroker::start().await;
    for id in ["c1", "c2"] {
        broker
            .queues
            .declare_connector(id, Bytes::new())
            .await
            .unwrap();
    }
    broker
}

#[tokio::test]
async fn what_is_published_while_it_changes_hands_is_refused_and_taken_again_afterwards() {
    let broker = broker().await;
    let connection = try_connect(&broker.url("c1:c1")).await.unwrap();
    let channel = confirming(&connection).await;
    let hold = broker.queues.hold("c1");
    let second = broker.queues.hold("c1");
    drop(second);
    let held = publish(&channel, WORKER_EXCHANGE, &push_routing("c1"), b"1").await;
    assert!(matches!(held, Confirmation::Nack(_)), "{held:?}");
    let own = broker.queues.publish(&push_queue("c1"), Publish::default());
    own.await.expect("the platform itself is not held");
    drop(hold);
    let taken = publish(&channel, WORKER_EXCHANGE, &push_routing("c1"), b"2").await;
    assert!(matches!(taken, Confirmation::Ack(_)), "{taken:?}");
}

#[tokio::test]
async fn the_former_epoch_neither_publishes_nor_logs_in_and_keeps_what_it_published() {
    let broker = broker().await;
    let connection = try_connect(&broker.url("c1:c1")).await.unwrap();
    let channel = confirming(&connection).await;
    publish(&channel, WORKER_EXCHANGE, &push_routing("c1"), b"before").await;
    let end = broker.queues.barrier().await.unwrap();
    assert_eq!(broker.queues.set_floor("c1", 1), 0);
    let refused = publish(&channel, WORKER_EXCHANGE, &push_routing("c1"), b"after").await;
    assert!(matches!(refused, Confirmation::Nack(_)), "{refused:?}");
    assert!(try_connect(&broker.url("c1:c1")).await.is_err());
    let kept = broker
        .queues
        .fetch(&push_queue("c1"), 0, 10, u64::MAX)
        .unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].epoch, kept[0].seq < end), (Some(0), true));
    // the platform itself goes on
    let own = broker.queues.publish(&push_queue("c1"), Publish::default());
    assert!(own.await.unwrap() > end);
}

#[tokio::test]
async fn what_a_former_instance_has_in_hand_goes_back_to_the_queue() {
    let broker = broker().await;
    let connection = try_connect(&broker.url("c1:c1")).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut inbox = Inbox::consume(&channel, &listen_queue("c1")).await;
    let job = Publish {
        body: Bytes::from_static(b"job"),
        ..Publish::default()
    };
    broker
        .queues
        .publish_routed(CONNECTOR_EXCHANGE, &listen_routing("c1"), job)
        .await
        .unwrap();
    let delivery = inbox.next().await.unwrap();
    broker.queues.set_floor("c1", 1);
    assert_eq!(broker.listener.disconnect("c1"), 1);
    // too late: it is not heard any more
    drop(delivery.ack(Default::default()).await);
    until("the job waits again", || {
        let queues = broker.queues.list();
        let listen = queues.iter().find(|queue| queue.name == listen_queue("c1"));
        listen.is_some_and(|queue| (queue.messages, queue.unacked, queue.consumers) == (1, 0, 0))
    })
    .await;
}

#[tokio::test]
async fn nothing_is_handed_out_of_a_paused_queue() {
    let broker = broker().await;
    let connection = try_connect(&broker.url("c1:c1")).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    broker.queues.pause(&listen_queue("c1"));
    let mut inbox = Inbox::consume(&channel, &listen_queue("c1")).await;
    for body in [&b"1"[..], b"2"] {
        let job = Publish {
            body: Bytes::copy_from_slice(body),
            ..Publish::default()
        };
        broker
            .queues
            .publish_routed(CONNECTOR_EXCHANGE, &listen_routing("c1"), job)
            .await
            .unwrap();
    }
    // the consumer is served in order, so that an answer to it shows that nothing was sent before
    connection.create_channel().await.unwrap();
    assert!(inbox.is_empty());
    broker.queues.resume(&listen_queue("c1"));
    assert_eq!(inbox.next().await.unwrap().data, b"1");
    assert_eq!(inbox.next().await.unwrap().data, b"2");
}

#[test]
fn a_file_of_the_former_format_is_brought_to_the_present_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queue.db");
    let open = || ferrocti_broker::Queues::open(&path, queue_options()).unwrap();
    let queues = open();
    queues
        .declare("push_c", QueueSettings::default())
        .wait()
        .unwrap();
    queues.publish("push_c", Publish::default()).wait().unwrap();
    drop(queues);
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch(
        "ALTER TABLE message DROP COLUMN epoch; ALTER TABLE queue DROP COLUMN published;
         ALTER TABLE queue DROP COLUMN discarded; PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(conn);
    let queues = open();
    let kept = queues.fetch("push_c", 0, 10, u64::MAX).unwrap();
    assert_eq!((kept.len(), kept[0].epoch), (1, None));
    queues.publish("push_c", Publish::default()).wait().unwrap();
    let ledger = queues.ledger("push_c", 0).unwrap().unwrap();
    assert_eq!((ledger.published, ledger.waiting), (1, 2));
}
