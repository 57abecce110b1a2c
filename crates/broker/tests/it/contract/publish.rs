//! Publishing: confirms, returns, refusals, what arrives.

use amq_protocol::protocol::{AMQPClass, channel};
use lapin::options::{BasicGetOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Confirmation};

use super::{Target, contract};
use crate::harness::{
    code, confirming, count, durable_queue, publish, publish_numbers, publish_with, short, text,
    unique, until_count,
};
use crate::raw_client::RawClient;

contract!(
    confirmed_messages_are_in_the_queue,
    a_window_of_confirms_is_answered_completely,
    properties_and_headers_arrive_unchanged,
    bodies_of_any_size_arrive_unchanged,
    an_unroutable_mandatory_message_is_returned,
    an_unroutable_message_is_not_lost_silently,
    an_unroutable_message_without_confirms_is_told_of,
    an_unknown_exchange_closes_the_channel,
    a_foreign_user_id_closes_the_channel,
    a_message_published_before_closing_is_kept,
);

const MANDATORY: BasicPublishOptions = BasicPublishOptions {
    mandatory: true,
    immediate: false,
};

async fn confirmed_messages_are_in_the_queue(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("confirmed");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..20).await;
    assert_eq!(count(&channel, &queue).await, 20);
}

async fn a_window_of_confirms_is_answered_completely(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("window");
    durable_queue(&channel, &queue).await;
    let mut confirms = Vec::new();
    for _ in 0..500 {
        let confirm = channel.basic_publish(
            short(""),
            short(&queue),
            BasicPublishOptions::default(),
            b"x",
            BasicProperties::default(),
        );
        confirms.push(confirm.await.unwrap());
    }
    for confirm in confirms {
        assert!(matches!(confirm.await.unwrap(), Confirmation::Ack(None)));
    }
    assert_eq!(count(&channel, &queue).await, 500);
}

async fn properties_and_headers_arrive_unchanged(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("properties");
    durable_queue(&channel, &queue).await;
    let mut inner = FieldTable::default();
    inner.insert(short("deep"), AMQPValue::LongString("ä".into()));
    let mut headers = FieldTable::default();
    headers.insert(short("table"), AMQPValue::FieldTable(inner));
    headers.insert(
        short("list"),
        AMQPValue::FieldArray(FieldArray::from(vec![
            AMQPValue::LongInt(1),
            AMQPValue::Void,
            AMQPValue::Boolean(true),
        ])),
    );
    headers.insert(short("number"), AMQPValue::LongLongInt(i64::MIN));
    headers.insert(short("float"), AMQPValue::Double(1.5));
    headers.insert(short("time"), AMQPValue::Timestamp(1_700_000_000));
    let properties = BasicProperties::default()
        .with_content_type(short("application/json"))
        .with_content_encoding(short("utf-8"))
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(3)
        .with_correlation_id(short("correlation"))
        .with_reply_to(short("reply"))
        .with_message_id(short("id"))
        .with_timestamp(7)
        .with_type(short("type"))
        .with_user_id(short("guest"))
        .with_app_id(short("app"));
    publish_with(
        &channel,
        "",
        &queue,
        b"body",
        BasicPublishOptions::default(),
        properties.clone(),
    )
    .await
    .unwrap();
    let got = channel
        .basic_get(short(&queue), BasicGetOptions { no_ack: true })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(got.delivery.properties, properties);
    assert_eq!(got.delivery.routing_key.as_str(), queue);
    assert_eq!(got.delivery.exchange.as_str(), "");
}

async fn bodies_of_any_size_arrive_unchanged(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("sizes");
    durable_queue(&channel, &queue).await;
    // around the size of a frame, and far beyond it
    for size in [0, 1, 16_384, 131_063, 131_064, 131_065, 400_000, 5_000_000] {
        let body: Vec<u8> = (0..size).map(|index: u32| (index % 251) as u8).collect();
        let confirm = publish(&channel, "", &queue, &body).await;
        assert!(
            matches!(confirm, Confirmation::Ack(None)),
            "{size} bytes: {confirm:?}"
        );
        let got = channel
            .basic_get(short(&queue), BasicGetOptions { no_ack: true })
            .await
            .unwrap()
            .unwrap();
        assert!(
            got.delivery.data == body,
            "{size} bytes arrive as {}",
            got.delivery.data.len()
        );
    }
}

async fn an_unroutable_mandatory_message_is_returned(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let confirm = publish_with(
        &channel,
        "amq.direct",
        "nowhere",
        b"body",
        MANDATORY,
        BasicProperties::default(),
    )
    .await
    .unwrap();
    let Confirmation::Ack(Some(returned)) = confirm else {
        panic!("{confirm:?}")
    };
    assert_eq!(
        (returned.reply_code, returned.reply_text.as_str()),
        (312, "NO_ROUTE")
    );
    assert_eq!(returned.delivery.data, b"body");
    assert_eq!(returned.delivery.exchange.as_str(), "amq.direct");
}

async fn an_unroutable_message_is_not_lost_silently(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let confirm = publish(&channel, "amq.direct", "nowhere", b"body").await;
    let nacked = matches!(confirm, Confirmation::Nack(None));
    let acked = matches!(confirm, Confirmation::Ack(None));
    // RabbitMQ acknowledges it and throws it away
    assert!(target.expect(nacked, acked), "{confirm:?}");
    // the channel goes on either way
    let queue = unique("after");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..1).await;
}

async fn an_unroutable_message_without_confirms_is_told_of(target: &Target) {
    let mut client = RawClient::open(&target.address(), 0, 0).await;
    client.open_channel(1).await;
    client.publish(1, "amq.direct", "nowhere").await;
    client.header(1, 60, 0).await;
    client.select_confirms(1).await;
    let told = match client.method().await {
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => Some(close.reply_code),
        AMQPClass::Confirm(_) => None,
        other => panic!("{other:?}"),
    };
    // RabbitMQ throws the message away and goes on
    assert_eq!(told, target.expect(Some(404), None));
}

async fn an_unknown_exchange_closes_the_channel(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let exchange = unique("missing");
    let publish = publish_with(
        &channel,
        &exchange,
        "key",
        b"",
        BasicPublishOptions::default(),
        BasicProperties::default(),
    )
    .await;
    let error = publish.unwrap_err();
    assert_eq!(code(&error), 404);
    assert_eq!(
        text(&error),
        format!("NOT_FOUND - no exchange '{exchange}' in vhost '/'")
    );
    assert!(
        connection.create_channel().await.is_ok(),
        "the connection goes on"
    );
}

async fn a_foreign_user_id_closes_the_channel(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("user");
    durable_queue(&channel, &queue).await;
    let properties = BasicProperties::default().with_user_id(short("somebody"));
    let publish = publish_with(
        &channel,
        "",
        &queue,
        b"",
        BasicPublishOptions::default(),
        properties,
    )
    .await;
    assert_eq!(code(&publish.unwrap_err()), 406);
}

async fn a_message_published_before_closing_is_kept(target: &Target) {
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    let queue = unique("closing");
    durable_queue(&channel, &queue).await;
    for _ in 0..50 {
        publish(&channel, "", &queue, b"x").await;
    }
    channel.close(200, short("bye")).await.unwrap();
    connection.close(200, short("bye")).await.unwrap();
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    // the peer counts what it took without confirms a little later under load
    until_count(&channel, &queue, 50).await;
}
