//! Integration tests of the model.

mod ids;
mod registry;
