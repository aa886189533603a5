//! `page.md`: one module for the browser, one stream for all tabs.

mod copied;
mod cuts;
mod frameworks;
mod leaders;
mod module;
mod network;
mod numbers;
mod parser;
mod runs;
mod scene;
mod server;
mod size;
mod storm;
mod tabs;
mod trial;
mod used;
mod waking;
mod worker;
