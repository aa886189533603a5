//! The room as actix's `server-sent-events` example would have it: `sse` of
//! actix-web-lab, a small queue for each reader, and a reader that left is found out when
//! it is sent something.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{env, io, thread, time::Duration};

use actix_web::{App, HttpResponse, HttpServer, Responder, get, post, web};
use actix_web_lab::sse::{Data, Event, Sse};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, error::TrySendError};

/// Messages that a reader can be behind before it misses some.
const QUEUE: usize = 10;
const HEARTBEAT: Duration = Duration::from_secs(15);

#[actix_web::main]
async fn main() -> io::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    // The variable that tokio's own runtime obeys, so that all are told in the same way.
    let workers = env::var("TOKIO_WORKER_THREADS").ok().and_then(|n| n.parse().ok());
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let room = web::Data::new(Room::default());
    let server = HttpServer::new(move || {
        App::new().app_data(room.clone()).service(listen).service(say)
    });
    // Otherwise a reader that left keeps its socket until two heartbeats have failed.
    let server = server.h1_allow_half_closed(false);
    let server = server.workers(workers.unwrap_or_else(cores)).bind(addr)?;
    for addr in server.addrs() {
        println!("listening on http://{addr}");
    }
    server.run().await
}

#[derive(Default)]
struct Room {
    users: Mutex<HashMap<u64, mpsc::Sender<Event>>>,
    last_user: AtomicU64,
    last_message: AtomicU64,
}

#[get("/chat")]
async fn listen(room: web::Data<Room>) -> impl Responder {
    let user = room.last_user.fetch_add(1, Relaxed) + 1;
    let (sender, receiver) = mpsc::channel(QUEUE);
    // The queue is empty, so there is room for one.
    let _ = sender.try_send(Data::new(user.to_string()).event("user").into());
    room.users.lock().insert(user, sender);
    Sse::from_infallible_receiver(receiver).with_keep_alive(HEARTBEAT)
}

#[post("/chat/{user}")]
async fn say(
    room: web::Data<Room>,
    user: web::Path<u64>,
    text: String,
) -> HttpResponse {
    let from = user.into_inner();
    let mut users = room.users.lock();
    if !users.contains_key(&from) {
        return HttpResponse::NotFound().finish();
    }
    let id = room.last_message.fetch_add(1, Relaxed) + 1;
    let data = Data::new(format!("<User#{from}>: {text}"));
    let event = Event::from(data.id(id.to_string()));
    users.retain(|user, sender| {
        *user == from
            || !matches!(
                sender.try_send(event.clone()),
                Err(TrySendError::Closed(_))
            )
    });
    HttpResponse::NoContent().finish()
}
