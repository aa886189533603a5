//! A stand-in for a language model. It speaks the protocol that OpenAI, Ollama, llama.cpp
//! and vLLM speak, and imitates a text of two pages, token by token. It knows nothing. The
//! same prompt gets the same answer, unless the request has another `seed`. `llm` asks it
//! when no other model is named.
//!
//!     cargo run --example model
//!     curl -N http://127.0.0.1:8698/v1/chat/completions -H 'Content-Type: application/json' \
//!       -d '{"model": "stand-in", "stream": true, "messages": [{"role": "user", "content": "Hi"}]}'
//!
//! This file starts it, `model.rs` answers requests, `conversation.rs` reads and refuses them,
//! and `imitate.rs` has the words. Chapter 7 of the book explains the stream. Left out: pages
//! of other origins (CORS), tools, images, and all else that needs a model that knows something.

use std::{env, io, process::ExitCode, time::Duration};

use tokio::{net::TcpListener, signal};
use tokio_util::sync::CancellationToken;

mod conversation;
mod edge;
mod imitate;
mod model;

use edge::Limits;

/// Answers that are sent at once: each has a connection.
const MAX_STREAMS: usize = 2_000;
/// Files that are open besides the connections of clients.
const FILES: usize = 64;
/// How long answers may take to end when the program ends.
const STOP: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    if let Err(why) = run().await {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn run() -> Result<(), String> {
    let limits = Limits::raise(MAX_STREAMS, FILES).map_err(|why| why.to_string())?;
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let listen =
        |error| format!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
    serve(&addr, &limits).await.map_err(listen)
}

async fn serve(addr: &str, limits: &Limits) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    let stopped = stop_signal()?; // before the line below: a script may answer it at once
    println!("listening on http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let server = edge::server(listener, limits, stop.clone())?;
    let handle = server.handle();
    let serving = server.try_serve(model::service(limits.streams, stop.clone()));
    let stopping = async {
        stopped.await;
        handle.stop_graceful(STOP); // lets nobody in any more, and waits for the streams
        stop.cancel();
        Ok(())
    };
    tokio::try_join!(serving, stopping).map(|_| ())
}

/// Listens from now on for Ctrl-C and SIGTERM. The future waits for the first of them.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut ctrl_c = signal::unix::signal(signal::unix::SignalKind::interrupt())?;
    #[cfg(unix)]
    let mut stop = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    #[cfg(windows)]
    let mut ctrl_c = signal::windows::ctrl_c()?;
    #[cfg(windows)]
    let mut stop = signal::windows::ctrl_shutdown()?;
    Ok(async move {
        tokio::select! { _ = ctrl_c.recv() => {}, _ = stop.recv() => {} }
    })
}
