//! A server of Salvo over HTTP/1.1, 2 and 3, in the network at the other end of a link.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::Result;
use futures_util::stream::{StreamExt, unfold};
use salvo::conn::Listener;
use salvo::conn::quinn::QuinnListener;
use salvo::conn::rustls::{Keycert, RustlsConfig, RustlsListener};
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::HeaderValue;
use salvo::prelude::*;
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

use crate::link::Link;

/// A server that runs until its program ends.
pub struct Running {
    pub address: SocketAddr,
    /// When each stream was dropped.
    pub left: mpsc::Receiver<Instant>,
}

/// A listener that is open already.
struct Open(tokio::net::TcpListener);

impl Listener for Open {
    type Acceptor = TcpAcceptor;

    async fn try_bind(self) -> salvo::Result<TcpAcceptor> {
        Ok(self.0.try_into()?)
    }
}

/// Serves at the other end. `nodelay` is TCP_NODELAY, which Salvo leaves off.
pub fn start(link: &Link, nodelay: bool) -> Result<Running> {
    let address = SocketAddr::from((link.there, 8699));
    let (ready, is_ready) = mpsc::sync_channel(1);
    let (leave, left) = mpsc::sync_channel(64);
    link.inside(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let socket = TcpSocket::new_v4()?;
            // Linux gives it to each connection.
            socket.set_nodelay(nodelay)?;
            socket.bind(address)?;
            let tcp =
                RustlsListener::new(certificate()?, Open(socket.listen(1024)?));
            let quic = certificate()?.build_quinn_config()?;
            let acceptor =
                QuinnListener::new(quic, address).join(tcp).try_bind().await?;
            ready.send(())?;
            let stream = Events { leave };
            Server::new(acceptor)
                .serve(Router::with_path("events").get(stream))
                .await;
            anyhow::Ok(())
        })
    });
    is_ready.recv()?;
    Ok(Running { address, left })
}

fn certificate() -> Result<RustlsConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()])?;
    let key = made.signing_key.serialize_pem();
    let certificate = Keycert::new().cert(made.cert.pem()).key(key);
    Ok(RustlsConfig::new(certificate))
}

/// Numbered events with the time of writing, as the request asks for them.
struct Events {
    leave: mpsc::SyncSender<Instant>,
}

/// Says when it is dropped.
struct Leave(mpsc::SyncSender<Instant>);

impl Drop for Leave {
    fn drop(&mut self) {
        // Nobody asks any more where the experiment is over.
        let _ = self.0.try_send(Instant::now());
    }
}

#[handler]
impl Events {
    async fn handle(&self, req: &Request, res: &mut Response) {
        let milliseconds =
            |name| req.query(name).map_or(Duration::MAX, Duration::from_millis);
        let every = milliseconds("every");
        // Between the first event and the second.
        let silence = req.query("silence").map_or(every, Duration::from_millis);
        let heartbeat = milliseconds("heartbeat");
        let padding = "x".repeat(req.query("bytes").unwrap_or(0));
        let leave = Leave(self.leave.clone());
        let state = (0_u64, Instant::now(), padding, leave);
        let events =
            unfold(state, move |(number, last, padding, leave)| async move {
                let pace = match number {
                    0 => Duration::ZERO,
                    1 => silence,
                    _ => every,
                };
                let rest = pace.saturating_sub(last.elapsed());
                if timeout(heartbeat, sleep(rest)).await.is_err() {
                    return Some((
                        ":\n\n".to_string(),
                        (number, last, padding, leave),
                    ));
                }
                let event = format!("data: {} {number} {padding}\n\n", now());
                // The next one is due when this one was, and a pace later.
                let due = last + pace;
                Some((event, (number + 1, due, padding, leave)))
            });
        let kind = HeaderValue::from_static("text/event-stream");
        res.headers_mut().insert("content-type", kind);
        res.stream(events.map(Ok::<_, Infallible>));
    }
}

/// Microseconds, of a clock that both ends have.
pub fn now() -> u64 {
    u64::try_from(UNIX_EPOCH.elapsed().unwrap_or_default().as_micros())
        .unwrap_or_default()
}
