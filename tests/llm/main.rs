//! `llm.md`: tokens from a language model.

mod answers; // readers of an answer
mod cases; // responses of model servers
mod edge; // what strangers cannot do
mod faults; // model servers that break off, and proxies
mod glued; // four ways to send a token
mod heads; // heads of responses
mod kept; // the page, left and found again
mod limits; // refused requests, and bounds
mod model; // the stand-in
mod odd; // odd streams of model servers
mod opinion; // what the official SDK makes of them
mod page; // in a browser
mod server; // the model server of these tests
mod small; // the program that the chapter builds
mod upstream; // model servers, and their faults
