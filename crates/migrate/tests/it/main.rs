//! Tests of taking over connectors.

// `cfg(test)` lets helpers outside of test functions unwrap, as in unit tests
#[cfg(test)]
mod cases;
#[cfg(test)]
mod compose;
#[cfg(test)]
mod mapping;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod saga;
#[cfg(test)]
mod saga_property;
