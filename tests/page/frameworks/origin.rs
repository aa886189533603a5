//! A server of the built pages whose answers to requests for events a test decides.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::{StreamExt, future, stream};
use salvo::conn::ConnCtrl;
use salvo::prelude::*;
use salvo::serve_static::StaticDir;
use tests::{serve, until};
use tokio::sync::watch;

use super::built;

/// An answer to a request for events.
#[derive(Clone, Copy)]
pub enum Answer {
    Status(u16),
    /// No answer: the connection is cut.
    Nothing,
    /// A stream of so many numbers, after the last one that the request names. It stays
    /// open.
    Numbers(u32),
    /// A stream of these bytes. It stays open.
    Bytes(&'static str),
}
pub use Answer::{Bytes, Nothing, Numbers, Status};

/// The fate of the streams that are open.
#[derive(Clone, Copy)]
pub enum Fate {
    /// These bytes come.
    More(&'static str),
    End,
    Cut,
}
pub use Fate::{Cut, End, More};

/// A server of the pages whose answers to requests for events a test decides.
pub struct Origin {
    url: String,
    events: Arc<Events>,
}

struct Events {
    answer: Mutex<Answer>,
    fate: watch::Sender<Option<Fate>>,
    asked: Mutex<Vec<Asked>>,
    open: AtomicUsize,
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Instant,
    pub last: String,
}

impl Origin {
    pub async fn start(answer: Answer) -> Self {
        let events = Arc::new(Events {
            answer: Mutex::new(answer),
            fate: watch::Sender::default(),
            asked: Mutex::default(),
            open: AtomicUsize::new(0),
        });
        let goal = Goal(Arc::clone(&events));
        let pages = StaticDir::new([built().await.to_str().unwrap()]);
        let router = Router::new()
            .push(Router::with_path("frameworks/{*path}").get(pages))
            .push(Router::with_path("{*path}").get(goal));
        Self { url: serve(router).await, events }
    }

    /// Answers so from now on, and does this to the open streams.
    pub fn then(&self, fate: Fate, answer: Answer) {
        self.answers(answer);
        self.sends(fate);
    }

    /// Does this to the open streams.
    pub fn sends(&self, fate: Fate) {
        self.events.fate.send(Some(fate)).unwrap();
    }

    /// Answers so from now on.
    pub fn answers(&self, answer: Answer) {
        *self.events.answer.lock().unwrap() = answer;
    }

    pub fn page(&self, name: &str) -> String {
        format!("{}/frameworks/{name}.html", self.url)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.events.asked.lock().unwrap().clone()
    }

    pub async fn has_open(&self, count: usize) {
        let open = || self.events.open.load(Ordering::SeqCst);
        until(&format!("{count} open"), async || open() == count).await;
    }

    /// Waits until it was asked so often, and returns the last of these requests.
    pub async fn asked_times(&self, times: usize) -> Asked {
        let what = format!("{times} requests");
        until(&what, async || self.asked().len() >= times).await;
        self.asked().swap_remove(times - 1)
    }
}

#[derive(Clone)]
struct Goal(Arc<Events>);

#[handler]
impl Goal {
    async fn handle(&self, req: &Request, res: &mut Response, conn: &mut ConnCtrl) {
        let last = req.header::<String>("last-event-id");
        let last = last.or_else(|| req.query("after")).unwrap_or_default();
        let asked = Asked { at: Instant::now(), last: last.clone() };
        self.0.asked.lock().unwrap().push(asked);
        let answer = *self.0.answer.lock().unwrap();
        let bytes = match answer {
            Status(status) => {
                let status = StatusCode::from_u16(status).unwrap();
                res.status_code(status);
                if status != StatusCode::NO_CONTENT {
                    res.render(Text::Html("<h1>Not what you want</h1>"));
                }
                return;
            }
            Nothing => {
                conn.abort();
                return future::pending().await;
            }
            Numbers(count) => {
                let last: u32 = last.parse().unwrap_or(0);
                let path = req.uri().path();
                (last + 1..=last + count).map(|number| event(path, number)).collect()
            }
            Bytes(bytes) => bytes.to_string(),
        };
        let mut fate = self.0.fate.subscribe();
        fate.mark_unchanged();
        let conn = conn.clone();
        let stays = (Open::new(&self.0), fate, conn);
        let rest = stream::unfold(stays, async |(open, mut fate, conn)| {
            fate.changed().await.unwrap();
            let now = *fate.borrow_and_update();
            match now {
                Some(More(bytes)) => {
                    let bytes = Ok::<_, std::io::Error>(bytes.to_string());
                    return Some((bytes, (open, fate, conn)));
                }
                Some(Cut) => {
                    conn.abort();
                    future::pending::<()>().await;
                }
                Some(End) | None => {}
            }
            None
        });
        res.add_header("content-type", "text/event-stream", true).unwrap();
        res.stream(stream::iter([Ok(bytes)]).chain(rest));
    }
}

/// A number as an event, in the form that the page of this path wants.
fn event(path: &str, number: u32) -> String {
    let data = match path {
        "/fragments/htmx" => format!("data: <li>{number}</li>"),
        "/fragments/datastar" => format!(
            "event: datastar-patch-elements\ndata: selector #numbers\n\
             data: mode append\ndata: elements <li>{number}</li>"
        ),
        _ => format!("event: number\ndata: {number}"),
    };
    format!("{data}\nid: {number}\n\n")
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Events>);

impl Open {
    fn new(events: &Arc<Events>) -> Self {
        events.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(events))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}
