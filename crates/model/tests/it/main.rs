//! Integration tests of the model.

mod filter;
mod ids;
mod registry;
