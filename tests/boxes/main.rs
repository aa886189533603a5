//! `boxes.md`: what proxies do to a stream, and what HTTP/2 and HTTP/3 do.

mod cache;
mod configurations;
mod devservers;
mod encoders;
mod gaps;
mod lesson;
mod matrix;
mod networks;
mod panel;
mod programs;
mod protocols;
mod record;
mod server;
mod squeezed;
mod streams;
