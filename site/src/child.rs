//! `feed` as chapter 8 needs it: a process of its own, which a reader can kill, and which is
//! started again whenever it ends. What comes for it is forwarded.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

use anyhow::{Context, Result};
use reqwest::redirect::Policy;
use reqwest::{Body, Client};
use salvo::http::HeaderMap;
use salvo::http::body::Body as _;
use salvo::prelude::*;
use serde::Serialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::programs::feed;

/// How long a request waits for the process.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the process may take to listen.
const START: Duration = Duration::from_secs(10);
/// A process that lives less than this has a fault, which the next one may have, too.
const SHORT: Duration = Duration::from_secs(2);
/// The pause before the next one then, and the longest, to which it doubles.
const PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// Events that are kept, in a temporary folder: 400 MB, if all are as long as they may be.
const KEEP: &str = "100000";
/// Kills that wait for their turn.
const MAX_KILLS: usize = 16;
/// What belongs to one connection, and not to the message (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What `cargo book` starts: `feed`, until the book's process ends, however it ends.
#[tokio::main]
pub async fn run(folder: PathBuf) -> Result<()> {
    thread::spawn(move || {
        // The book holds the other end, and writes nothing.
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        drop(fs::remove_dir_all(folder));
        process::exit(0);
    });
    feed::run().await.map_err(anyhow::Error::msg)
}

/// Starts the process, and routes to it what comes for `/live/{name}/`.
pub fn router(name: &str) -> io::Result<Router> {
    let folder = tempfile::Builder::new().prefix("book-feed-").tempdir()?;
    let (running, url) = watch::channel(None);
    let (kills, asked) = mpsc::channel(MAX_KILLS);
    tokio::spawn(keep(folder, running, asked));
    // A proxy in the environment, and a redirect, are the browser's affair.
    let client = Client::builder().no_proxy().redirect(Policy::none()).build();
    let client = client.map_err(io::Error::other)?;
    let forward = Forward { below: format!("/live/{name}"), client, url };
    Ok(Router::new()
        .push(Router::with_path("kill").post(Kill(kills)))
        .push(Router::with_path("{**rest}").goal(forward)))
}

/// Who wants to know what became of a kill.
type Asker = oneshot::Sender<Killed>;

#[derive(Serialize)]
struct Killed {
    /// The process that was killed.
    killed: u32,
    /// The one that took its place.
    pid: u32,
    /// From the kill until the new one listened.
    ms: u128,
}

struct Running {
    child: Child,
    pid: u32,
    url: String,
    /// Closes when the book's process ends, and so does the child.
    _stdin: Option<ChildStdin>,
}

/// Keeps one process running, and `running` at its address.
async fn keep(
    folder: TempDir,
    running: watch::Sender<Option<String>>,
    mut kills: mpsc::Receiver<Asker>,
) {
    let mut pause = PAUSE;
    let mut killed: Option<(u32, Instant, Asker)> = None;
    loop {
        let started = Instant::now();
        let why = match start(folder.path()).await {
            Err(error) => format!("it did not start: {error:#}"),
            Ok(Running { mut child, pid, url, _stdin }) => {
                running.send_replace(Some(url));
                if let Some((killed, at, asker)) = killed.take() {
                    let ms = at.elapsed().as_millis();
                    drop(asker.send(Killed { killed, pid, ms })); // who may be gone
                }
                tokio::select! {
                    Some(asker) = next(&mut kills) => {
                        // Who comes from now on waits for the next one.
                        running.send_replace(None);
                        killed = Some((pid, Instant::now(), asker));
                        drop(child.kill().await); // it may have ended just now
                        continue;
                    }
                    ended = child.wait() => {
                        running.send_replace(None);
                        match ended {
                            Ok(how) => format!("process {pid} ended by itself: {how}"),
                            Err(error) => format!("process {pid} is lost: {error}"),
                        }
                    }
                }
            }
        };
        if started.elapsed() < SHORT {
            tracing::error!("feed: {why}; it starts again in {pause:?}");
            sleep(pause).await;
            pause = MAX_PAUSE.min(2 * pause);
        } else {
            tracing::warn!("feed: {why}; it starts again");
            pause = PAUSE;
        }
    }
}

