//! `boxes.md`: what proxies do to a stream, and what HTTP/2 and HTTP/3 do.

mod arrivals;
mod cache;
mod configurations;
mod devservers;
mod gaps;
mod matrix;
mod networks;
mod panel;
mod programs;
mod protocols;
mod record;
mod server;
mod squeezed;
