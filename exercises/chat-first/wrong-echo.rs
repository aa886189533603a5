//! The chat that everybody writes first. It works, and it is wrong: chapter 5 of the book
//! breaks it, fault by fault. Copy `chat` instead.
//!
//!     cargo run --example chat_naive
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

static NEXT_ID: AtomicUsize = AtomicUsize::new(1);
static USERS: LazyLock<Mutex<HashMap<usize, mpsc::UnboundedSender<Message>>>> =
    LazyLock::new(Mutex::default);

enum Message {
    Id(usize),
    Text(String),
}

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
#[expect(clippy::unwrap_used, clippy::disallowed_methods)]
async fn listen(res: &mut Response) {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(Message::Id(id)).unwrap();
    USERS.lock().unwrap().insert(id, sender);
    let events = UnboundedReceiverStream::new(receiver).map(|message| {
        Ok::<_, Infallible>(match message {
            Message::Id(id) => SseEvent::default().name("user").text(id.to_string()),
            Message::Text(text) => SseEvent::default().text(text),
        })
    });
    SseKeepAlive::new(events).stream(res);
}

#[handler]
#[expect(clippy::unwrap_used)]
async fn say(req: &mut Request) -> StatusCode {
    let id = req.param::<usize>("id").unwrap();
    let body = req.payload().await.unwrap();
    let text = format!("<User#{id}>: {}", str::from_utf8(body).unwrap());
    USERS.lock().unwrap().retain(|_, sender| {
        sender.send(Message::Text(text.clone())).is_ok()
    });
    StatusCode::NO_CONTENT
}
