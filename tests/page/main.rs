//! `page.md`: one module for the browser, one stream for all tabs.

mod copied;
mod frameworks;
mod leaders;
mod module;
mod network;
mod numbers;
mod parser;
mod runs;
mod server;
mod tabs;
mod used;
mod worker;
