//! The values that go in and out of the queue file, and its errors.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::properties::EncodedProperties;

/// Where the time comes from: milliseconds since the Unix epoch. Injected so that tests can set it.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Limits of a queue file and its clock.
#[derive(Clone)]
pub struct Options {
    /// Bytes that one queue may hold; a publish beyond it is refused with [`QueueError::QueueFull`].
    pub max_queue_bytes: u64,
    /// Bytes that all queues and dead letters together may hold; beyond it [`QueueError::StoreFull`].
    pub max_total_bytes: u64,
    /// Bytes of the largest body that is accepted; beyond it [`QueueError::TooLarge`].
    pub max_message_bytes: u64,
    /// Source of the publishing times.
    pub clock: Clock,
}

impl Options {
    /// The default limits (1 GiB for a queue, 8 GiB for the file, 128 MiB for a message) with the given clock.
    pub fn new(clock: Clock) -> Self {
        Self {
            max_queue_bytes: 1 << 30,
            max_total_bytes: 8 << 30,
            max_message_bytes: 128 << 20,
            clock,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("max_queue_bytes", &self.max_queue_bytes)
            .field("max_total_bytes", &self.max_total_bytes)
            .field("max_message_bytes", &self.max_message_bytes)
            .finish_non_exhaustive()
    }
}

/// Why a queue file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the file open.
    #[error(
        "the queue file {path} is in use by another process; stop that process or choose another data directory"
    )]
    Locked {
        /// The queue file.
        path: PathBuf,
    },
    /// The file was written by a newer version of the program.
    #[error(
        "the queue file {path} has format {found}, this program knows formats up to {known}; use the newer program"
    )]
    Format {
        /// The queue file.
        path: PathBuf,
        /// Format number in the file.
        found: i64,
        /// Newest format number this program knows.
        known: i64,
    },
    /// The directory or the lock file cannot be used.
    #[error("cannot use the queue file {path}: {source}; check the directory and its permissions")]
    Io {
        /// The queue file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// SQLite refused the file.
    #[error(
        "cannot open the queue file {path}: {source}; if the file is damaged restore it from a backup"
    )]
    Sqlite {
        /// The queue file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// Why an operation on queues was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// There is no queue of that name.
    #[error("there is no queue '{0}'; declare it first")]
    UnknownQueue(String),
    /// The queue holds as many bytes as it may; try again when its consumer has caught up.
    #[error(
        "queue '{queue}' is full: it holds {bytes} of {limit} bytes; try again when its consumer has caught up"
    )]
    QueueFull {
        /// The queue.
        queue: String,
        /// Bytes it holds, including messages that are being written.
        bytes: u64,
        /// Its limit.
        limit: u64,
    },
    /// All queues together hold as many bytes as they may.
    #[error(
        "the queue store is full: it holds {bytes} of {limit} bytes; consume or discard messages, or raise the limit"
    )]
    StoreFull {
        /// Bytes held, including dead letters and messages that are being written.
        bytes: u64,
        /// The limit of the file.
        limit: u64,
    },
    /// The body is larger than a message may be.
    #[error("the message has {bytes} bytes, the limit is {limit}; split it")]
    TooLarge {
        /// Bytes of the body.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A consumer inside the platform owns the queue.
    #[error("queue '{0}' is consumed by the platform itself; it cannot be consumed by others")]
    Claimed(String),
    /// The queue has consumers.
    #[error("queue '{0}' has consumers; cancel them first")]
    InUse(String),
    /// The queue has messages.
    #[error("queue '{0}' is not empty; purge it first")]
    NotEmpty(String),
    /// There is no such message in the queue.
    #[error("queue '{queue}' has no message {seq}; it may have been acknowledged already")]
    UnknownMessage {
        /// The queue.
        queue: String,
        /// The message.
        seq: u64,
    },
    /// There is no such dead letter.
    #[error("there is no dead letter {0}; it may have been replayed or discarded already")]
    UnknownDeadLetter(i64),
    /// There is no exchange of that name.
    #[error("there is no exchange '{0}'; declare it first")]
    UnknownExchange(String),
    /// The exchange still has bindings.
    #[error("exchange '{0}' has bindings; remove them first")]
    ExchangeInUse(String),
    /// A name is longer than AMQP allows, or empty.
    #[error("'{0}' is not a usable name: it must have 1 to 255 bytes")]
    BadName(String),
    /// The publisher does not act as the connector any more.
    #[error(
        "'{connector}' has changed hands: what its former instance publishes is not taken; stop that instance"
    )]
    Fenced {
        /// The connector.
        connector: String,
    },
    /// The connector is changing hands; try again in a moment.
    #[error("'{connector}' is changing hands; try again in a moment")]
    Held {
        /// The connector.
        connector: String,
    },
    /// SQLite or the disk failed; nothing of the operation was kept.
    #[error("the queue file could not be written or read: {0}; check the disk")]
    Store(String),
    /// The queue file has been closed.
    #[error("the queue file has been closed")]
    Closed,
}

