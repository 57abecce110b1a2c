//! The platform's interface as upstream's clients speak it: GraphQL over HTTP, health, metrics.

mod caller;
mod computed;
mod edits;
mod fault;
mod filter;
mod guard;
mod http;
mod login;
mod pattern;
mod resolve;
mod roots;
mod rules;
mod scalars;
pub mod sdl;
mod state;

pub use http::{Network, NetworkError, SecureCookie, router};
pub use state::{AppState, BrokerAddress, Options, Services};