/// The next kill that somebody still waits for.
async fn next(kills: &mut mpsc::Receiver<Asker>) -> Option<Asker> {
    loop {
        let asker = kills.recv().await?;
        if !asker.is_closed() {
            return Some(asker);
        }
    }
}

/// Starts a process, and returns when it listens.
async fn start(folder: &Path) -> Result<Running> {
    // On Linux this is what runs, also where Cargo has built something newer meanwhile.
    let program = if cfg!(target_os = "linux") {
        PathBuf::from("/proc/self/exe")
    } else {
        env::current_exe()?
    };
    let mut command = Command::new(program);
    command
        .arg("feed")
        .arg(folder)
        .env("ADDR", "127.0.0.1:0")
        .env("FEED_DIR", folder)
        .env("FEED_KEEP", KEEP)
        .env_remove("FEED_AGE")
        .env_remove("REDIS_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    // Not the terminal's Ctrl-C ends it, but the end of the book, so that it can clean up.
    #[cfg(unix)]
    command.arg0("book").process_group(0);
    let mut child = command.spawn()?;
    let pid = child.id().context("it has no process ID")?;
    let _stdin = child.stdin.take(); // to wait for the child would close it
    let stdout = child.stdout.take().context("it has no stdout")?;
    let mut lines = BufReader::new(stdout).lines();
    let url = async {
        while let Some(line) = lines.next_line().await? {
            if let Some(url) = line.strip_prefix("listening on ") {
                return Ok(url.to_string());
            }
        }
        Err(io::Error::other("it ended before it listened"))
    };
    let url = timeout(START, url).await.context("it does not listen")??;
    Ok(Running { child, pid, url, _stdin })
}

/// Kills the process, and says which one has taken its place.
struct Kill(mpsc::Sender<Asker>);

#[handler]
impl Kill {
    async fn handle(&self, req: &Request) -> Result<Json<Killed>, StatusError> {
        feed::http::refuse_foreign(req)?;
        let (asker, answer) = oneshot::channel();
        let killed = async {
            self.0.send(asker).await.ok()?;
            answer.await.ok()
        };
        let killed = timeout(PATIENCE, killed).await.ok().flatten();
        killed.map(Json).ok_or_else(not_there)
    }
}

fn not_there() -> StatusError {
    StatusError::service_unavailable().brief("the process of feed does not start")
}

struct Forward {
    /// The path that the process knows nothing of.
    below: String,
    client: Client,
    url: watch::Receiver<Option<String>>,
}

#[handler]
impl Forward {
    async fn handle(
        &self,
        req: &mut Request,
        res: &mut Response,
    ) -> Result<(), StatusError> {
        let path = req.uri().path_and_query().map(|path| path.as_str().to_string());
        let path = path.unwrap_or_default();
        let path = path.strip_prefix(&self.below);
        let path = path.ok_or_else(StatusError::not_found)?;
        let mut url = self.url.clone();
        let url = timeout(PATIENCE, url.wait_for(Option::is_some)).await;
        let url = url.ok().and_then(|url| url.ok()?.clone());
        let url = format!("{}{path}", url.ok_or_else(not_there)?);

        // With `Host`, which the program compares with `Origin`.
        let headers = end_to_end(req.headers());
        let mut request =
            self.client.request(req.method().clone(), url).headers(headers);
        let body = req.take_body();
        if !body.is_end_stream() {
            request = request.body(Body::wrap(body));
        }
        let answer = request.send().await.map_err(|_| {
            let why = "the process of feed ended before it answered";
            StatusError::bad_gateway().brief(why)
        })?;
        res.status_code(answer.status());
        res.headers_mut().extend(end_to_end(answer.headers()));
        // Where the process is killed, this fails, and the reader's stream is cut, too.
        res.stream(answer.bytes_stream());
        Ok(())
    }
}

fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(*name)));
    headers
}
