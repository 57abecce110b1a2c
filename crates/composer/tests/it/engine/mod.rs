//! The engine against a platform and an orchestrator of the tests' own, in virtual time.

pub mod fake;
mod faults;
mod ordinary;
mod property;
pub mod world;
