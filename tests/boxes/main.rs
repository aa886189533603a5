//! `boxes.md`: what proxies do to a stream, and what HTTP/2 and HTTP/3 do.

mod arrivals;
mod bursts;
mod cache;
mod configurations;
mod devservers;
mod encoders;
mod gaps;
mod leaving;
mod lesson;
mod matrix;
mod measure;
mod networks;
mod panel;
mod processes;
mod programs;
mod protocols;
mod record;
mod reload;
mod seen;
mod server;
mod silence;
mod squeezed;
mod streams;
mod unread;
