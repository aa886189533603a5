//! The exercises of `hello.md`.

checks! {}
