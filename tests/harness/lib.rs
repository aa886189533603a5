//! What the tests are written with: the real programs as processes, their streams, and a
//! browser. Every wait has its deadline here; a failing test prints what its program said.

mod browser;
pub mod cases;
pub mod follow;
#[cfg(unix)]
pub mod redis;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::ready;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use eventsource_stream::{Event, Eventsource};
use futures_util::{Stream, StreamExt};
#[cfg(unix)]
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Body, Response};
use salvo::conn::tcp::TcpAcceptor;
use salvo::{Router, Server};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub use browser::Browser;

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

/// The command that starts an example, which is built by now. `model` is one of the package
/// `llm`.
pub fn example(name: &str) -> Command {
    let package = if name == "model" { "llm" } else { name };
    let mut command = Command::new(binary(package, "example", name));
    for variable in [
        "OPENAI_BASE_URL",
        "OPENAI_API_KEY",
        "OPENAI_MODEL",
        "REDIS_URL",
        "FEED_DIR",
        "FEED_KEEP",
        "FEED_AGE",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Runs an example to its end, with these in its environment.
pub fn run(name: &str, variables: &[(&str, &str)]) -> Ended {
    ended(example(name).envs(variables.iter().copied()).output().unwrap())
}

/// Lets time pass in which something must *not* happen: what does, is waited for.
pub async fn pause(time: Duration) {
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
        Self::start_with(name, &[("ADDR", addr)]).await
    }

    /// Starts an example with these in its environment.
    pub async fn start_with(name: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = example(name);
        command.env("ADDR", "127.0.0.1:0").envs(variables.iter().copied());
        Self::spawn(&mut command).await
    }

    /// Its page must have this in it, and show text as text.
    pub async fn assert_page_with(&self, script: &str) {
        let answer = self.get("/").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
        let page = answer.text().await.unwrap();
        assert!(page.contains(script), "{page}");
        assert!(!page.contains("innerHTML"));
    }

    /// Starts the example again on addresses where it cannot listen, this one's among
    /// them: each time it must end with one clear line.
    pub fn assert_bad_addresses_are_one_clear_line(&self, name: &str) {
        let taken = self.url.strip_prefix("http://").unwrap();
        for addr in [taken, "banana", "127.0.0.1:99999"] {
            let Ended { code, stdout, stderr } = run(name, &[("ADDR", addr)]);
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
        self.events_of(self.request("GET", path)).await
    }

    pub async fn events_of(&self, request: reqwest::RequestBuilder) -> Events {
        let response = self.send(request).await;
        assert_eq!(response.status(), 200);
        Events(Box::pin(response.bytes_stream().eventsource()))
    }

    /// Sends bytes as they are, ends the sending side, and returns all that comes back.
    pub async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        within("an answer and its end", async {
            let mut socket = self.socket().await;
            socket.write_all(request.as_ref()).await.unwrap();
            socket.shutdown().await.unwrap();
            let mut answer = Vec::new();
            // Where the server closes with bytes unread, a reset follows its answer.
            drop(socket.read_to_end(&mut answer).await);
            String::from_utf8(answer).unwrap()
        })
        .await
    }

    /// A connection to the program, on which nothing has been sent.
    pub async fn socket(&self) -> TcpStream {
        let addr = self.url.strip_prefix("http://").unwrap();
        TcpStream::connect(addr).await.unwrap()
    }

    /// A client that asks for a stream, and reads nothing of it as long as it lives.
    pub async fn reader_that_never_reads(&self, path: &str) -> TcpStream {
        let mut socket = self.socket().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        within("an answer", socket.readable()).await.unwrap();
        socket
    }

    /// A connection for many requests to one path.
    pub async fn poster(&self, path: &str) -> Poster {
        Poster { socket: self.socket().await, path: path.into() }
    }

    /// Runs the commands of a recorded session (its lines that begin with `$ `), and
    /// compares what they print. With `RECORD=1`, that is the new recording instead.
    pub fn assert_session(&self, file: &str) {
        assert_recorded(file, &self.session(file));
    }

    /// What the commands of a recorded session print now.
    pub fn session(&self, file: &str) -> String {
        session(file, &[("http://127.0.0.1:8698", &self.url)])
    }

    /// Asks the process to end, as `kill` does.
    #[cfg(unix)]
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits until the process has ended by itself, and says with which code.
    pub async fn exit_code(&mut self) -> Option<i32> {
        let mut ended = || ready(self.child.try_wait().unwrap().is_some());
        until("the program ends", &mut ended).await;
        self.child.wait().unwrap().code()
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

    /// Bytes of the process that are in memory.
    #[cfg(target_os = "linux")]
    pub fn memory(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }

    #[cfg(target_os = "linux")]
    pub fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }

    /// The first chunks of a stream's body, as they arrive, against the recording.
    pub async fn assert_transcript(&self, name: &str, path: &str, chunks: usize) {
        let mut recording = Recording::of(self.get(path).await);
        for _ in 0..chunks {
            recording.chunk().await;
        }
        recording.assert(name);
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

/// A recording below `examples/`. With `RECORD=1`, this text is written there first.
fn recording(file: &str, text: &str) -> String {
    let file = root().join("examples").join(file);
    if env::var_os("RECORD").is_some() {
        fs::write(&file, text).unwrap();
    }
    fs::read_to_string(&file).unwrap_or_else(|_| panic!("RECORD=1 writes {file:?}"))
}

/// What the commands of a recorded session print now, with this instead of that in them.
/// One shell runs them all.
pub fn session(file: &str, instead: &[(&str, &str)]) -> String {
    const END: &str = "\u{1e}";
    let recorded = fs::read_to_string(root().join("examples").join(file)).unwrap();
    let commands: Vec<_> =
        recorded.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    let script = commands.join(&format!("\nprintf '{END}'\n"));
    let script = instead
        .iter()
        .fold(script, |script, (that, this)| script.replace(that, this));
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut session = String::new();
    for (command, printed) in commands.iter().zip(printed.split(END)) {
        session += &format!("$ {command}\n{printed}");
        if !session.ends_with('\n') {
            session.push('\n');
        }
    }
    session
}

/// Compares a text with its recording.
pub fn assert_recorded(file: &str, text: &str) {
    assert_eq!(text, recording(file, text), "RECORD=1 records it anew");
}

/// Compares a text with its recording, save for the numbers in it.
pub fn assert_text_but_numbers(file: &str, text: &str) {
    let words = |text: &str| {
        text.split(|c: char| c.is_ascii_digit())
            .filter(|word| !word.is_empty())
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words(text),
        words(&recording(file, text)),
        "RECORD=1 records it anew"
    );
}

/// A body that is sent in chunks, so that its length is not known before its end.
pub fn chunks(bytes: &[u8]) -> Body {
    let chunks: Vec<_> =
        bytes.chunks(1_500).map(|part| Ok::<_, Infallible>(part.to_vec())).collect();
    Body::wrap_stream(futures_util::stream::iter(chunks))
}

/// Lets this process, and those that it starts from now on, have this many files open.
#[cfg(unix)]
pub fn allow_open_files(count: u64) {
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(most >= count, "`ulimit -Hn` is {most}, and this needs {count}");
    setrlimit(Resource::RLIMIT_NOFILE, now.max(count), most).unwrap();
}

/// Serves an experiment in this process, on a port of its own, and says where.
pub async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::new(TcpAcceptor::try_from(listener).unwrap());
    tokio::spawn(server.serve(router));
    url
}

/// Posts texts one after the other, without waiting for each answer.
pub struct Poster {
    socket: TcpStream,
    path: String,
}

impl Poster {
    /// Posts a text so many times, and waits until each has been accepted.
    pub async fn post(&mut self, text: &str, times: usize) {
        let (path, length) = (&self.path, text.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}"
        );
        let requests = format!("{head}\r\n\r\n{text}").repeat(times);
        let (mut from, mut to) = self.socket.split();
        let answers = async {
            let mut answers = String::new();
            while answers.matches("\r\n\r\n").count() < times {
                let mut buffer = [0; 16_384];
                let count = from.read(&mut buffer).await.unwrap();
                assert!(count > 0, "the server closed: {answers}");
                answers += str::from_utf8(&buffer[..count]).unwrap();
            }
            assert_eq!(answers.matches("HTTP/1.1 2").count(), times, "{answers}");
        };
        let all = async { tokio::join!(to.write_all(requests.as_bytes()), answers) };
        within("all answers", all).await.0.unwrap();
    }
}

/// A stream's body, chunk by chunk as it arrives.
pub struct Recording {
    body: Response,
    start: Instant,
    /// When each chunk arrived, in milliseconds, and its text.
    chunks: Vec<(u64, String)>,
}

impl Recording {
    pub fn of(body: Response) -> Self {
        assert_eq!(body.status(), 200);
        Self { body, start: Instant::now(), chunks: Vec::new() }
    }

    /// Waits for the next chunk.
    pub async fn chunk(&mut self) -> &str {
        let chunk = within("a chunk", self.body.chunk()).await.unwrap().unwrap();
        let ms = self.start.elapsed().as_millis() as u64;
        self.chunks.push((ms, String::from_utf8(chunk.to_vec()).unwrap()));
        &self.chunks.last().unwrap().1
    }

    /// Writes something else for what is another one in each run.
    pub fn mask(&mut self, random: &str, fixed: &str) {
        for (_, text) in &mut self.chunks {
            *text = text.replace(random, fixed);
        }
    }

    /// Compares the chunks, not their times, with the program's `transcript.jsonl`. With
    /// `RECORD=1` in the environment, they are the new recording instead.
    pub fn assert(&self, name: &str) {
        let line = |(ms, text): &(u64, String)| {
            format!("{}\n", serde_json::json!({ "ms": ms, "text": text }))
        };
        let file = format!("{name}/recorded/transcript.jsonl");
        let recorded =
            recording(&file, &self.chunks.iter().map(line).collect::<String>());
        let recorded: Vec<String> = recorded
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| line["text"].as_str().unwrap().to_string())
            .collect();
        let chunks: Vec<_> =
            self.chunks.iter().map(|(_, text)| text.clone()).collect();
        assert_eq!(chunks, recorded, "RECORD=1 records it anew");
    }
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
    for name in
        ["src", "theme", "examples", "tests/pages", "tests/sdk", "bench/recorded"]
    {
        copy(&root().join(name), &folder.path().join(name));
    }
    for name in [
        "book.toml",
        "tests/browser/main.rs",
        "tests/cases.toml",
        "tests/feed/gap.rs",
        "tests/llm/glued.rs",
        "tests/chat/slow.rs",
    ] {
        let to = folder.path().join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(root().join(name), to).unwrap();
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
