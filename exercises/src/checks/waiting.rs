//! The exercises of the pages `async-….md`.

checks! {}
