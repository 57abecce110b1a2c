//! The protocol itself: login, negotiation, and what is not allowed.

use amq_protocol::protocol::{AMQPClass, basic, channel, connection};

use super::{Target, contract};
use crate::harness::{code, short, try_connect, unique};
use crate::raw_client::{HEADER, RawClient};

contract!(
    a_wrong_password_is_refused,
    an_unknown_virtual_host_is_refused,
    another_protocol_is_answered_with_the_right_header,
    limits_that_are_too_small_are_refused,
    a_method_on_a_closed_channel_closes_the_connection,
    a_channel_cannot_be_opened_twice,
    a_method_instead_of_content_closes_the_connection,
    content_without_a_method_closes_the_connection,
    a_frame_without_end_closes_the_connection,
    a_frame_over_the_negotiated_size_closes_the_connection,
    immediate_publishing_is_not_implemented,
    a_consumer_tag_cannot_be_used_twice,
    transactions,
    pika_closes_channels_with_code_zero,
    heartbeats_are_sent_at_the_interval_that_the_client_chose,
);

async fn a_wrong_password_is_refused(target: &Target) {
    let error = try_connect(&target.url_with("guest:wrong"))
        .await
        .err()
        .unwrap();
    assert_eq!(code(&error), 403);
    assert!(
        crate::harness::text(&error).starts_with(
            "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN."
        )
    );
}

async fn an_unknown_virtual_host_is_refused(target: &Target) {
    let mut client = RawClient::connect(&target.address()).await;
    client.log_in("guest", "guest").await;
    let tuned = client.tuned().await;
    client.tune_ok(tuned.channel_max, tuned.frame_max, 0).await;
    client.open_vhost("elsewhere").await;
    assert_eq!(client.closed_with().await.0, 530);
}

async fn another_protocol_is_answered_with_the_right_header(target: &Target) {
    for wrong in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"AMQP\x03\x01\x00\x00",
        b"AMQP\x01\x01\x09\x02",
    ] {
        let mut client = RawClient::connect(&target.address()).await;
        client.send(wrong).await;
        let answer = client.rest().await;
        assert_eq!(answer[..4], HEADER[..4], "{wrong:?}");
    }
}

async fn limits_that_are_too_small_are_refused(target: &Target) {
    let mut client = RawClient::connect(&target.address()).await;
    client.log_in("guest", "guest").await;
    let tuned = client.tuned().await;
    client.tune_ok(tuned.channel_max, 100, 0).await;
    // RabbitMQ waits three seconds and closes the socket without a word when a client fails before it has opened its connection
    let code = client.closed().await.map(|(code, _)| code);
    assert_eq!(code, target.expect(Some(530), None));
}

async fn a_method_on_a_closed_channel_closes_the_connection(target: &Target) {
    let mut client = RawClient::open(&target.address(), 0, 0).await;
    let qos = basic::Qos {
        prefetch_count: 1,
        global: false,
    };
    client
        .say(1, AMQPClass::Basic(basic::AMQPMethod::Qos(qos)))
        .await;
    assert_eq!(
        client.closed_with().await,
        (504, "CHANNEL_ERROR - expected 'channel.open'".to_owned())
    );
}

async fn a_channel_cannot_be_opened_twice(target: &Target) {
    let mut client = RawClient::open(&target.address(), 0, 0).await;
    client.open_channel(1).await;
    client
        .say(
            1,
            AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})),
        )
        .await;
    assert_eq!(
        client.closed_with().await,
        (504, "CHANNEL_ERROR - second 'channel.open' seen".to_owned())
    );
}

async fn a_method_instead_of_content_closes_the_connection(target: &Target) {
    let mut client = RawClient::open(&target.address(), 0, 0).await;
    client.open_channel(1).await;
    client.publish(1, "", "q").await;
    client.publish(1, "", "q").await;
    assert_eq!(client.closed_with().await.0, 505);
}

async fn content_without_a_method_closes_the_connection(target: &Target) {
    let mut client = RawClient::open(&target.address(), 0, 0).await;
    client.open_channel(1).await;
    client.frame(3, 1, b"body").await;
    assert_eq!(client.closed_with().await.0, 505);
}

