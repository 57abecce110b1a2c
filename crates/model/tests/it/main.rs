//! Integration tests of the model.

mod codec;
mod decode;
mod filter;
mod ids;
mod merge;
mod refuse;
mod registry;
