//! What is special to the built-in listener: rights, claims, limits, revocation, shutdown, counters.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferrocti_broker::queue::{
    CONNECTOR_EXCHANGE, QueueSettings, WORKER_EXCHANGE, listen_queue, listen_routing, push_queue,
    push_routing,
};
use ferrocti_broker::{Depth, Listener, ListenerError, ListenerOptions, Options, Publish, Queues};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicRejectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation};
use tempfile::TempDir;

use crate::harness::{
    Inbox, TestBroker, TestLogins, code, confirming, count, durable_queue, listener_options,
    publish, publish_numbers, publish_with, queue_options, short, text, try_connect, until,
};
use crate::raw_client::RawClient;

async fn connector_broker() -> TestBroker {
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
async fn a_connector_publishes_and_receives_its_jobs() {
    let broker = connector_broker().await;
    let connection = try_connect(&broker.url("c1:c1")).await.unwrap();
    let channel = confirming(&connection).await;
    let confirm = publish(&channel, WORKER_EXCHANGE, &push_routing("c1"), b"bundle").await;
    assert!(matches!(confirm, Confirmation::Ack(None)));
    let fetched = broker
        .queues
        .fetch(&push_queue("c1"), 0, 10, u64::MAX)
        .unwrap();
    assert_eq!((fetched.len(), &fetched[0].body[..]), (1, &b"bundle"[..]));
    assert_eq!(
        fetched[0].properties.decode().unwrap().delivery_mode,
        Some(2)
    );

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
    assert_eq!(delivery.data, b"job");
    delivery.ack(BasicAckOptions::default()).await.unwrap();
    until("the job is gone", || {
        broker.queues.depth(&listen_queue("c1")) == Some(Depth::default())
    })
    .await;
}

#[tokio::test]
async fn a_connector_is_refused_what_is_not_its_own() {
    let broker = connector_broker().await;
    let connection = try_connect(&broker.url("c1:c1")).await.unwrap();
    let refused = "ACCESS_REFUSED - access to exchange 'amqp.worker.exchange' in vhost '/' refused for user 'c1'";
    let channel = confirming(&connection).await;
    let options = BasicPublishOptions::default();
    let foreign = publish_with(
        &channel,
        WORKER_EXCHANGE,
        &push_routing("c2"),
        b"",
        options,
        BasicProperties::default(),
    )
    .await
    .unwrap_err();
    assert_eq!((code(&foreign), text(&foreign)), (403, refused.to_owned()));
    let channel = confirming(&connection).await;
    let direct = publish_with(
        &channel,
        "",
        &push_queue("c1"),
        b"",
        options,
        BasicProperties::default(),
    )
    .await
    .unwrap_err();
    assert_eq!(code(&direct), 403);
    for queue in [push_queue("c1"), listen_queue("c2")] {
        let channel = connection.create_channel().await.unwrap();
        let consume = Inbox::consume_with(&channel, &queue, BasicConsumeOptions::default()).await;
        assert_eq!(code(&consume.err().unwrap()), 403, "{queue}");
    }
    let channel = connection.create_channel().await.unwrap();
    let declare = channel
        .queue_declare(
            short("mine"),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await;
    assert_eq!(code(&declare.unwrap_err()), 403);
    let channel = connection.create_channel().await.unwrap();
    assert_eq!(
        count(&channel, &push_queue("c1")).await,
        0,
        "it may ask for its own depth"
    );
}

#[tokio::test]
async fn a_claimed_queue_is_refused_to_clients_until_it_is_released() {
    let broker = TestBroker::start().await;
    broker
        .queues
        .declare("q", QueueSettings::default())
        .await
        .unwrap();
    let claim = broker.queues.claim("q").unwrap();
    let connection = try_connect(&broker.url("guest:guest")).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let consume = Inbox::consume_with(&channel, "q", BasicConsumeOptions::default()).await;
    assert_eq!(code(&consume.err().unwrap()), 403);
    let channel = connection.create_channel().await.unwrap();
    assert_eq!(
        code(
            &channel
                .basic_get(short("q"), Default::default())
                .await
                .err()
                .unwrap()
        ),
        403
    );
    drop(claim);
    let channel = confirming(&connection).await;
    let _inbox = Inbox::consume(&channel, "q").await;
    assert!(broker.queues.claim("q").is_err(), "it has a consumer now");
}

#[tokio::test]
async fn a_full_queue_nacks_and_takes_messages_again_when_it_is_consumed() {
    let limits = Options {
        max_queue_bytes: 100,
        ..queue_options()
    };
    let broker = TestBroker::with(limits, listener_options()).await;
    let connection = try_connect(&broker.url("guest:guest")).await.unwrap();
    let channel = confirming(&connection).await;
    durable_queue(&channel, "q").await;
    let body = [0_u8; 60];
    assert!(matches!(
        publish(&channel, "", "q", &body).await,
        Confirmation::Ack(None)
    ));
    assert!(matches!(
        publish(&channel, "", "q", &body).await,
        Confirmation::Nack(None)
    ));
    let seq = broker.queues.fetch("q", 0, 1, 1).unwrap()[0].seq;
    broker.queues.ack("q", &[seq]).unwrap();
    broker.queues.flush().await.unwrap();
    assert!(matches!(
        publish(&channel, "", "q", &body).await,
        Confirmation::Ack(None)
    ));
    let metrics = broker.listener.metrics();
    assert_eq!(
        (metrics.published, metrics.confirmed, metrics.nacked),
        (3, 2, 1)
    );
}

#[tokio::test]
async fn a_full_queue_closes_the_channel_of_a_publisher_without_confirms() {
    let limits = Options {
        max_queue_bytes: 100,
        ..queue_options()
    };
    let broker = TestBroker::with(limits, listener_options()).await;
    broker
        .queues
        .declare("q", QueueSettings::default())
        .await
        .unwrap();
    let mut client = RawClient::open(&broker.listener.local_addr().to_string(), 0, 0).await;
    client.open_channel(1).await;
    for _ in 0..2 {
        client.publish(1, "", "q").await;
        client.header(1, 60, 60).await;
        client.frame(3, 1, &[0; 60]).await;
    }
    let (code, text) = client.channel_closed_with().await;
    assert_eq!(code, 406);
    assert!(text.contains("queue 'q' is full"), "{text}");
    until("the first message is kept", || {
        broker.queues.depth("q").map(|depth| depth.messages) == Some(1)
    })
    .await;
}

#[tokio::test]
async fn a_message_rejected_for_good_is_kept_as_a_dead_letter() {
    let broker = TestBroker::start().await;
    let connection = try_connect(&broker.url("guest:guest")).await.unwrap();
    let channel = confirming(&connection).await;
    durable_queue(&channel, "q").await;
    publish_numbers(&channel, "q", 0..1).await;
    let mut inbox = Inbox::consume(&channel, "q").await;
    inbox
        .next()
        .await
        .unwrap()
        .reject(BasicRejectOptions { requeue: false })
        .await
        .unwrap();
    until("set aside", || broker.queues.stats().dead_letters == 1).await;
    assert_eq!(broker.queues.depth("q"), Some(Depth::default()));
    let letters = broker.queues.dead_letters(&Default::default()).unwrap();
    assert_eq!(
        letters[0].reason,
        "rejected by its consumer without requeue"
    );
    let id = letters[0].id;
    broker.queues.replay(id).await.unwrap();
    assert_eq!(inbox.numbers(1).await, [0]);
}

#[tokio::test]
async fn revoked_credentials_end_their_connections_and_no_others() {
    let broker = connector_broker().await;
    let kept = try_connect(&broker.url("guest:guest")).await.unwrap();
    let revoked = try_connect(&broker.url("c1:c1")).await.unwrap();
    let channel = revoked.create_channel().await.unwrap();
    let users: Vec<String> = broker
        .listener
        .connections()
        .into_iter()
        .map(|connection| connection.user)
        .collect();
    assert_eq!(users, ["guest", "c1"]);
    assert_eq!(broker.listener.disconnect("c1"), 1);
    until("the connection ends", || {
        broker.listener.metrics().connections == 1
    })
    .await;
    assert!(
        channel
            .queue_declare(
                short("q"),
                QueueDeclareOptions::durable(),
                FieldTable::default()
            )
            .await
            .is_err()
    );
    assert!(kept.create_channel().await.is_ok());
}

#[tokio::test]
async fn a_refused_login_is_held_back_and_counted() {
    let options = ListenerOptions {
        login_delay: Duration::from_millis(200),
        ..listener_options()
    };
    let broker = TestBroker::with(queue_options(), options).await;
    let asked = std::time::Instant::now();
    assert_eq!(
        code(&try_connect(&broker.url("c1:wrong")).await.err().unwrap()),
        403
    );
    assert!(asked.elapsed() >= Duration::from_millis(200));
    assert_eq!(broker.listener.metrics().failed_logins, 1);
}

#[tokio::test]
async fn shutting_down_tells_clients_and_keeps_what_was_published() {
    let dir = TempDir::new().unwrap();
    let queues = Queues::open(dir.path().join("queue.db"), queue_options()).unwrap();
    let listener = Listener::bind(listener_options(), queues.clone(), Arc::new(TestLogins))
        .await
        .unwrap();
    let connection = try_connect(&format!("amqp://guest:guest@{}/%2f", listener.local_addr()))
        .await
        .unwrap();
    let channel = confirming(&connection).await;
    durable_queue(&channel, "q").await;
    publish_numbers(&channel, "q", 0..5).await;
    let mut inbox = Inbox::consume(&channel, "q").await;
    let deliveries = inbox.take(5).await;
    deliveries[0].ack(BasicAckOptions::default()).await.unwrap();
    until("acknowledged", || listener.metrics().acked == 1).await;
    listener.shutdown(Duration::from_secs(10)).await;
    assert_eq!(listener.metrics().connections, 0);
    assert!(connection.create_channel().await.is_err());
    assert!(
        try_connect(&format!("amqp://guest:guest@{}/%2f", listener.local_addr()))
            .await
            .is_err()
    );
    queues.close();
    drop((queues, listener));
    let queues = Queues::open(dir.path().join("queue.db"), queue_options()).unwrap();
    assert_eq!(queues.depth("q").map(|depth| depth.messages), Some(4));
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let broker = TestBroker::start().await;
    let options = ListenerOptions {
        address: broker.listener.local_addr(),
        ..listener_options()
    };
    let second = Listener::bind(options, broker.queues.clone(), Arc::new(TestLogins)).await;
    let error = second.unwrap_err();
    assert!(
        matches!(error, ListenerError::AddressInUse(address) if address == broker.listener.local_addr())
    );
    assert!(error.to_string().contains("is in use"));
}

#[tokio::test]
async fn counters_follow_a_message() {
    let broker = TestBroker::start().await;
    let connection = try_connect(&broker.url("guest:guest")).await.unwrap();
    let channel = confirming(&connection).await;
    durable_queue(&channel, "q").await;
    publish_numbers(&channel, "q", 0..3).await;
    let mut inbox = Inbox::consume(&channel, "q").await;
    let deliveries = inbox.take(3).await;
    deliveries[0].ack(BasicAckOptions::default()).await.unwrap();
    until("acknowledged", || broker.listener.metrics().acked == 1).await;
    let metrics = broker.listener.metrics();
    assert_eq!(
        (metrics.connections, metrics.channels, metrics.consumers),
        (1, 1, 1)
    );
    assert_eq!(
        (metrics.published, metrics.confirmed, metrics.delivered),
        (3, 3, 3)
    );
    let info = &broker.queues.list()[0];
    assert_eq!((info.messages, info.consumers, info.unacked), (2, 1, 2));
    channel.close(200, short("")).await.unwrap();
    let metrics = broker.listener.metrics();
    assert_eq!(
        (metrics.channels, metrics.consumers, metrics.requeued),
        (0, 0, 2)
    );
}

#[tokio::test]
async fn transient_names_of_a_killed_run_do_not_stand_in_the_way() {
    let dir = TempDir::new().unwrap();
    let queues = Queues::open(dir.path().join("queue.db"), queue_options()).unwrap();
    queues
        .declare(
            "amq.gen-x",
            QueueSettings {
                transient: true,
                ..QueueSettings::default()
            },
        )
        .await
        .unwrap();
    queues.close();
    drop(queues);
    let queues = Queues::open(dir.path().join("queue.db"), queue_options()).unwrap();
    assert!(queues.list().is_empty());
}
