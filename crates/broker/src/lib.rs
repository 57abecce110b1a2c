//! Durable queues on disk and the AMQP 0-9-1 listener that connectors publish to.
//!
//! [`queue::Queues`] keeps messages in one SQLite file of its own and confirms them after the flush to disk;
//! [`amqp::Listener`] speaks AMQP 0-9-1 to unmodified clients on top of it. The behaviour, and where it
//! differs from RabbitMQ on purpose, is described in `docs/development/broker.md`.

pub mod amqp;
pub mod properties;
pub mod queue;

pub use amqp::{
    Authenticator, ConnectionInfo, Listener, ListenerError, ListenerOptions, Metrics, Principal,
};
pub use properties::{EncodedProperties, Properties};
pub use queue::{
    Claim, DeadLetter, DeadLetterQuery, Depth, Fetched, Message, OpenError, Options, Publish,
    QueueError, QueueInfo, Queues, Ticket,
};
