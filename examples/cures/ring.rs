//! A ring buffer with replay: a reader who comes back gets what was missed, or is told.
//!
//!     cargo run --example cure_ring
//!     curl -N http://127.0.0.1:8698/
//!     curl -d hello http://127.0.0.1:8698/

use std::{collections::VecDeque, convert::Infallible, env, sync::LazyLock};

use futures_util::stream::{self, StreamExt};
use salvo::{http::HeaderValue, http::ParseError, prelude::*};
use tokio::sync::watch;

/// Events that are kept. It decides how long a reader may be away and miss nothing.
const KEPT: usize = 1_000;
/// Ids and texts, the newest first, in a channel that wakes its readers at each change.
type Ring = watch::Sender<VecDeque<(String, String)>>;
static RING: LazyLock<Ring> = LazyLock::new(Ring::default);

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    println!("listening on http://{}", acceptor.local_addr()?);
    Ok(Server::new(acceptor).try_serve(Router::new().get(listen).post(say)).await?)
}

#[handler]
async fn listen(req: &mut Request, res: &mut Response) {
    let after = req.header("last-event-id").or_else(|| req.query("after"));
    let events = stream::unfold(after.unwrap_or_default(), async |after: String| {
        let seen = |(id, _): &(String, String)| *id == after;
        let mut ring = RING.subscribe();
        let new = ring.wait_for(|new| !new.front().is_none_or(seen)).await.ok()?;
        let last = new.iter().position(seen);
        let (id, text) = new[last.unwrap_or(new.len()) - 1].clone();
        // An id that is not kept any more, or was before a restart: say it, never guess.
        let has_gap = last.is_none() && !after.is_empty();
        let missed = has_gap.then(|| SseEvent::default().name("missed").text(""));
        let event = SseEvent::default().id(&id).text(text);
        Some((stream::iter(missed.into_iter().chain([event])), id))
    });
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    SseKeepAlive::new(events.flatten().map(Ok::<_, Infallible>)).stream(res);
}

#[handler]
async fn say(req: &mut Request) -> Result<StatusCode, ParseError> {
    let text = String::from_utf8_lossy(req.payload().await?).into_owned();
    RING.send_modify(|ring| {
        ring.truncate(KEPT - 1);
        // A number that counts would begin anew after a restart, and mean something else.
        ring.push_front((format!("{:x}", rand::random::<u64>()), text));
    });
    Ok(StatusCode::NO_CONTENT)
}
