//! Ingestion as a whole: messages go into real queues, objects come out of a real store.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail loudly")]

mod bad_input;
mod confidence;
mod crash;
mod derived;
mod edit;
mod fence;
mod hashes;
mod mail;
mod platform;
mod properties;
mod pushes;
mod rights;
mod rules;
mod threads;
mod waiting;
mod works;
