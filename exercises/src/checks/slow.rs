//! The exercises of `slow.md`.

checks! {}
