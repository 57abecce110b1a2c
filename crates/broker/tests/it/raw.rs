//! What clients must not do to the listener: garbage, half messages, silence, too much of everything.

use std::time::Duration;

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, basic, connection, queue};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::harness::{TestBroker, listener_options, queue_options, short, try_connect, until};
use crate::raw_client::{HEADER, RawClient};
use ferrocti_broker::{ListenerOptions, Options};

async fn client(broker: &TestBroker) -> RawClient {
    let mut client = RawClient::open(&broker.listener.local_addr().to_string(), 0, 0).await;
    client.open_channel(1).await;
    client
}

#[tokio::test]
async fn unknown_frame_types_and_methods_are_named() {
    let broker = TestBroker::start().await;
    let mut one = client(&broker).await;
    one.frame(77, 1, b"").await;
    assert_eq!(
        one.closed_with().await,
        (501, "FRAME_ERROR - frame type 77 is unknown".to_owned())
    );
    let mut two = client(&broker).await;
    two.frame(1, 1, &[0, 99, 0, 99]).await;
    assert_eq!(two.closed_with().await.0, 503);
    let mut three = client(&broker).await;
    // basic.deliver is for the server to send
    three.frame(1, 1, &[0, 60, 0, 60, 0]).await;
    assert_eq!(three.closed_with().await.0, 503);
    let mut four = client(&broker).await;
    four.frame(1, 1, &[0, 60]).await;
    assert_eq!(four.closed_with().await.0, 503);
    let mut five = client(&broker).await;
    five.frame(1, 1, &[0, 60, 0, 80, 1]).await;
    assert_eq!(five.closed_with().await.0, 502);
    let mut six = client(&broker).await;
    six.frame(8, 1, b"").await;
    assert_eq!(six.closed_with().await.0, 501);
}

#[tokio::test]
async fn a_login_with_tables_nested_thousands_deep_does_no_harm() {
    let broker = TestBroker::start().await;
    let mut table = Vec::new();
    for _ in 0..5_000 {
        let mut outer = vec![0, b'F'];
        outer.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
        outer.append(&mut table);
        table = outer;
    }
    let mut attacker = RawClient::connect(&broker.listener.local_addr().to_string()).await;
    attacker.send(HEADER).await;
    attacker.method().await;
    let mut payload = vec![0, 10, 0, 11];
    payload.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
    payload.extend_from_slice(&table);
    payload.extend_from_slice(b"\x05PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US");
    attacker.frame(1, 0, &payload).await;
    assert_eq!(attacker.closed_with().await.0, 502);
    assert!(try_connect(&broker.url("guest:guest")).await.is_ok());
}

#[tokio::test]
async fn properties_that_are_malformed_close_the_connection() {
    let broker = TestBroker::start().await;
    let mut sender = client(&broker).await;
    sender.publish(1, "", "q").await;
    // announces a content type of 200 bytes that does not follow
    sender
        .frame(
            2,
            1,
            &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 200, b'x'],
        )
        .await;
    assert_eq!(sender.closed_with().await.0, 502);
}

#[tokio::test]
async fn content_of_the_wrong_kind_or_length_closes_the_connection() {
    let broker = TestBroker::start().await;
    let mut twice = client(&broker).await;
    twice.publish(1, "", "q").await;
    twice.header(1, 60, 5).await;
    twice.header(1, 60, 5).await;
    assert_eq!(twice.closed_with().await.0, 505);
    let mut class = client(&broker).await;
    class.publish(1, "", "q").await;
    class.header(1, 50, 5).await;
    assert_eq!(class.closed_with().await.0, 505);
    let mut longer = client(&broker).await;
    longer.publish(1, "", "q").await;
    longer.header(1, 60, 3).await;
    longer.frame(3, 1, b"four").await;
    assert_eq!(longer.closed_with().await.0, 501);
    let mut early = client(&broker).await;
    early.publish(1, "", "q").await;
    early.frame(3, 1, b"body").await;
    assert_eq!(early.closed_with().await.0, 505);
}

#[tokio::test]
async fn a_message_over_the_limit_closes_its_channel_before_its_body_is_taken() {
    let limits = Options {
        max_message_bytes: 1000,
        ..queue_options()
    };
    let broker = TestBroker::with(limits, listener_options()).await;
    let mut sender = client(&broker).await;
    sender.publish(1, "", "q").await;
    sender.header(1, 60, 1001).await;
    let closed = sender.channel_closed_with().await;
    assert_eq!(
        closed,
        (
            406,
            "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000"
                .to_owned()
        )
    );
    // the body was on its way already; it is passed over and other channels work
    sender.frame(3, 1, &[0; 1001]).await;
    sender.open_channel(2).await;
}

