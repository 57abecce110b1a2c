//! Durable queues on disk and the AMQP 0-9-1 listener that connectors publish to.
