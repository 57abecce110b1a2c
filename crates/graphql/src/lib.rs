//! A GraphQL engine: schema definition language in, validated and cached documents, level-batched execution.
