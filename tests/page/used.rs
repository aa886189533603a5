//! The pages of `chat`, `llm` and `feed` with the module.
