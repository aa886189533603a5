//! The exercises of `progress.md`.

checks! {}
