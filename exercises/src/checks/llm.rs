//! The exercises of `llm.md`.

checks! {}
