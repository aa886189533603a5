//! A job whose stream ends: a reader who comes back continues, or hears that it is over.
//!
//!     cargo run --example cure_job
//!     curl -N http://127.0.0.1:8698/
//!     curl -i 'http://127.0.0.1:8698/?after=10'

use std::{convert::Infallible, env, sync::LazyLock, time::Duration};

use futures_util::stream::{self, StreamExt};
use salvo::{http::HeaderValue, prelude::*};
use tokio::{sync::watch, time::sleep};

/// The last step of the job. Its id is the end of the stream.
const STEPS: u64 = 10;
/// How far the job is. It runs by itself: readers look on, and do not start it again.
static DONE: LazyLock<watch::Sender<u64>> = LazyLock::new(watch::Sender::default);

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    println!("listening on http://{}", acceptor.local_addr()?);
    tokio::spawn(async {
        for step in 1..=STEPS {
            sleep(Duration::from_millis(500)).await; // the work
            DONE.send_replace(step);
        }
    });
    Ok(Server::new(acceptor).try_serve(Router::new().get(progress)).await?)
}

#[handler]
async fn progress(req: &mut Request, res: &mut Response) {
    let after = req.header("last-event-id").or_else(|| req.query("after"));
    if after >= Some(STEPS) {
        res.status_code(StatusCode::NO_CONTENT); // tells EventSource to stay away
        return;
    }
    let events = stream::unfold(after.unwrap_or(0), async |after| {
        if after >= STEPS {
            return None; // the stream ends, and EventSource comes back for its 204
        }
        let mut done = DONE.subscribe();
        let step = *done.wait_for(|step| *step > after).await.ok()?;
        let name = if step == STEPS { "done" } else { "progress" };
        let event = SseEvent::default().name(name).text(step.to_string());
        Some((event.id(step.to_string()), step))
    });
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    SseKeepAlive::new(events.map(Ok::<_, Infallible>)).stream(res);
}
