//! The platform's interface as upstream's clients speak it: GraphQL over HTTP, health, metrics.