impl From<rusqlite::Error> for QueueError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.to_string())
    }
}

/// A message on its way in.
#[derive(Debug, Clone, Default)]
pub struct Publish {
    /// The body, kept byte by byte.
    pub body: Bytes,
    /// AMQP properties, handed to consumers as they are.
    pub properties: EncodedProperties,
    /// Bytes this message counts as, when that is more than its body: a small message that points to something large.
    pub size_hint: Option<u64>,
    /// Epoch of the connector that publishes it over AMQP; `None`: the platform does.
    pub epoch: Option<i64>,
}

/// A message read from a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its number: grows in the order of confirmation over the whole file and is never used again.
    pub seq: u64,
    /// Exchange it was published to, empty for the default exchange.
    pub exchange: String,
    /// Routing key it was published with.
    pub routing_key: String,
    /// AMQP properties.
    pub properties: EncodedProperties,
    /// The body.
    pub body: Bytes,
    /// Bytes it counts as: the body's length or the size hint, whichever is more.
    pub size: u64,
    /// When it was published, milliseconds since the Unix epoch.
    pub published_at: i64,
    /// Whether it may have been handed to a consumer before.
    pub redelivered: bool,
    /// Epoch of the connector that published it over AMQP; `None`: it came from the platform, or was replayed.
    pub epoch: Option<i64>,
}

/// Messages read by the consumer inside the platform, in order.
pub type Fetched = Vec<Message>;

/// How a queue is to be kept. The default is a durable queue for everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// The queue disappears when the file is opened the next time (AMQP: not durable).
    pub transient: bool,
    /// The queue disappears when its last consumer leaves.
    pub auto_delete: bool,
    /// Arguments of the declaration as an encoded AMQP table without its length; kept, not interpreted.
    pub arguments: Bytes,
}

/// Number and bytes of the messages in a queue, those handed out but not acknowledged included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages.
    pub messages: u64,
    /// Bytes, see [`Message::size`].
    pub bytes: u64,
}

/// One queue in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// Messages, those handed out but not acknowledged included.
    pub messages: u64,
    /// Bytes of these messages.
    pub bytes: u64,
    /// AMQP consumers, or 1 when a consumer inside the platform has claimed the queue.
    pub consumers: u32,
    /// Messages handed out to AMQP consumers and not yet acknowledged.
    pub unacked: u64,
    /// How it is kept.
    pub settings: QueueSettings,
}

/// A message that was set aside, with the reason. Its body is read with [`super::Queues::dead_letter_body_of`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number among the dead letters, never used again.
    pub id: i64,
    /// The queue it came from.
    pub queue: String,
    /// Its number in that queue; none when it never was a message of its own.
    pub seq: Option<u64>,
    /// Why it was set aside.
    pub reason: String,
    /// When it was set aside, milliseconds since the Unix epoch.
    pub dead_at: i64,
    /// When it was published, milliseconds since the Unix epoch.
    pub published_at: i64,
    /// Exchange it was published to.
    pub exchange: String,
    /// Routing key it was published with.
    pub routing_key: String,
    /// AMQP properties.
    pub properties: EncodedProperties,
    /// Length of its body in bytes.
    pub body_bytes: u64,
}

/// Which dead letters to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterQuery {
    /// Only those of this queue.
    pub queue: Option<String>,
    /// Only those with a smaller id than this: the id of the last one of the page before.
    pub before: Option<i64>,
    /// At most this many; 0 means 100.
    pub limit: u32,
}
