//! What the tests are written with: the real programs as processes, their streams, and a
//! browser. Every wait has its deadline here; a failing test prints what its program said.

mod chromium;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use eventsource_stream::{Event, Eventsource};
use futures_util::{Stream, StreamExt};
use reqwest::Response;
use salvo::conn::tcp::TcpAcceptor;
use salvo::{Router, Server};
use tempfile::TempDir;

pub use chromium::Browser;

/// How long anything may take that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Waits for a result, but not for ever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited {PATIENCE:?} for: {what}"))
}

/// Waits until a condition holds, but not for ever.
pub async fn until<F: Future<Output = bool>>(
    what: &str,
    mut holds: impl FnMut() -> F,
) {
    let mut glances = tokio::time::interval(GLANCE);
    within(what, async {
        while !holds().await {
            glances.tick().await;
        }
    })
    .await;
}

/// Builds a program, and says where it is. Cargo does nothing where nothing changed.
fn binary(package: &str, kind: &str, name: &str) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap();
    let built = built.get_or_insert_default();
    let build = || {
        let cargo = escargot::CargoBuild::new()
            .manifest_path(root().join("Cargo.toml"))
            .package(package);
        let cargo =
            if kind == "example" { cargo.example(name) } else { cargo.bin(name) };
        cargo.run().expect("the program builds").path().to_path_buf()
    };
    built.entry(name.to_string()).or_insert_with(build).clone()
}

/// Lets time pass in which something must *not* happen: what does, is waited for.
pub async fn watch(time: Duration) {
    drop(tokio::time::timeout(time, std::future::pending::<()>()).await);
}

/// A program of the book as a process of its own, on a port of its own. Dropping it ends
/// the process.
pub struct Program {
    child: Child,
    /// The folder that it works in, where it has one of its own.
    folder: Option<TempDir>,
    /// As in `http://127.0.0.1:40123`.
    pub url: String,
    stderr: Arc<Mutex<String>>,
}