#[tokio::test]
async fn bodies_that_are_begun_and_not_finished_are_bounded() {
    let options = ListenerOptions {
        body_budget: 1000,
        body_patience: Duration::ZERO,
        ..listener_options()
    };
    let broker = TestBroker::with(queue_options(), options).await;
    let mut holder = client(&broker).await;
    holder.publish(1, "", "q").await;
    holder.header(1, 60, 900).await;
    until("the budget is taken", || {
        broker.listener.metrics().body_bytes == 900
    })
    .await;
    let mut second = client(&broker).await;
    second.publish(1, "", "q").await;
    second.header(1, 60, 200).await;
    assert_eq!(second.closed_with().await.0, 506);
    drop(holder);
    until("the budget is given back", || {
        broker.listener.metrics().body_bytes == 0
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_closed() {
    let broker = TestBroker::start().await;
    let _silent = RawClient::open(&broker.listener.local_addr().to_string(), 0, 1).await;
    assert_eq!(broker.listener.metrics().connections, 1);
    until("closed after two missed heartbeats", || {
        broker.listener.metrics().connections == 0
    })
    .await;
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_is_given_up() {
    let options = ListenerOptions {
        handshake_timeout: Duration::from_millis(50),
        ..listener_options()
    };
    let broker = TestBroker::with(queue_options(), options).await;
    let mut slow = RawClient::connect(&broker.listener.local_addr().to_string()).await;
    slow.send(&HEADER[..3]).await;
    assert!(slow.rest().await.is_empty());
    until("the connection is forgotten", || {
        broker.listener.metrics().connections == 0
    })
    .await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_and_later_ones_accepted() {
    let options = ListenerOptions {
        max_connections: 2,
        ..listener_options()
    };
    let broker = TestBroker::with(queue_options(), options).await;
    let address = broker.listener.local_addr().to_string();
    let first = RawClient::open(&address, 0, 0).await;
    let _second = RawClient::open(&address, 0, 0).await;
    let mut third = RawClient::connect(&address).await;
    third.log_in("guest", "guest").await;
    let tuned = third.tuned().await;
    third.tune_ok(tuned.channel_max, tuned.frame_max, 0).await;
    third.open_vhost("/").await;
    let closed = third.closed_with().await;
    assert_eq!(closed.0, 530);
    assert!(
        closed.1.contains("connection limit (2) is reached"),
        "{closed:?}"
    );
    drop(third);
    assert_eq!(broker.listener.metrics().refused, 1);
    drop(first);
    until("there is room again", || {
        broker.listener.metrics().connections == 1
    })
    .await;
    RawClient::open(&address, 0, 0).await;
}

#[tokio::test]
async fn connections_that_do_not_log_in_keep_nobody_out() {
    let options = ListenerOptions {
        max_connections: 2,
        max_pending: 8,
        ..listener_options()
    };
    let broker = TestBroker::with(queue_options(), options).await;
    let address = broker.listener.local_addr().to_string();
    let before = try_connect(&broker.url("guest:guest")).await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..300 {
        let mut one = RawClient::connect(&address).await;
        one.send(HEADER).await;
        flood.push(one);
    }
    let after = try_connect(&broker.url("guest:guest")).await.unwrap();
    for connection in [&before, &after] {
        assert!(connection.create_channel().await.is_ok());
    }
    // the open two, and of the flood the newest seven: the eighth place was that of the second one while it logged in
    until("the oldest are closed", || {
        broker.listener.connections().len() == 9 && broker.listener.metrics().connections == 9
    })
    .await;
    assert_eq!(broker.listener.metrics().refused, 293);
    for mut closed in flood.drain(..293) {
        closed.rest().await;
    }
    let start = flood[0].method().await;
    assert!(matches!(start, AMQPClass::Connection(_)), "{start:?}");
}

#[tokio::test]
async fn only_a_client_that_has_not_logged_in_is_given_up() {
    let options = ListenerOptions {
        max_pending: 1,
        ..listener_options()
    };
    let broker = TestBroker::with(queue_options(), options).await;
    let address = broker.listener.local_addr().to_string();
    let mut known = RawClient::connect(&address).await;
    known.log_in("guest", "guest").await;
    let tuned = known.tuned().await;
    let mut silent = RawClient::connect(&address).await;
    silent.send(HEADER).await;
    silent.method().await;
    let mut newest = RawClient::connect(&address).await;
    newest.send(HEADER).await;
    newest.method().await;
    assert!(silent.rest().await.is_empty());
    known.tune_ok(tuned.channel_max, tuned.frame_max, 0).await;
    known.open_vhost("/").await;
    let opened = known.method().await;
    assert!(
        matches!(
            opened,
            AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))
        ),
        "{opened:?}"
    );
}

#[tokio::test]
async fn shutting_down_does_not_wait_for_handshakes() {
    let options = ListenerOptions {
        handshake_timeout: Duration::from_secs(3600),
        ..listener_options()
    };
    let broker = TestBroker::with(queue_options(), options).await;
    let mut silent = RawClient::connect(&broker.listener.local_addr().to_string()).await;
    silent.send(HEADER).await;
    silent.method().await;
    broker.listener.shutdown(Duration::from_secs(3600)).await;
    assert_eq!(broker.listener.metrics().connections, 0);
}

#[tokio::test]
async fn a_consumer_that_does_not_read_is_not_buffered_for() {
    let broker = TestBroker::start().await;
    let connection = try_connect(&broker.url("guest:guest")).await.unwrap();
    let channel = crate::harness::confirming(&connection).await;
    crate::harness::durable_queue(&channel, "slow").await;
    let body = vec![7_u8; 1 << 20];
    for _ in 0..40 {
        crate::harness::publish(&channel, "", "slow", &body).await;
    }
    let mut slow = client(&broker).await;
    let consume = basic::Consume {
        queue: short("slow"),
        consumer_tag: short("c"),
        ..basic::Consume::default()
    };
    slow.say(1, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)))
        .await;
    until("deliveries begin", || {
        broker.listener.metrics().delivered > 0
    })
    .await;
    // what is not in the sockets' buffers stays on the disk
    let settled = async {
        let mut last = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let delivered = broker.listener.metrics().delivered;
            if delivered == last {
                return delivered;
            }
            last = delivered;
        }
    };
    let delivered = tokio::time::timeout(crate::harness::PATIENCE, settled)
        .await
        .unwrap();
    assert!(
        delivered < 20,
        "{delivered} MiB were sent to a client that does not read"
    );
    // and it comes when the client reads
    let mut bodies = 0;
    while bodies < 40 << 20 {
        if let Some(AMQPFrame::Body(_, part)) = slow.next().await {
            bodies += part.len();
        }
    }
}

