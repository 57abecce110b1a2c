//! Consuming: order, prefetch, acknowledgement, redelivery, cancellation.

use amq_protocol::protocol::{AMQPClass, basic};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicQosOptions, BasicRecoverOptions, BasicRejectOptions, QueueDeleteOptions,
};

use super::{Target, contract};
use crate::harness::{
    Inbox, code, confirming, count, durable_queue, publish_numbers, short, unique, until_count,
};
use crate::raw_client::RawClient;

contract!(
    messages_come_in_the_order_of_publishing,
    prefetch_bounds_what_is_not_acknowledged,
    a_shared_prefetch_bounds_all_consumers_of_the_channel,
    one_acknowledgement_can_settle_many,
    a_requeued_message_comes_again_before_the_others,
    a_rejected_message_is_gone_from_the_queue,
    what_was_not_acknowledged_comes_again_in_order_to_the_next_connection,
    closing_a_channel_gives_its_messages_back,
    recovering_redelivers_on_the_same_channel,
    a_consumer_without_acknowledgements_empties_the_queue,
    fetching_one_by_one_tells_how_many_are_left,
    a_cancelled_consumer_receives_nothing_more,
    deleting_a_queue_cancels_its_consumers,
    an_unknown_delivery_tag_closes_the_channel,
    an_exclusive_consumer_is_alone,
    two_consumers_take_turns,
    consuming_a_missing_queue_closes_the_channel,
    a_new_message_reaches_a_waiting_consumer,
);

const ONE: BasicAckOptions = BasicAckOptions { multiple: false };
const ALL: BasicAckOptions = BasicAckOptions { multiple: true };

async fn messages_come_in_the_order_of_publishing(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("order");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..300).await;
    let mut inbox = Inbox::consume(&channel, &queue).await;
    let deliveries = inbox.take(300).await;
    assert!(deliveries.iter().all(|delivery| !delivery.redelivered));
    let numbers: Vec<u32> = deliveries.iter().map(crate::harness::number).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
}

async fn prefetch_bounds_what_is_not_acknowledged(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("prefetch");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..10).await;
    channel
        .basic_qos(3, BasicQosOptions::default())
        .await
        .unwrap();
    let mut inbox = Inbox::consume(&channel, &queue).await;
    let first = inbox.take(3).await;
    assert_eq!(count(&channel, &queue).await, 7);
    assert!(
        inbox.is_empty(),
        "a fourth message came before an acknowledgement"
    );
    first[1].ack(ONE).await.unwrap();
    assert_eq!(inbox.numbers(1).await, [3]);
    assert_eq!(count(&channel, &queue).await, 6);
    assert!(inbox.is_empty());
}

async fn a_shared_prefetch_bounds_all_consumers_of_the_channel(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let (one, two) = (unique("shared"), unique("shared"));
    for (queue, messages) in [(&one, 4), (&two, 5)] {
        durable_queue(&channel, queue).await;
        publish_numbers(&channel, queue, 0..messages).await;
    }
    channel
        .basic_qos(4, BasicQosOptions { global: true })
        .await
        .unwrap();
    let mut first = Inbox::consume(&channel, &one).await;
    let taken = first.take(4).await;
    let mut second = Inbox::consume(&channel, &two).await;
    assert_eq!(count(&channel, &two).await, 5);
    assert!(second.is_empty(), "the limit of the channel is reached");
    taken[3].ack(ALL).await.unwrap();
    assert_eq!(second.numbers(4).await, [0, 1, 2, 3]);
}

async fn one_acknowledgement_can_settle_many(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("multiple");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..10).await;
    let mut inbox = Inbox::consume(&channel, &queue).await;
    let deliveries = inbox.take(10).await;
    deliveries[5].ack(ALL).await.unwrap();
    connection.close(200, short("")).await.unwrap();
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    until_count(&channel, &queue, 4).await;
    assert_eq!(
        Inbox::consume(&channel, &queue).await.numbers(4).await,
        [6, 7, 8, 9]
    );
}

