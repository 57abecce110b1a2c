//! Making, binding, purging and deleting queues and exchanges.

use lapin::ExchangeKind;
use lapin::options::{
    BasicCancelOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};

use super::{Target, contract};
use crate::harness::{
    Inbox, code, confirming, count, durable_queue, publish, publish_numbers, short, text,
    try_connect, unique, until_count,
};
use crate::raw_client::RawClient;

contract!(
    looking_for_a_missing_queue_closes_the_channel,
    looking_for_a_missing_exchange_closes_the_channel,
    a_queue_tells_its_messages_and_consumers,
    a_connector_queue_can_be_declared_as_upstream_does,
    declaring_again_with_other_properties_is_refused,
    reserved_names_are_refused,
    a_name_is_made_up_for_an_unnamed_queue,
    direct_exchanges_route_by_key,
    fanout_exchanges_route_to_all,
    topic_exchanges_route_by_pattern,
    an_unbound_queue_receives_nothing_more,
    the_default_exchange_cannot_be_bound,
    purging_and_deleting_answer_how_many,
    deleting_is_conditional_when_asked,
    deleting_what_is_missing_is_no_error,
    an_exclusive_queue_belongs_to_its_connection,
    an_auto_delete_queue_leaves_with_its_last_consumer,
    a_deleted_exchange_is_gone,
);

const PASSIVE: QueueDeclareOptions = QueueDeclareOptions {
    passive: true,
    durable: false,
    exclusive: false,
    auto_delete: false,
    nowait: false,
};
const DURABLE: ExchangeDeclareOptions = ExchangeDeclareOptions {
    passive: false,
    durable: true,
    auto_delete: false,
    internal: false,
    nowait: false,
};

fn none() -> FieldTable {
    FieldTable::default()
}

async fn looking_for_a_missing_queue_closes_the_channel(target: &Target) {
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    let queue = unique("missing");
    let error = channel
        .queue_declare(short(&queue), PASSIVE, none())
        .await
        .unwrap_err();
    assert_eq!(
        (code(&error), text(&error)),
        (404, format!("NOT_FOUND - no queue '{queue}' in vhost '/'"))
    );
    assert!(connection.create_channel().await.is_ok());
}

async fn looking_for_a_missing_exchange_closes_the_channel(target: &Target) {
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    let exchange = unique("missing");
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..DURABLE
    };
    let error = channel
        .exchange_declare(short(&exchange), ExchangeKind::Direct, passive, none())
        .await
        .unwrap_err();
    assert_eq!(code(&error), 404);
}

async fn a_queue_tells_its_messages_and_consumers(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("tells");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..3).await;
    let declared = channel
        .queue_declare(short(&queue), PASSIVE, none())
        .await
        .unwrap();
    assert_eq!(
        (
            declared.name().as_str(),
            declared.message_count(),
            declared.consumer_count()
        ),
        (queue.as_str(), 3, 0)
    );
    let mut inbox = Inbox::consume(&channel, &queue).await;
    inbox.take(3).await;
    let declared = channel
        .queue_declare(short(&queue), PASSIVE, none())
        .await
        .unwrap();
    assert_eq!(
        (declared.message_count(), declared.consumer_count()),
        (0, 1)
    );
}

async fn a_connector_queue_can_be_declared_as_upstream_does(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let exchange = unique("amqp.worker.exchange");
    channel
        .exchange_declare(short(&exchange), ExchangeKind::Direct, DURABLE, none())
        .await
        .unwrap();
    let mut config = none();
    config.insert(short("id"), AMQPValue::LongString("c".into()));
    config.insert(
        short("scope"),
        AMQPValue::FieldArray(vec![AMQPValue::LongString("application/json".into())].into()),
    );
    let mut arguments = none();
    arguments.insert(short("name"), AMQPValue::LongString("A connector".into()));
    arguments.insert(short("config"), AMQPValue::FieldTable(config));
    arguments.insert(
        short("x-queue-type"),
        AMQPValue::LongString("classic".into()),
    );
    let queue = unique("push_c");
    for _ in 0..2 {
        channel
            .queue_declare(
                short(&queue),
                QueueDeclareOptions::durable(),
                arguments.clone(),
            )
            .await
            .unwrap();
        channel
            .queue_bind(
                short(&queue),
                short(&exchange),
                short("push_routing_c"),
                QueueBindOptions::default(),
                none(),
            )
            .await
            .unwrap();
    }
    publish(&channel, &exchange, "push_routing_c", b"x").await;
    assert_eq!(count(&channel, &queue).await, 1);
}

