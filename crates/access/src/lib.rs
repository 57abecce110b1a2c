//! Who may do what: actors, capabilities, tokens, and decisions that can explain themselves.
