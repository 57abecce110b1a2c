//! Integration tests of the model.

mod filter;
mod codec;
mod ids;
mod merge;
mod registry;
