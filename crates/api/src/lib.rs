//! The platform's interface as upstream's clients speak it: GraphQL over HTTP, health, metrics.

mod computed;
mod roots;
pub mod sdl;
