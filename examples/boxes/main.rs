//! One stream, to be read directly and through proxies: each event says when it was written.
//!
//!     cargo run --example boxes
//!     curl -N 'http://127.0.0.1:8698/events?every=200&count=10'
//!     nginx -p /tmp -e stderr -c "$PWD/examples/boxes/nginx/default.conf" &
//!     curl -N 'http://127.0.0.1:8690/events?every=200&count=10&header=no'
//!
//! The parameters: `every` and `heartbeat` in milliseconds (0 = no heartbeat), `count`,
//! `bytes` of an event, and `header=no` for an answer without `X-Accel-Buffering`.
//!
//! Or open http://127.0.0.1:8698/, and choose a box. It is started if this machine has it,
//! or if the folder BOXES has it (`dpkg -x` of Debian's packages); else you see a recording,
//! and with an empty BOXES always.
//!
//! With the feature `tls`, the same router is served over HTTP/1.1, HTTP/2 and HTTP/3, on
//! TLS_ADDR (by default 127.0.0.1:8699, TCP and UDP), with a certificate of its own:
//!
//!     cargo run --example boxes --features tls
//!     curl -kN --http2 'https://127.0.0.1:8699/events?every=200&count=10'
//!
//! Chapter 11 of the book is about the boxes. `events.rs` has the stream, `kinds.rs` the
//! boxes, `middlebox.rs` starts one, `run.rs` and `answer.rs` tell how a stream comes through
//! it, and `edge.rs` keeps strangers from holding the program up (see `chat`). Left out: events that anybody
//! makes, and their ids: a clock counts. Over TLS, there is no lingering after an error;
//! and a reader of HTTP/2 or HTTP/3 that takes nothing keeps its place while its connection
//! lives, because nothing is written to it that could stall.

#[cfg(not(feature = "tls"))]
use std::future::ready;
use std::path::PathBuf;
use std::{env, io, process::ExitCode, sync::Arc};

use futures_util::stream;
use salvo::http::Method;
use salvo::prelude::*;
use tokio::sync::Semaphore;
use tokio::{net::TcpListener, signal, time::Duration};
use tokio_util::sync::CancellationToken;

mod answer;
#[allow(dead_code)] // it can read a body, and no request here has one
mod edge;
mod events;
mod kinds;
mod middlebox;
mod run;
#[cfg(feature = "tls")]
mod tls;

use edge::{Limits, refuse_foreign};
use events::{Listen, Reply, bad, full, refuse_unknown, send, yes};
use kinds::{KINDS, Kind};
use middlebox::Place;
use run::Choice;

/// Streams at once.
pub const MAX_STREAMS: usize = 1_024;
/// Runs of the panel at once: each may have a box of its own, and six of the box's processes.
const MAX_RUNS: usize = 4;
/// Files that are open besides the connections of the readers: those of a run (four
/// connections), and the connections of `tls.rs`.
const FILES: usize = 64 + 8 * MAX_RUNS + if cfg!(feature = "tls") { 256 } else { 0 };
/// How long the streams may take to end when the program ends.
const STOP: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    if let Err(why) = run().await {
        eprintln!("{why}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn run() -> Result<(), String> {
    let limits = Limits::raise(MAX_STREAMS, FILES).map_err(|why| why.to_string())?;
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let listen =
        |error| format!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
    let listener = TcpListener::bind(&addr).await.map_err(listen)?;
    let text = |why: io::Error| why.to_string();
    let stopped = stop_signal().map_err(text)?; // a script may answer the line below at once
    println!("listening on http://{}", listener.local_addr().map_err(text)?);
    let stop = CancellationToken::new();
    let unpacked = env::var_os("BOXES").map(PathBuf::from);
    let places = Arc::new(Semaphore::new(limits.streams));
    let router = Arc::new(router(places.clone(), unpacked, stop.clone()));
    #[cfg(feature = "tls")]
    let https = {
        let all = limits.streams;
        let are_over = move || places.available_permits() == all;
        tls::serve(router.clone(), stop.clone(), are_over, STOP)
    };
    #[cfg(not(feature = "tls"))]
    let https = ready(Ok(()));
    let server = edge::server(listener, &limits, stop.clone()).map_err(text)?;
    let handle = server.handle();
    let serving = async { server.try_serve(router).await.map_err(text) };
    let stopping = async {
        stopped.await;
        handle.stop_graceful(STOP); // lets nobody in any more, and waits for the streams
        stop.cancel();
        Ok(())
    };
    tokio::try_join!(serving, https, stopping).map(|_| ())
}

/// Listens from now on for Ctrl-C and SIGTERM. The future waits for the first of them.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut ctrl_c = signal::unix::signal(signal::unix::SignalKind::interrupt())?;
    #[cfg(unix)]
    let mut stop = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    #[cfg(windows)]
    let mut ctrl_c = signal::windows::ctrl_c()?;
    #[cfg(windows)]
    let mut stop = signal::windows::ctrl_shutdown()?;
    Ok(async move {
        tokio::select! { _ = ctrl_c.recv() => {}, _ = stop.recv() => {} }
    })
}

pub fn router(
    places: Arc<Semaphore>,
    unpacked: Option<PathBuf>,
    stop: CancellationToken,
) -> Router {
    let listen = Listen { places, stop: stop.clone(), written: None };
    let runs = Arc::new(Semaphore::new(MAX_RUNS));
    let run = Run { runs, place: Place { unpacked }, stop };
    Router::new()
        .hoop(edge::close_if_refused)
        .head(page)
        .get(page)
        .push(Router::with_path("events").head(listen.clone()).get(listen))
        .push(Router::with_path("run").head(run.clone()).get(run))
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

/// Answers with the lines of a run.
#[derive(Clone)]
struct Run {
    runs: Arc<Semaphore>,
    place: Place,
    stop: CancellationToken,
}

#[handler]
impl Run {
    async fn handle(&self, req: &Request, res: &mut Response) -> Reply<()> {
        refuse_foreign(req)?; // it starts a process
        let choice = choice(req)?;
        if req.method() == Method::HEAD {
            send(res, stream::empty());
            return Ok(());
        }
        let permit = self.runs.clone().try_acquire_owned().map_err(full)?;
        let lines = run::start(choice, self.place.clone(), self.stop.clone());
        let lines = stream::unfold((lines, permit), async |(mut lines, permit)| {
            Some((lines.recv().await?, (lines, permit)))
        });
        send(res, lines);
        Ok(())
    }
}

fn choice(req: &Request) -> Reply<Choice> {
    refuse_unknown(req, &["box", "configuration", "header", "silence", "gzip"])?;
    let value = |name, usual: &'static str| {
        req.queries().get(name).map_or(usual, String::as_str)
    };
    let kind = match value("box", "none") {
        "none" => None,
        name => Some(Kind::find(name).ok_or_else(|| {
            let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
            bad(format!("the boxes are: none, {}", names.join(", ")))
        })?),
    };
    let is_right = match value("configuration", "default") {
        "default" => false,
        "right" => true,
        _ => return Err(bad("`configuration` is default or right")),
    };
    let has_header = yes(req, "header", true)?;
    let is_silent = yes(req, "silence", false)?;
    let compresses = yes(req, "gzip", false)?;
    Ok(Choice { kind, is_right, has_header, is_silent, compresses })
}
