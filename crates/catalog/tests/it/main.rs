//! Catalogs, configurations, sealed secrets and plans, from the outside.

// `cfg(test)` lets helpers outside of test functions unwrap, as in unit tests
#[cfg(test)]
mod catalogs;
#[cfg(test)]
mod configuring;
#[cfg(test)]
mod environments;
#[cfg(test)]
mod files;
#[cfg(test)]
mod sealing;