async fn a_requeued_message_comes_again_before_the_others(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("requeue");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..4).await;
    channel
        .basic_qos(2, BasicQosOptions::default())
        .await
        .unwrap();
    let mut inbox = Inbox::consume(&channel, &queue).await;
    let deliveries = inbox.take(2).await;
    deliveries[0]
        .nack(BasicNackOptions {
            multiple: false,
            requeue: true,
        })
        .await
        .unwrap();
    let again = inbox.next().await.unwrap();
    assert_eq!(
        (crate::harness::number(&again), again.redelivered),
        (0, true)
    );
}

async fn a_rejected_message_is_gone_from_the_queue(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("reject");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..3).await;
    let mut inbox = Inbox::consume(&channel, &queue).await;
    let deliveries = inbox.take(3).await;
    deliveries[0]
        .reject(BasicRejectOptions { requeue: false })
        .await
        .unwrap();
    deliveries[1]
        .nack(BasicNackOptions {
            multiple: false,
            requeue: false,
        })
        .await
        .unwrap();
    connection.close(200, short("")).await.unwrap();
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    until_count(&channel, &queue, 1).await;
    assert_eq!(Inbox::consume(&channel, &queue).await.numbers(1).await, [2]);
}

async fn what_was_not_acknowledged_comes_again_in_order_to_the_next_connection(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("again");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..6).await;
    channel
        .basic_qos(4, BasicQosOptions::default())
        .await
        .unwrap();
    let mut inbox = Inbox::consume(&channel, &queue).await;
    let deliveries = inbox.take(4).await;
    // acknowledging shifts the window by one: 0 is gone, 1 to 4 are out
    deliveries[0].ack(ONE).await.unwrap();
    assert_eq!(inbox.numbers(1).await, [4]);
    connection.close(200, short("")).await.unwrap();

    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    until_count(&channel, &queue, 5).await;
    let mut inbox = Inbox::consume(&channel, &queue).await;
    let deliveries = inbox.take(5).await;
    let seen: Vec<(u32, bool)> = deliveries
        .iter()
        .map(|delivery| (crate::harness::number(delivery), delivery.redelivered))
        .collect();
    assert_eq!(
        seen,
        [(1, true), (2, true), (3, true), (4, true), (5, false)]
    );
}

async fn closing_a_channel_gives_its_messages_back(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("back");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..3).await;
    let mut inbox = Inbox::consume(&channel, &queue).await;
    inbox.take(3).await;
    assert_eq!(count(&channel, &queue).await, 0);
    channel.close(200, short("")).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    until_count(&channel, &queue, 3).await;
    assert_eq!(
        Inbox::consume(&channel, &queue).await.numbers(3).await,
        [0, 1, 2]
    );
}

async fn recovering_redelivers_on_the_same_channel(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("recover");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..2).await;
    let mut inbox = Inbox::consume(&channel, &queue).await;
    inbox.take(2).await;
    channel
        .basic_recover(BasicRecoverOptions { requeue: true })
        .await
        .unwrap();
    let again = inbox.take(2).await;
    assert!(again.iter().all(|delivery| delivery.redelivered));
    assert_eq!(
        again.iter().map(crate::harness::number).collect::<Vec<_>>(),
        [0, 1]
    );
}

async fn a_consumer_without_acknowledgements_empties_the_queue(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("noack");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..50).await;
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let mut inbox = Inbox::consume_with(&channel, &queue, options)
        .await
        .unwrap();
    assert_eq!(inbox.numbers(50).await, (0..50).collect::<Vec<_>>());
    connection.close(200, short("")).await.unwrap();
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    until_count(&channel, &queue, 0).await;
}

async fn fetching_one_by_one_tells_how_many_are_left(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("get");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..2).await;
    let first = channel
        .basic_get(short(&queue), BasicGetOptions::default())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (first.message_count, crate::harness::number(&first.delivery)),
        (1, 0)
    );
    first
        .delivery
        .nack(BasicNackOptions {
            multiple: false,
            requeue: true,
        })
        .await
        .unwrap();
    let again = channel
        .basic_get(short(&queue), BasicGetOptions::default())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            crate::harness::number(&again.delivery),
            again.delivery.redelivered
        ),
        (0, true)
    );
    again.delivery.ack(ONE).await.unwrap();
    let last = channel
        .basic_get(short(&queue), BasicGetOptions { no_ack: true })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (last.message_count, crate::harness::number(&last.delivery)),
        (0, 1)
    );
    assert!(
        channel
            .basic_get(short(&queue), BasicGetOptions::default())
            .await
            .unwrap()
            .is_none()
    );
}

