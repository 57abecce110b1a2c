//! What the tests of the listener have in common: starting one, clients for it, waiting for conditions.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use ferrocti_broker::{Authenticator, Listener, ListenerOptions, Options, Principal, Queues};
use lapin::message::{Delivery, DeliveryResult};
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ConsumerDelegate,
    Error, ErrorKind,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Nothing in a test takes longer than this unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// `guest`/`guest` may do everything, connector `c1` logs in with `c1`/`c1`.
pub struct TestLogins;

impl Authenticator for TestLogins {
    fn authenticate(&self, user: &str, password: &str, _peer: SocketAddr) -> Option<Principal> {
        match (user, password) {
            ("guest", "guest") => Some(Principal::platform()),
            ("c1", "c1") => Some(Principal::connector("c1")),
            _ => None,
        }
    }
}

/// Queue options with a clock of its own.
pub fn queue_options() -> Options {
    let time = AtomicI64::new(1_700_000_000_000);
    Options::new(Arc::new(move || time.fetch_add(1, Ordering::Relaxed)))
}

/// Listener options for a free port, with waits that suit tests.
pub fn listener_options() -> ListenerOptions {
    ListenerOptions {
        login_delay: Duration::ZERO,
        ..ListenerOptions::new(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// A running broker with its files.
pub struct TestBroker {
    pub listener: Listener,
    pub queues: Queues,
    _dir: TempDir,
}

impl TestBroker {
    pub async fn start() -> Self {
        Self::with(queue_options(), listener_options()).await
    }

    pub async fn with(queue_options: Options, listener_options: ListenerOptions) -> Self {
        let dir = TempDir::new().unwrap();
        let queues = Queues::open(dir.path().join("queue.db"), queue_options).unwrap();
        let listener = Listener::bind(listener_options, queues.clone(), Arc::new(TestLogins))
            .await
            .unwrap();
        Self {
            listener,
            queues,
            _dir: dir,
        }
    }

    pub fn url(&self, login: &str) -> String {
        format!("amqp://{login}@{}/%2f", self.listener.local_addr())
    }
}

/// A text for AMQP.
pub fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap()
}

/// Connects, or answers the error.
pub async fn try_connect(url: &str) -> Result<Connection, Error> {
    tokio::time::timeout(
        PATIENCE,
        Connection::connect(url, ConnectionProperties::default()),
    )
    .await
    .expect("the broker answers in time")
}

/// The reply code of an error that the broker sent.
pub fn code(error: &Error) -> u16 {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_id(),
        other => panic!("no error of the broker: {other:?}"),
    }
}

/// The text of an error that the broker sent.
pub fn text(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        other => panic!("no error of the broker: {other:?}"),
    }
}

/// A name that no other test uses, also not in another process.
pub fn unique(stem: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(
        "{stem}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Declares a durable queue of that name.
pub async fn durable_queue(channel: &Channel, name: &str) {
    channel
        .queue_declare(
            short(name),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await
        .unwrap();
}

/// Between two looks at a condition.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

/// Asks for the number of ready messages.
pub async fn count(channel: &Channel, queue: &str) -> u32 {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(short(queue), passive, FieldTable::default())
        .await
        .unwrap()
        .message_count()
}

/// Asks until the number of ready messages is that.
pub async fn until_count(channel: &Channel, queue: &str, expected: u32) {
    let reached = async {
        while count(channel, queue).await != expected {
            pause().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached)
        .await
        .unwrap_or_else(|_| panic!("{queue} never has {expected} messages"));
}

/// Waits until a condition of the broker's own state holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            pause().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

/// A channel that asks for confirms.
pub async fn confirming(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    channel
}

/// Publishes a persistent message and waits for the confirm.
pub async fn publish(channel: &Channel, exchange: &str, key: &str, body: &[u8]) -> Confirmation {
    publish_with(
        channel,
        exchange,
        key,
        body,
        BasicPublishOptions::default(),
        BasicProperties::default().with_delivery_mode(2),
    )
    .await
    .unwrap()
}

/// Publishes and waits for the confirm, or answers the error.
pub async fn publish_with(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    options: BasicPublishOptions,
    properties: BasicProperties,
) -> Result<Confirmation, Error> {
    let confirm = channel
        .basic_publish(short(exchange), short(key), options, body, properties)
        .await?;
    tokio::time::timeout(PATIENCE, confirm)
        .await
        .expect("the broker confirms in time")
}

/// Publishes numbered messages to a queue.
pub async fn publish_numbers(channel: &Channel, queue: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let confirm = publish(channel, "", queue, number.to_string().as_bytes()).await;
        assert!(matches!(confirm, Confirmation::Ack(None)), "{confirm:?}");
    }
}

/// The number in a message.
pub fn number(delivery: &Delivery) -> u32 {
    std::str::from_utf8(&delivery.data)
        .unwrap()
        .parse()
        .unwrap()
}

/// Deliveries in the order in which they came.
pub struct Inbox {
    pub tag: ShortString,
    receiver: mpsc::UnboundedReceiver<DeliveryResult>,
}

struct Forward(mpsc::UnboundedSender<DeliveryResult>);

impl ConsumerDelegate for Forward {
    fn on_new_delivery(
        &self,
        delivery: DeliveryResult,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // sent here and not in the future, which runs in any order
        drop(self.0.send(delivery));
        Box::pin(std::future::ready(()))
    }
}

impl Inbox {
    /// Starts a consumer.
    pub async fn consume(channel: &Channel, queue: &str) -> Self {
        Self::consume_with(channel, queue, BasicConsumeOptions::default())
            .await
            .unwrap()
    }

    pub async fn consume_with(
        channel: &Channel,
        queue: &str,
        options: BasicConsumeOptions,
    ) -> Result<Self, Error> {
        let consumer = channel
            .basic_consume(short(queue), short(""), options, FieldTable::default())
            .await?;
        let (sender, receiver) = mpsc::unbounded_channel();
        consumer.set_delegate(Forward(sender));
        Ok(Self {
            tag: consumer.tag(),
            receiver,
        })
    }

    /// The next delivery; `None` when the broker has cancelled the consumer.
    pub async fn next(&mut self) -> Option<Delivery> {
        let next = tokio::time::timeout(PATIENCE, self.receiver.recv())
            .await
            .expect("a delivery comes in time");
        next.expect("the consumer lives")
            .expect("the channel lives")
    }

    /// The numbers of the next deliveries.
    pub async fn numbers(&mut self, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(number(
                &self.next().await.expect("the consumer is not cancelled"),
            ));
        }
        numbers
    }

    /// The next deliveries.
    pub async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for _ in 0..count {
            deliveries.push(self.next().await.expect("the consumer is not cancelled"));
        }
        deliveries
    }

    /// Whether a delivery has come that was not taken.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}
