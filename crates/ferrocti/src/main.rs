//! The ferrocti binary: command line, configuration and wiring.
fn main() {}
