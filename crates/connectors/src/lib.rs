//! The life of connectors: registration, state and its history, works, broker credentials.
