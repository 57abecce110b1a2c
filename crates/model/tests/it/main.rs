//! Integration tests of the model.

mod registry;
