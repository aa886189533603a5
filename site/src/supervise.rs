//! Keeps a program running as a process of its own, which a reader can kill, and which
//! starts again whenever it ends: `feed`, which its chapter kills.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

use anyhow::{Context, Result};
use salvo::prelude::*;
use serde::Serialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::forward::{Forward, not_there};

/// How long a request waits for the process.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the process may take to listen.
const START: Duration = Duration::from_secs(10);
/// A process that lives less than this has a fault, which the next one may have, too.
const SHORT: Duration = Duration::from_secs(2);
/// The pause before a process starts again then. It doubles, up to the longest one.
const PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// Events that are kept, in a temporary folder: 400 MB, if all are as long as they may be.
const KEEP: &str = "100000";
/// Kills that wait for their turn.
const MAX_KILLS: usize = 16;

/// Ends this process, the supervised one, when the book's process ends, however it ends.
/// Then nobody needs the folder any more.
pub fn end_with_the_book(folder: PathBuf) {
    thread::spawn(move || {
        // The book holds the other end, and writes nothing.
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        drop(fs::remove_dir_all(folder));
        process::exit(0);
    });
}

/// Says why a request may not change anything, as where a page of another origin sent it.
pub type Guard = fn(&Request) -> Result<(), StatusError>;

/// Starts the process, and routes to it the requests for `/live/{name}/`. The guard looks
/// at a request to kill it.
pub fn router(name: &'static str, guard: Guard) -> io::Result<Router> {
    let folder =
        tempfile::Builder::new().prefix(&format!("book-{name}-")).tempdir()?;
    let (running, url) = watch::channel(None);
    let (kills, asked) = mpsc::channel(MAX_KILLS);
    tokio::spawn(keep(name, folder, running, asked));
    let forward = Forward::new(name, url, PATIENCE)?;
    Ok(Router::new()
        .push(Router::with_path("kill").post(Kill { name, guard, kills }))
        .push(Router::with_path("{**rest}").goal(forward)))
}

/// The way back to the request that asked for a kill.
type Asker = oneshot::Sender<Killed>;

#[derive(Serialize)]
struct Killed {
    /// The process that was killed.
    killed: u32,
    /// The process that took its place.
    pid: u32,
    /// The time from the kill until the new process listened, in milliseconds.
    ms: u128,
}

struct Running {
    child: Child,
    pid: u32,
    url: String,
    /// The pipe that closes when the book's process ends; then the child ends, too.
    _stdin: Option<ChildStdin>,
}

/// Keeps one process running, and its address in `running`.
async fn keep(
    name: &str,
    folder: TempDir,
    running: watch::Sender<Option<String>>,
    mut kills: mpsc::Receiver<Asker>,
) {
    let mut pause = PAUSE;
    let mut killed: Option<(u32, Instant, Asker)> = None;
    loop {
        let started = Instant::now();
        let why = match start(name, folder.path()).await {
            Err(error) => format!("it did not start: {error:#}"),
            Ok(Running { mut child, pid, url, _stdin }) => {
                running.send_replace(Some(url));
                if let Some((killed, at, asker)) = killed.take() {
                    let ms = at.elapsed().as_millis();
                    // The asker may be gone.
                    drop(asker.send(Killed { killed, pid, ms }));
                }
                tokio::select! {
                    Some(asker) = next(&mut kills) => {
                        // Requests from now on wait for the next process.
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
            tracing::error!("{name}: {why}; it starts again in {pause:?}");
            sleep(pause).await;
            pause = MAX_PAUSE.min(2 * pause);
        } else {
            tracing::warn!("{name}: {why}; it starts again");
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
async fn start(name: &str, folder: &Path) -> Result<Running> {
    // On Linux this is the program that runs, even where Cargo has built
    // something newer meanwhile.
    let program = if cfg!(target_os = "linux") {
        PathBuf::from("/proc/self/exe")
    } else {
        env::current_exe()?
    };
    let mut command = Command::new(program);
    command
        .arg(name)
        .arg(folder)
        .env("ADDR", "127.0.0.1:0")
        .env("FEED_DIR", folder)
        .env("FEED_KEEP", KEEP)
        .env_remove("FEED_AGE")
        .env_remove("REDIS_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    // The end of the book ends it, and not the terminal's Ctrl-C, so that it can clean up.
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
struct Kill {
    name: &'static str,
    guard: Guard,
    kills: mpsc::Sender<Asker>,
}

#[handler]
impl Kill {
    async fn handle(&self, req: &Request) -> Result<Json<Killed>, StatusError> {
        (self.guard)(req)?;
        let (asker, answer) = oneshot::channel();
        let killed = async {
            self.kills.send(asker).await.ok()?;
            answer.await.ok()
        };
        let killed = timeout(PATIENCE, killed).await.ok().flatten();
        killed.map(Json).ok_or_else(|| not_there(self.name))
    }
}