async fn declaring_again_with_other_properties_is_refused(target: &Target) {
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    let queue = unique("again");
    durable_queue(&channel, &queue).await;
    durable_queue(&channel, &queue).await;
    let error = channel
        .queue_declare(short(&queue), QueueDeclareOptions::default(), none())
        .await
        .unwrap_err();
    assert_eq!(code(&error), 406);
    let expected = format!(
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{queue}' in vhost '/': received 'false' but current is 'true'"
    );
    assert_eq!(text(&error), expected);

    let channel = connection.create_channel().await.unwrap();
    let exchange = unique("again");
    channel
        .exchange_declare(short(&exchange), ExchangeKind::Direct, DURABLE, none())
        .await
        .unwrap();
    channel
        .exchange_declare(short(&exchange), ExchangeKind::Direct, DURABLE, none())
        .await
        .unwrap();
    let error = channel
        .exchange_declare(short(&exchange), ExchangeKind::Fanout, DURABLE, none())
        .await
        .unwrap_err();
    assert_eq!(code(&error), 406);
}

async fn reserved_names_are_refused(target: &Target) {
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    let error = channel
        .queue_declare(short("amq.mine"), QueueDeclareOptions::durable(), none())
        .await
        .unwrap_err();
    assert_eq!(
        (code(&error), text(&error)),
        (
            403,
            "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'".to_owned()
        )
    );
    let channel = connection.create_channel().await.unwrap();
    let error = channel
        .exchange_declare(short("amq.mine"), ExchangeKind::Direct, DURABLE, none())
        .await
        .unwrap_err();
    assert_eq!(code(&error), 403);
}

async fn a_name_is_made_up_for_an_unnamed_queue(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare(short(""), exclusive, none())
        .await
        .unwrap()
        .name()
        .to_string();
    assert!(queue.starts_with("amq.gen-"), "{queue}");
    publish_numbers(&channel, &queue, 0..1).await;
    // an empty name means the queue declared last
    assert_eq!(
        channel
            .queue_purge(short(""), QueuePurgeOptions::default())
            .await
            .unwrap(),
        1
    );
}

async fn exchange_with_queues(
    channel: &lapin::Channel,
    kind: ExchangeKind,
    keys: &[&str],
) -> (String, Vec<String>) {
    let exchange = unique("exchange");
    channel
        .exchange_declare(short(&exchange), kind, DURABLE, none())
        .await
        .unwrap();
    let mut queues = Vec::new();
    for key in keys {
        let queue = unique("bound");
        durable_queue(channel, &queue).await;
        channel
            .queue_bind(
                short(&queue),
                short(&exchange),
                short(key),
                QueueBindOptions::default(),
                none(),
            )
            .await
            .unwrap();
        queues.push(queue);
    }
    (exchange, queues)
}

async fn counts(channel: &lapin::Channel, queues: &[String]) -> Vec<u32> {
    let mut counts = Vec::new();
    for queue in queues {
        counts.push(count(channel, queue).await);
    }
    counts
}

async fn direct_exchanges_route_by_key(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let (exchange, queues) =
        exchange_with_queues(&channel, ExchangeKind::Direct, &["a", "a", "b"]).await;
    publish(&channel, &exchange, "a", b"x").await;
    assert_eq!(counts(&channel, &queues).await, [1, 1, 0]);
}

async fn fanout_exchanges_route_to_all(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let (exchange, queues) = exchange_with_queues(&channel, ExchangeKind::Fanout, &["", "b"]).await;
    publish(&channel, &exchange, "anything", b"x").await;
    assert_eq!(counts(&channel, &queues).await, [1, 1]);
}

async fn topic_exchanges_route_by_pattern(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let (exchange, queues) =
        exchange_with_queues(&channel, ExchangeKind::Topic, &["a.*", "a.#", "#", "*.b"]).await;
    publish(&channel, &exchange, "a.b", b"x").await;
    publish(&channel, &exchange, "a", b"x").await;
    publish(&channel, &exchange, "a.b.c", b"x").await;
    assert_eq!(counts(&channel, &queues).await, [1, 3, 3, 1]);
}

