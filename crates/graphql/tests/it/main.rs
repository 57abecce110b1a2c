//! Tests of the engine through its public interface, over a small schema whose data is JSON.

#[cfg(test)]
mod errors;
#[cfg(test)]
mod execution;
#[cfg(test)]
mod input;
#[cfg(test)]
mod introspection;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod world;