/// How a process ended by itself.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// Starts an example, and returns when it says that it listens.
    pub async fn start(name: &str) -> Self {
        Self::start_at(name, "127.0.0.1:0").await
    }

    pub async fn start_at(name: &str, addr: &str) -> Self {
        let mut command = Command::new(binary(name, "example", name));
        Self::spawn(command.env("ADDR", addr)).await
    }

    /// Starts the example again on addresses where it cannot listen, this one's among
    /// them: each time it must end with one clear line.
    pub fn assert_bad_addresses_are_one_clear_line(&self, name: &str) {
        let taken = self.url.strip_prefix("http://").unwrap();
        for addr in [taken, "banana", "127.0.0.1:99999"] {
            let mut command = Command::new(binary(name, "example", name));
            let Ended { code, stdout, stderr } =
                ended(command.env("ADDR", addr).output().unwrap());
            assert_eq!(code, Some(1));
            assert_eq!(stdout, "");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            assert!(
                stderr.contains(addr) && stderr.contains("ADDR=127.0.0.1:0"),
                "{stderr}"
            );
        }
    }

    /// Serves a copy of the book, as `cargo book` does.
    pub async fn serve_book() -> Self {
        let folder = copy_book();
        let mut command = book(folder.path());
        let mut served = Self::spawn(command.env("BOOK_ADDR", "127.0.0.1:0")).await;
        served.folder = Some(folder);
        served
    }

    /// The copy of the book that [`Program::serve_book`] serves.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("a book is served").path()
    }

    async fn spawn(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        collect(child.stderr.take().unwrap(), Arc::clone(&stderr));
        let (said, ready) = tokio::sync::oneshot::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            let mut said = Some(said);
            for line in stdout.lines().map_while(Result::ok) {
                let url = line.strip_prefix("listening on ");
                if let (Some(url), Some(said)) =
                    (url, said.take_if(|_| url.is_some()))
                {
                    drop(said.send(url.to_string()));
                }
            }
        });
        let mut program = Self { child, folder: None, url: String::new(), stderr };
        program.url = within("listening on …", ready).await.expect("it runs");
        program
    }

    pub async fn get(&self, path: &str) -> Response {
        self.send(self.request("GET", path)).await
    }

    /// A request that a test completes and sends.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.url);
        reqwest::Client::new().request(method.parse().unwrap(), url)
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Response {
        within("a response", request.send()).await.expect("a response")
    }

    /// Connects to a stream, and returns when its head is there.
    pub async fn events(&self, path: &str) -> Events {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200);
        Events(Box::pin(response.bytes_stream().eventsource()))
    }

    /// What the program wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The sockets that the process has open, its listener among them.
    #[cfg(target_os = "linux")]
    pub fn sockets(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        let links = fs::read_dir(folder).unwrap().flatten();
        // A descriptor may close between the two looks.
        let targets = links.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    #[cfg(target_os = "linux")]
    pub fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }

    /// The first chunks of a stream's body, as they arrive, against the recording. With
    /// `RECORD=1` in the environment, they are the new recording instead.
    pub async fn assert_transcript(&self, name: &str, path: &str, chunks: usize) {
        let file = root().join("examples").join(name).join("transcript.jsonl");
        let mut body = self.get(path).await.bytes_stream();
        let start = Instant::now();
        let mut lines = Vec::new();
        for _ in 0..chunks {
            let chunk = within("a chunk", body.next()).await.unwrap().unwrap();
            let ms = start.elapsed().as_millis() as u64;
            let text = String::from_utf8(chunk.to_vec()).unwrap();
            lines.push(serde_json::json!({ "ms": ms, "text": text }));
        }
        if env::var_os("RECORD").is_some() {
            let text: String =
                lines.iter().map(|line| format!("{line}\n")).collect();
            fs::write(&file, text).unwrap();
        }
        let recorded = fs::read_to_string(&file).unwrap();
        let recorded: Vec<serde_json::Value> = recorded
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let texts = |lines: &[serde_json::Value]| {
            lines.iter().map(|line| line["text"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(texts(&lines), texts(&recorded), "RECORD=1 records it anew");
    }

    /// Whether the events of a stream arrive when they happen: each in the second that is
    /// its own, and not together in a burst. On a busy machine one look may come late, so
    /// there are several; a program that collects events fails them all.
    pub async fn assert_one_a_second(&self, path: &str) {
        until("one event in each second", async || {
            let start = Instant::now();
            let mut events = self.events(path).await;
            for second in 0..3 {
                events.data().await;
                if start.elapsed().as_secs() != second {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Ends the process before the test is over.
    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("--- what the program wrote to stderr:\n{}---", self.stderr());
        }
    }
}

/// Serves an experiment in this process, on a port of its own, and says where.
pub async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::new(TcpAcceptor::try_from(listener).unwrap());
    tokio::spawn(server.serve(router));
    url
}

/// A stream of events, as a client of the format sees it.
pub struct Events(Pin<Box<dyn Stream<Item = Parsed> + Send>>);

type Parsed = Result<Event, eventsource_stream::EventStreamError<reqwest::Error>>;

impl Events {
    /// The next event, or `None` where the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        let event = within("an event", self.0.next()).await;
        event.map(|event| event.expect("a whole event"))
    }

    /// The data of the next event, which must come.
    pub async fn data(&mut self) -> String {
        self.next().await.expect("the stream goes on").data
    }
}

/// The command behind `cargo book`, in the book of this folder.
pub fn book(folder: &Path) -> Command {
    let mut command = Command::new(binary("site", "bin", "book"));
    command.current_dir(folder);
    command
}

/// Runs `cargo book` with these arguments to its end.
pub fn run_book(folder: &Path, arguments: &[&str]) -> Ended {
    ended(book(folder).args(arguments).output().unwrap())
}

/// A copy of what the book is made of, for a test that changes it.
pub fn copy_book() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["src", "theme", "examples", "tests/pages"] {
        copy(&root().join(name), &folder.path().join(name));
    }
    for name in ["book.toml", "tests/browser.rs"] {
        fs::copy(root().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).unwrap();
        }
    }
}

fn ended(output: std::process::Output) -> Ended {
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Collects what a pipe says, so that the process never waits for a reader.
fn collect(mut pipe: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            into.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
}
