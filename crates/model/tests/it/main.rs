//! Integration tests of the model.

// `cfg(test)` lets helpers outside of test functions unwrap, as in unit tests
#[cfg(test)]
mod asked;
#[cfg(test)]
mod codec;
#[cfg(test)]
mod decode;
#[cfg(test)]
mod filter;
#[cfg(test)]
mod ids;
#[cfg(test)]
mod merge;
#[cfg(test)]
mod refuse;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod withheld;
