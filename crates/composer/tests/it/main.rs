//! Integration tests of the composer: the decision, and the contract that every orchestrator keeps.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that goes wrong"
)]

mod contract;
mod decide;
mod decide_faults;
mod engine;
mod platform;
mod process;
mod routed;
