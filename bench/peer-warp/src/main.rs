//! The room as warp's `sse_chat` example has it: `sse::reply(sse::keep_alive()…)`, an
//! unbounded queue for each reader, and a reader that left is found out when it is sent
//! something.

use std::collections::HashMap;
use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed};
use std::{convert::Infallible, env, io};

use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{Stream, StreamExt, wrappers::UnboundedReceiverStream};
use warp::http::StatusCode;
use warp::{Filter, hyper::body::Bytes, sse, sse::Event};

const MAX_MESSAGE: u64 = 4096;

#[tokio::main]
async fn main() -> io::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let room = Arc::new(Room::default());
    let room = warp::any().map(move || room.clone());
    let listen = warp::path!("chat")
        .and(warp::get())
        .and(room.clone())
        .map(|room: Arc<Room>| sse::reply(sse::keep_alive().stream(room.join())));
    let say = warp::path!("chat" / u64)
        .and(warp::post())
        .and(warp::body::content_length_limit(MAX_MESSAGE))
        .and(warp::body::bytes())
        .and(room)
        .map(|from, text: Bytes, room: Arc<Room>| {
            room.say(from, &String::from_utf8_lossy(&text))
        });
    warp::serve(listen.or(say)).incoming(listener).run().await;
    Ok(())
}

#[derive(Default)]
struct Room {
    users: Mutex<HashMap<u64, mpsc::UnboundedSender<Message>>>,
    last_user: AtomicU64,
    last_message: AtomicU64,
}

enum Message {
    User(u64),
    Said { id: u64, text: String },
}

impl Room {
    #[expect(clippy::disallowed_methods, reason = "warp's own example does it")]
    fn join(&self) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
        let user = self.last_user.fetch_add(1, Relaxed) + 1;
        let (sender, receiver) = mpsc::unbounded_channel();
        let _ = sender.send(Message::User(user));
        self.users.lock().insert(user, sender);
        UnboundedReceiverStream::new(receiver).map(|message| {
            Ok(match message {
                Message::User(user) => {
                    Event::default().event("user").data(user.to_string())
                }
                Message::Said { id, text } => {
                    Event::default().id(id.to_string()).data(text)
                }
            })
        })
    }

    fn say(&self, from: u64, text: &str) -> StatusCode {
        let mut users = self.users.lock();
        if !users.contains_key(&from) {
            return StatusCode::NOT_FOUND;
        }
        let id = self.last_message.fetch_add(1, Relaxed) + 1;
        let text = format!("<User#{from}>: {text}");
        users.retain(|user, sender| {
            *user == from
                || sender.send(Message::Said { id, text: text.clone() }).is_ok()
        });
        StatusCode::NO_CONTENT
    }
}