#[tokio::test]
async fn answers_that_are_not_read_stop_the_reading() {
    let broker = TestBroker::start().await;
    let mut flood = client(&broker).await;
    let declare = queue::Declare {
        queue: short("flood"),
        durable: true,
        ..queue::Declare::default()
    };
    flood
        .say(1, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
        .await;
    flood.method().await;
    // unroutable mandatory messages come back whole
    let publishing = async {
        for _ in 0..200 {
            let publish = basic::Publish {
                exchange: short(""),
                routing_key: short("nowhere"),
                mandatory: true,
                immediate: false,
            };
            flood
                .say(1, AMQPClass::Basic(basic::AMQPMethod::Publish(publish)))
                .await;
            flood.header(1, 60, 500_000).await;
            for _ in 0..5 {
                flood.frame(3, 1, &[0; 100_000]).await;
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(2), publishing).await;
    assert!(
        ended.is_err(),
        "the broker takes 100 MB of messages whose returns nobody reads"
    );
}

#[test]
fn random_bytes_after_the_handshake_only_end_their_own_connection() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let broker = runtime.block_on(TestBroker::start());
    let address = broker.listener.local_addr().to_string();
    let mut runner = TestRunner::new(Config {
        cases: 100,
        failure_persistence: None,
        ..Config::default()
    });
    let frames = proptest::collection::vec(
        (
            prop_oneof![Just(1_u8), Just(2), Just(3), Just(8), any::<u8>()],
            0_u16..3,
            proptest::collection::vec(any::<u8>(), 0..60),
        ),
        1..8,
    );
    let classes = prop_oneof![
        Just([0, 60]),
        Just([0, 50]),
        Just([0, 40]),
        Just([0, 20]),
        Just([0, 10]),
        Just([0, 85])
    ];
    runner
        .run(
            &(frames, classes, any::<bool>()),
            |(frames, class, channel_open)| {
                runtime.block_on(async {
                    let mut client = RawClient::open(&address, 0, 0).await;
                    if channel_open {
                        client.open_channel(1).await;
                    }
                    for (kind, channel, mut payload) in frames {
                        if kind == 1 && payload.len() > 4 {
                            // most are methods that exist
                            payload[..2].copy_from_slice(&class);
                            payload[2] = 0;
                            payload[3] = payload[3] % 13 * 10;
                        }
                        client.frame(kind, channel, &payload).await;
                    }
                });
                Ok(())
            },
        )
        .unwrap();
    runtime.block_on(async {
        assert!(
            try_connect(&broker.url("guest:guest")).await.is_ok(),
            "the broker still serves"
        );
        until("all connections have ended", || {
            broker.listener.metrics().connections <= 1
        })
        .await;
    });
}
