//! Integration tests of the broker: the queue file, the AMQP listener, and both against a real RabbitMQ.

mod queue_file;
