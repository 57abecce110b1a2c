//! From queue message to committed knowledge: decode, order, resolve, merge, commit.