async fn a_cancelled_consumer_receives_nothing_more(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("cancel");
    durable_queue(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..1).await;
    let mut inbox = Inbox::consume(&channel, &queue).await;
    let first = inbox.take(1).await;
    channel
        .basic_cancel(inbox.tag.clone(), BasicCancelOptions::default())
        .await
        .unwrap();
    publish_numbers(&channel, &queue, 1..3).await;
    assert_eq!(count(&channel, &queue).await, 2);
    // what it had received can still be acknowledged
    first[0].ack(ONE).await.unwrap();
    connection.close(200, short("")).await.unwrap();
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    until_count(&channel, &queue, 2).await;
}

async fn deleting_a_queue_cancels_its_consumers(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("deleted");
    durable_queue(&channel, &queue).await;
    let mut inbox = Inbox::consume(&channel, &queue).await;
    let other = connection.create_channel().await.unwrap();
    other
        .queue_delete(short(&queue), QueueDeleteOptions::default())
        .await
        .unwrap();
    assert!(inbox.next().await.is_none(), "the broker cancels");
}

async fn an_unknown_delivery_tag_closes_the_channel(target: &Target) {
    let mut client = RawClient::open(&target.address(), 0, 0).await;
    client.open_channel(1).await;
    let ack = basic::Ack {
        delivery_tag: 77,
        multiple: false,
    };
    client
        .say(1, AMQPClass::Basic(basic::AMQPMethod::Ack(ack)))
        .await;
    assert_eq!(
        client.channel_closed_with().await,
        (
            406,
            "PRECONDITION_FAILED - unknown delivery tag 77".to_owned()
        )
    );
}

async fn an_exclusive_consumer_is_alone(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("alone");
    durable_queue(&channel, &queue).await;
    let exclusive = BasicConsumeOptions {
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    let _inbox = Inbox::consume_with(&channel, &queue, exclusive)
        .await
        .unwrap();
    let other = connection.create_channel().await.unwrap();
    let second = Inbox::consume_with(&other, &queue, BasicConsumeOptions::default()).await;
    assert_eq!(code(&second.err().unwrap()), 403);
}

async fn two_consumers_take_turns(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("turns");
    durable_queue(&channel, &queue).await;
    channel
        .basic_qos(10, BasicQosOptions::default())
        .await
        .unwrap();
    let mut first = Inbox::consume(&channel, &queue).await;
    let mut second = Inbox::consume(&channel, &queue).await;
    publish_numbers(&channel, &queue, 0..20).await;
    let mut all = first.numbers(10).await;
    all.extend(second.numbers(10).await);
    all.sort_unstable();
    assert_eq!(all, (0..20).collect::<Vec<_>>());
}

async fn consuming_a_missing_queue_closes_the_channel(target: &Target) {
    let connection = target.connect().await;
    let channel = connection.create_channel().await.unwrap();
    let queue = unique("missing");
    let error = Inbox::consume_with(&channel, &queue, BasicConsumeOptions::default())
        .await
        .err()
        .unwrap();
    assert_eq!(code(&error), 404);
    assert_eq!(
        crate::harness::text(&error),
        format!("NOT_FOUND - no queue '{queue}' in vhost '/'")
    );
}

async fn a_new_message_reaches_a_waiting_consumer(target: &Target) {
    let connection = target.connect().await;
    let channel = confirming(&connection).await;
    let queue = unique("waiting");
    durable_queue(&channel, &queue).await;
    let mut inbox = Inbox::consume(&channel, &queue).await;
    for number in 0..20 {
        publish_numbers(&channel, &queue, number..number + 1).await;
        let delivery = inbox.next().await.unwrap();
        assert_eq!(crate::harness::number(&delivery), number);
        delivery.ack(ONE).await.unwrap();
    }
}
