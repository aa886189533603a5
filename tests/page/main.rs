//! `page.md`: one module for the browser, one stream for all tabs.

mod copied;
mod frameworks;
mod module;
mod network;
mod parser;
mod runs;
mod server;
mod tabs;
mod used;
