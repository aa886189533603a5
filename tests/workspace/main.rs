//! The promises of the packages to everybody who copies, builds or extends them.

mod crates;
mod manifests;
mod mounted;
mod pages;
mod programs;
mod sources;
mod words;
