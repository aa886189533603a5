//! The exercises of `chat.md`.

checks! {}
