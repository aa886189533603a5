//! The exercises of `wire.md`.

checks! {}
