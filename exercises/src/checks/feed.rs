//! The exercises of `feed.md`.

checks! {}
