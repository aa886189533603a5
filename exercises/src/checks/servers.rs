//! The exercises of `servers.md`.

checks! {}
