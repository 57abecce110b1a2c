//! Connectors on a real store and real queues.

// `cfg(test)` lets helpers outside of test functions unwrap, as in unit tests
#[cfg(test)]
mod catalogs;
#[cfg(test)]
mod connectors;
#[cfg(test)]
mod declared;
#[cfg(test)]
mod lease;
#[cfg(test)]
mod managed;
#[cfg(test)]
mod site;
#[cfg(test)]
mod support;
