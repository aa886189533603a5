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

use std::{convert::Infallible, env, io, process::ExitCode, sync::Arc};

use futures_util::stream::{self, StreamExt};
use salvo::http::{HeaderValue, header};
use salvo::prelude::*;
use salvo::sse::SseKeepAlive;
use tokio::{net::TcpListener, signal, time::Duration};
use tokio_util::sync::CancellationToken;

mod edge;
mod jobs;

use edge::{Limits, read, refuse_foreign};
use jobs::{Job, Jobs, MAX_RUNNING, Reader};

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

pub fn router(readers: usize, stop: CancellationToken) -> Router {
    let jobs = Jobs::new(readers, stop);
    let watch = Watch(jobs.clone());
    let one = Router::with_path("{id}")
        .head(watch.clone())
        .get(watch)
        .delete(Cancel(jobs.clone()));
    let jobs = Router::with_path("jobs").post(Start(jobs)).push(one);
    Router::new().hoop(edge::close_if_refused).head(page).get(page).push(jobs)
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html(include_str!("index.html"))
}

type Reply<T> = Result<T, StatusError>;

struct Start(Arc<Jobs>);

#[handler]
impl Start {
    async fn handle(&self, req: &mut Request, res: &mut Response) -> Reply<()> {
        let body = read(req, MAX_TEXT).await?;
        refuse_foreign(req)?;
        let text = String::from_utf8(body).map_err(|_| bad("this is not UTF-8"))?;
        if text.trim().is_empty() {
            return Err(bad("there are no steps"));
        }
        let Some(id) = self.0.start(text) else {
            let soon = HeaderValue::from_static("5");
            res.headers_mut().insert(header::RETRY_AFTER, soon);
            let why = format!("{MAX_RUNNING} jobs are running already");
            return Err(StatusError::service_unavailable().brief(why));
        };
        // Relative, because this program may be mounted below another path.
        let path = format!("jobs/{id:032x}");
        let location = HeaderValue::try_from(&path)
            .map_err(|_| StatusError::internal_server_error())?;
        res.headers_mut().insert(header::LOCATION, location);
        res.status_code(StatusCode::CREATED);
        res.render(path); // for a shell: the head is for programs
        Ok(())
    }
}

fn bad(why: impl Into<String>) -> StatusError {
    StatusError::bad_request().brief(why)
}

#[derive(Clone)]
struct Watch(Arc<Jobs>);

#[handler]
impl Watch {
    async fn handle(&self, req: &Request, res: &mut Response) -> Reply<()> {
        refuse_foreign(req)?;
        let job = find(&self.0, req)?;
        let last: Option<String> = req.header("last-event-id");
        if last.as_deref() == Some(jobs::END) && job.is_over() {
            // Nothing will ever follow: this tells an EventSource not to come back.
            res.status_code(StatusCode::NO_CONTENT);
            return Ok(());
        }
        let place = self.0.place_for_a_reader().ok_or_else(|| {
            StatusError::service_unavailable().brief("there are too many readers")
        })?;
        let events = stream::unfold(Reader::new(&job, place), async |mut reader| {
            Some((reader.next().await?, reader))
        });
        let unbuffered = HeaderValue::from_static("no");
        res.headers_mut().insert("x-accel-buffering", unbuffered);
        SseKeepAlive::new(events.map(Ok::<_, Infallible>)).stream(res);
        Ok(())
    }
}

struct Cancel(Arc<Jobs>);

#[handler]
impl Cancel {
    async fn handle(&self, req: &Request) -> Reply<StatusCode> {
        refuse_foreign(req)?;
        find(&self.0, req)?.cancel();
        Ok(StatusCode::NO_CONTENT)
    }
}

/// The job that the path names.
fn find(jobs: &Jobs, req: &Request) -> Reply<Arc<Job>> {
    let id = req.param::<String>("id").unwrap_or_default();
    let id = u128::from_str_radix(&id, 16).ok();
    let found = id.and_then(|id| jobs.find(id));
    let why = "there is no such job, or no longer";
    found.ok_or_else(|| StatusError::not_found().brief(why))
}
