//! A clean end: Ctrl-C and SIGTERM end the streams first, and then the program.
//!
//!     cargo run --example cure_end
//!     curl -N http://127.0.0.1:8698/

use std::{convert::Infallible, env, time::Duration};

use futures_util::stream::StreamExt;
use salvo::{http::HeaderValue, prelude::*};
use tokio::{select, signal, time::interval};
use tokio_stream::wrappers::IntervalStream;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> salvo::Result<()> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let acceptor = TcpListener::new(addr).try_bind().await?;
    #[cfg(unix)]
    let mut term = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    #[cfg(windows)]
    let mut term = signal::windows::ctrl_shutdown()?;
    println!("listening on http://{}", acceptor.local_addr()?);
    let stop = CancellationToken::new();
    let server = Server::new(acceptor);
    let handle = server.handle();
    let router = Router::new().get(Ticks(stop.clone()));
    tokio::spawn(async move {
        select! { _ = signal::ctrl_c() => {}, _ = term.recv() => {} }
        // Alone, this would wait for the streams, and cut them off after three seconds.
        handle.stop_graceful(Duration::from_secs(3));
        stop.cancel();
    });
    Ok(server.try_serve(router).await?)
}

struct Ticks(CancellationToken);

#[handler]
impl Ticks {
    async fn handle(&self, res: &mut Response) {
        let events = IntervalStream::new(interval(Duration::from_secs(1)))
            .map(|_| Ok::<_, Infallible>(SseEvent::default().text("tick")))
            .take_until(self.0.clone().cancelled_owned());
        res.headers_mut()
            .insert("x-accel-buffering", HeaderValue::from_static("no"));
        SseKeepAlive::new(events).stream(res);
    }
}