async fn an_unbound_queue_receives_nothing_more(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let (exchange, queues) =
        exchange_with_queues(&channel, ExchangeKind::Fanout, &["k", "k"]).await;
    channel
        .queue_unbind(short(&queues[0]), short(&exchange), short("k"), none())
        .await
        .unwrap();
    publish(&channel, &exchange, "k", b"x").await;
    assert_eq!(counts(&channel, &queues).await, [0, 1]);
}

async fn the_default_exchange_cannot_be_bound(target: &Target) {
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    let queue = unique("default");
    durable_queue(&channel, &queue).await;
    let error = channel
        .queue_bind(
            short(&queue),
            short(""),
            short("k"),
            QueueBindOptions::default(),
            none(),
        )
        .await
        .unwrap_err();
    assert_eq!(code(&error), 403);
}

async fn purging_and_deleting_answer_how_many(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("purge");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..5).await;
    assert_eq!(
        channel
            .queue_purge(short(&queue), QueuePurgeOptions::default())
            .await
            .unwrap(),
        5
    );
    assert_eq!(count(&channel, &queue).await, 0);
    publish_numbers(&channel, &queue, 0..2).await;
    assert_eq!(
        channel
            .queue_delete(short(&queue), QueueDeleteOptions::default())
            .await
            .unwrap(),
        2
    );
}

async fn deleting_is_conditional_when_asked(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("conditional");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..1).await;
    let if_empty = QueueDeleteOptions {
        if_empty: true,
        ..QueueDeleteOptions::default()
    };
    assert_eq!(
        code(
            &channel
                .queue_delete(short(&queue), if_empty)
                .await
                .unwrap_err()
        ),
        406
    );

    let channel = connection.create_channel().await.unwrap();
    let _inbox = Inbox::consume(&channel, &queue).await;
    let other = connection.create_channel().await.unwrap();
    let if_unused = QueueDeleteOptions {
        if_unused: true,
        ..QueueDeleteOptions::default()
    };
    assert_eq!(
        code(
            &other
                .queue_delete(short(&queue), if_unused)
                .await
                .unwrap_err()
        ),
        406
    );
}

async fn deleting_what_is_missing_is_no_error(target: &Target) {
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    let name = unique("missing");
    assert_eq!(
        channel
            .queue_delete(short(&name), QueueDeleteOptions::default())
            .await
            .unwrap(),
        0
    );
    channel
        .exchange_delete(short(&name), ExchangeDeleteOptions::default())
        .await
        .unwrap();
}

async fn an_exclusive_queue_belongs_to_its_connection(target: &Target) {
    let owner = target.connect().await;
    let channel = confirming(&owner).await;
    let queue = unique("exclusive");
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(short(&queue), exclusive, none())
        .await
        .unwrap();
    let mut other = RawClient::open(&target.address(), 0, 0).await;
    assert_eq!(other.look_for(1, &queue).await, Err(405));
    owner.close(200, short("")).await.unwrap();
    // it goes with its connection, not before
    other.until_gone(&queue).await;
}

async fn an_auto_delete_queue_leaves_with_its_last_consumer(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("auto");
    let auto = QueueDeclareOptions {
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(short(&queue), auto, none())
        .await
        .unwrap();
    let first = Inbox::consume(&channel, &queue).await;
    let second = Inbox::consume(&channel, &queue).await;
    channel
        .basic_cancel(first.tag, BasicCancelOptions::default())
        .await
        .unwrap();
    until_count(&channel, &queue, 0).await;
    channel
        .basic_cancel(second.tag, BasicCancelOptions::default())
        .await
        .unwrap();
    let mut other = RawClient::open(&target.address(), 0, 0).await;
    other.until_gone(&queue).await;
}

async fn a_deleted_exchange_is_gone(target: &Target) {
    let connection = try_connect(&target.url_with("guest:guest")).await.unwrap();
    let channel = confirming(&connection).await;
    let (exchange, queues) = exchange_with_queues(&channel, ExchangeKind::Direct, &["k"]).await;
    channel
        .exchange_delete(short(&exchange), ExchangeDeleteOptions::default())
        .await
        .unwrap();
    assert_eq!(counts(&channel, &queues).await, [0]);
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..DURABLE
    };
    let error = channel
        .exchange_declare(short(&exchange), ExchangeKind::Direct, passive, none())
        .await
        .unwrap_err();
    assert_eq!(code(&error), 404);
}
