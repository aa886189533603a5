//! A log in memory: it knows keys, and forgets all with its process.

use std::sync::LazyLock;
use std::{convert::Infallible, env};

use futures_util::stream::{self, StreamExt};
use salvo::prelude::*;
use tokio::sync::watch;

/// Keys and texts. An id is the place behind its event.
type Kept = Vec<(Option<String>, String)>;
static LOG: LazyLock<watch::Sender<Kept>> = LazyLock::new(watch::Sender::default);

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    let router = Router::new().get(listen).post(say);
    println!("listening on http://{}", acceptor.local_addr()?);
    Ok(Server::new(acceptor).try_serve(router).await?)
}

#[handler]
async fn listen(req: &Request, res: &mut Response) {
    let log = LOG.subscribe();
    let newest = log.borrow().len();
    let id: Option<String> = req.header("last-event-id");
    let last: Option<usize> = id.as_ref().map_or(Some(newest), |id| id.parse().ok());
    let resync = last.is_none().then(|| SseEvent::default().name("resync").text(""));
    let start = (log, last.unwrap_or(0));
    let events = stream::unfold(start, async |(mut log, last)| {
        let text = log.wait_for(|log| log.len() > last).await.ok()?[last].1.clone();
        let id = last + 1;
        Some((SseEvent::default().id(id.to_string()).text(text), (log, id)))
    });
    let events = stream::iter(resync).chain(events);
    SseKeepAlive::new(events.map(Ok::<_, Infallible>)).stream(res);
}

#[handler]
async fn say(req: &mut Request) -> salvo::Result<StatusCode> {
    let key = req.header::<String>("idempotency-key");
    let text = String::from_utf8_lossy(req.payload().await?).into_owned();
    LOG.send_if_modified(|log| {
        let is_known = key.is_some() && log.iter().any(|(known, _)| *known == key);
        if !is_known {
            log.push((key, text));
        }
        !is_known
    });
    Ok(StatusCode::NO_CONTENT)
}
