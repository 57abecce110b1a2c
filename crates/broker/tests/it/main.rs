//! Integration tests of the broker: the queue file, the AMQP listener, and the contract that it shares with RabbitMQ.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first thing that goes wrong"
)]

mod contract;
mod crash;
mod fence;
mod harness;
mod listener;
mod model;
mod queue_file;
mod raw;
mod raw_client;
