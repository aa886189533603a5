//! The exercises of `client.md`.

checks! {}
