//! The exercises of `faults.md`.

checks! {}
