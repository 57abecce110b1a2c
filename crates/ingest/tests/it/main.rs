//! Ingestion as a whole: messages go into real queues, objects come out of a real store.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail loudly")]

mod bad_input;
mod crash;
mod derived;
mod edit;
mod hashes;
mod mail;
mod platform;
mod properties;
mod pushes;
mod rules;
mod threads;
mod waiting;
mod works;
