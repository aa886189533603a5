//! A number every second, for as long as you listen: the first stream with Salvo.
//!
//!     cargo run --example tick
//!     curl -N http://127.0.0.1:8698/ticks
//!
//! Or open http://127.0.0.1:8698/ in a browser. Chapter 2 of the book explains it.
//! Left out: a clean stop on Ctrl-C and SIGTERM, which `chat` adds.

use std::{convert::Infallible, env, io, process::ExitCode, time::Duration};

use salvo::conn::tcp::TcpAcceptor;
use salvo::http::HeaderValue;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use tokio::{net::TcpListener, time::interval};
use tokio_stream::{StreamExt, wrappers::IntervalStream};

/// A quiet stream looks dead to proxies after 60 s: these events are the heartbeat, too.
const PERIOD: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    if let Err(error) = serve(&addr).await {
        eprintln!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn serve(addr: &str) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Server::new(TcpAcceptor::try_from(listener)?).try_serve(router()).await
}

pub fn router() -> Router {
    let stream = Router::with_path("ticks").head(ticks).get(ticks);
    Router::new().head(page).get(page).push(stream)
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

#[handler]
async fn ticks(res: &mut Response) {
    let mut n = 0_u64;
    let events = IntervalStream::new(interval(PERIOD)).map(move |_| {
        let event = SseEvent::default().text(n.to_string());
        n += 1;
        Ok::<_, Infallible>(event)
    });
    // nginx holds a response back until a buffer is full, unless it is told not to.
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    sse::stream(res, events);
}
