//! The first version of a chat, with the page of `chat_naive`: `listen` and `say` are yours.
//! Type the three listings of the chapter into this file. Until then the compiler warns of
//! what is not used yet.
//!
//!     cargo run
//!     curl -N http://127.0.0.1:8698/chat
//!     curl -d hello http://127.0.0.1:8698/chat/2

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, atomic::AtomicUsize, atomic::Ordering};
use std::{convert::Infallible, env, io, process::ExitCode};

use salvo::conn::tcp::TcpAcceptor;
use salvo::prelude::*;
use salvo::sse::{SseEvent, SseKeepAlive};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};

// Here: the numbers, the users, and what is sent to them.

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
    let one = Router::with_path("{id}").post(say);
    Router::new().get(page).push(Router::with_path("chat").get(listen).push(one))
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

#[handler]
async fn listen(res: &mut Response) {
    res.status_code(StatusCode::NOT_IMPLEMENTED);
}

#[handler]
async fn say() -> StatusCode {
    StatusCode::NOT_IMPLEMENTED
}
