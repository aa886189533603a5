//! The book and EventSource in a real browser. The page of a program is tested beside the
//! program, as in `tests/llm`. Run these with
//! `cargo test -p tests --test browser -- --ignored`.

mod axe;
mod engines;
mod eventsource;
mod exercises;
mod pages;
mod panels;
mod pictures;
mod reading;
mod search;
mod tabs;
mod websocket;
mod windows;
mod worker;