async fn a_frame_without_end_closes_the_connection(target: &Target) {
    let mut client = RawClient::open(&target.address(), 0, 0).await;
    client.send(b"\x08\x00\x00\x00\x00\x00\x00\x00").await;
    assert_eq!(client.closed_with().await.0, 501);
}

async fn a_frame_over_the_negotiated_size_closes_the_connection(target: &Target) {
    let mut client = RawClient::open(&target.address(), 4096, 0).await;
    client.open_channel(1).await;
    client.publish(1, "", "q").await;
    client.header(1, 60, 10_000).await;
    client.frame(3, 1, &[0; 5000]).await;
    assert_eq!(client.closed_with().await.0, 501);
}

async fn immediate_publishing_is_not_implemented(target: &Target) {
    let mut client = RawClient::open(&target.address(), 0, 0).await;
    client.open_channel(1).await;
    let publish = basic::Publish {
        exchange: short(""),
        routing_key: short("q"),
        mandatory: false,
        immediate: true,
    };
    client
        .say(1, AMQPClass::Basic(basic::AMQPMethod::Publish(publish)))
        .await;
    client.header(1, 60, 0).await;
    assert_eq!(
        client.closed_with().await,
        (540, "NOT_IMPLEMENTED - immediate=true".to_owned())
    );
}

async fn a_consumer_tag_cannot_be_used_twice(target: &Target) {
    let setup = target.connect().await.create_channel().await.unwrap();
    let queue = unique("tags");
    crate::harness::durable_queue(&setup, &queue).await;
    let mut client = RawClient::open(&target.address(), 0, 0).await;
    client.open_channel(1).await;
    for _ in 0..2 {
        let consume = basic::Consume {
            queue: short(&queue),
            consumer_tag: short("mine"),
            ..basic::Consume::default()
        };
        client
            .say(1, AMQPClass::Basic(basic::AMQPMethod::Consume(consume)))
            .await;
    }
    assert_eq!(
        client.closed_with().await,
        (
            530,
            "NOT_ALLOWED - attempt to reuse consumer tag 'mine'".to_owned()
        )
    );
}

async fn transactions(target: &Target) {
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    let selected = channel.tx_select().await.map_err(|error| code(&error));
    // publisher confirms do the same better, and no connector uses transactions
    assert_eq!(selected, target.expect(Err(540), Ok(())));
}

async fn pika_closes_channels_with_code_zero(target: &Target) {
    let mut client = RawClient::open(&target.address(), 131_072, 10).await;
    client.open_channel(1).await;
    let close = channel::Close {
        reply_code: 0,
        reply_text: short("Normal shutdown"),
        class_id: 0,
        method_id: 0,
    };
    client
        .say(1, AMQPClass::Channel(channel::AMQPMethod::Close(close)))
        .await;
    let closed = client.method().await;
    assert!(
        matches!(closed, AMQPClass::Channel(channel::AMQPMethod::CloseOk(_))),
        "{closed:?}"
    );
    let close = connection::Close {
        reply_code: 200,
        reply_text: short("Normal shutdown"),
        class_id: 0,
        method_id: 0,
    };
    client
        .say(
            0,
            AMQPClass::Connection(connection::AMQPMethod::Close(close)),
        )
        .await;
    let closed = client.method().await;
    assert!(
        matches!(
            closed,
            AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))
        ),
        "{closed:?}"
    );
    // RabbitMQ leaves closing the socket to the client for a while, and its heartbeats go on
    let rest = client.rest().await;
    assert!(
        rest.chunks(8)
            .all(|frame| frame == b"\x08\x00\x00\x00\x00\x00\x00\xCE"),
        "{rest:?}"
    );
}

async fn heartbeats_are_sent_at_the_interval_that_the_client_chose(target: &Target) {
    // the server proposes 60 s; a client that chose 2 s gives up after 4 s of silence
    let mut client = RawClient::open(&target.address(), 0, 2).await;
    let opened = std::time::Instant::now();
    for _ in 0..2 {
        let frame = client.next().await;
        assert!(
            matches!(frame, Some(amq_protocol::frame::AMQPFrame::Heartbeat)),
            "{frame:?}"
        );
        client.send(b"\x08\x00\x00\x00\x00\x00\x00\xCE").await;
    }
    assert!(
        opened.elapsed() < std::time::Duration::from_secs(4),
        "{:?}",
        opened.elapsed()
    );
}
