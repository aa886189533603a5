//! The stand-in for a language model.

mod answers;
mod client;
mod requests;
mod sdk;
