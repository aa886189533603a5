//! A job that goes on without its readers, and tells each of them how far it is: a reload, a
//! second tab and a lost connection see the same job, and it can be cancelled.
//!
//!     cargo run --example progress
//!     job=$(yes 500 | head -20 | curl -s --data-binary @- http://127.0.0.1:8698/jobs)
//!     curl -N http://127.0.0.1:8698/$job
//!
//! Each line of the body is a step, and says how many milliseconds it takes: here 20 times 500.
//! Or open http://127.0.0.1:8698/. This file answers requests, `jobs.rs` has the jobs, and
//! `edge.rs` keeps strangers from holding the program up. Chapter 7.1 of the book builds it
//! step by step. Left out: users, and jobs that outlive the program (`feed` keeps its events).

use std::{env, io, process::ExitCode};

use salvo::prelude::*;
use tokio::{net::TcpListener, signal, time::Duration};
use tokio_util::sync::CancellationToken;

mod edge;
mod jobs;

use edge::{Limits, read, refuse_foreign};

/// Bytes of a job's text: some thousand steps.
const MAX_TEXT: usize = 64 << 10;
/// Readers of all jobs: each has a connection.
pub const MAX_READERS: usize = 2_000;
/// Files that are open besides the connections of clients.
const FILES: usize = 64;
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
    let limits = Limits::raise(MAX_READERS, FILES).map_err(|why| why.to_string())?;
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8698".into());
    let listen =
        |error| format!("cannot listen on {addr}: {error}; try ADDR=127.0.0.1:0");
    serve(&addr, &limits).await.map_err(listen)
}

async fn serve(addr: &str, limits: &Limits) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    let stopped = stop_signal()?; // before the line below: a script may answer it at once
    println!("listening on http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let server = edge::server(listener, limits, stop.clone())?;
    let handle = server.handle();
    let router = router(limits.streams, stop.clone());
    let stopping = async {
        stopped.await;
        handle.stop_graceful(STOP); // lets nobody in any more, and waits for the streams
        stop.cancel();
        Ok(())
    };
    tokio::try_join!(server.try_serve(router), stopping).map(|_| ())
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

pub fn router(_readers: usize, _stop: CancellationToken) -> Router {
    let jobs = Router::with_path("jobs").post(wait);
    Router::new().hoop(edge::close_if_refused).head(page).get(page).push(jobs)
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

type Reply<T> = Result<T, StatusError>;

/// Works while the client waits.
#[handler]
async fn wait(req: &mut Request) -> Reply<&'static str> {
    let body = read(req, MAX_TEXT).await?;
    refuse_foreign(req)?;
    let text = String::from_utf8(body).map_err(|_| bad("this is not UTF-8"))?;
    if text.trim().is_empty() {
        return Err(bad("there are no steps"));
    }
    jobs::work(&text).await.map_err(bad)?;
    Ok("done\n")
}

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}
