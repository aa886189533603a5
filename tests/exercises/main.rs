//! The exercises: each starts with the fault that it says, and its answer has none.

mod command;
mod definitions;
mod proof;
