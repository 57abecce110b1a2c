//! The transactional store: knowledge, history, works, connectors and users in one SQLite file.
