//! `page.md`: one module for the browser, one stream for all tabs.

mod frameworks;
mod module;
mod network;
mod parser;
mod runs;
mod scene;
mod server;
mod tabs;
mod used;
mod waking;
