//! The room as axum's own examples would have it: `Sse` with `KeepAlive` (`examples/sse`),
//! events in a broadcast channel (`examples/chat`).

use std::collections::HashSet;
use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed};
use std::{convert::Infallible, env, io};

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use axum::{Router, http::StatusCode};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::broadcast};
use tokio_stream::{Stream, StreamExt, once, wrappers::BroadcastStream};

/// Messages that a reader can be behind before it misses some.
const QUEUE: usize = 128;

#[tokio::main]
async fn main() -> io::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let room = Arc::new(Room {
        users: Mutex::default(),
        last_user: AtomicU64::new(0),
        last_message: AtomicU64::new(0),
        messages: broadcast::Sender::new(QUEUE),
    });
    let router = Router::new()
        .route("/chat", get(listen))
        .route("/chat/{user}", post(say))
        .with_state(room);
    axum::serve(listener, router).await
}

struct Room {
    users: Mutex<HashSet<u64>>,
    last_user: AtomicU64,
    last_message: AtomicU64,
    /// Each with the user that it comes from.
    messages: broadcast::Sender<(u64, Event)>,
}

async fn listen(
    State(room): State<Arc<Room>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let user = room.last_user.fetch_add(1, Relaxed) + 1;
    room.users.lock().insert(user);
    let messages = BroadcastStream::new(room.messages.subscribe());
    let here = Here { room, user };
    let hello = Event::default().event("user").data(user.to_string());
    let events = messages.filter_map(move |message| match message {
        Ok((from, event)) if !here.is(from) => Some(Ok(event)),
        _ => None,
    });
    Sse::new(once(Ok(hello)).chain(events)).keep_alive(KeepAlive::default())
}

async fn say(
    State(room): State<Arc<Room>>,
    Path(from): Path<u64>,
    text: String,
) -> StatusCode {
    if !room.users.lock().contains(&from) {
        return StatusCode::NOT_FOUND;
    }
    let id = room.last_message.fetch_add(1, Relaxed) + 1;
    let event = Event::default().id(id.to_string());
    let event = event.data(format!("<User#{from}>: {text}"));
    // An error says that nobody listens.
    let _ = room.messages.send((from, event));
    StatusCode::NO_CONTENT
}

/// Lives as long as the stream.
struct Here {
    room: Arc<Room>,
    user: u64,
}

impl Here {
    /// A closure that used the field instead would hold a copy of that, and not the guard.
    fn is(&self, user: u64) -> bool {
        self.user == user
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.room.users.lock().remove(&self.user);
    }
}
