//! A program of the book, started for a test.

use std::fs;
use std::future::ready;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

#[cfg(unix)]
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Response;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[cfg(unix)]
use crate::binaries::with_open_files;
use crate::binaries::{Ended, example, run};
use crate::events::Events;
use crate::process::collect;
use crate::wait::{started, until, within};

/// A program of the book as a process of its own, on a port of its own. Dropping it ends
/// the process.
pub struct Program {
    child: Child,
    /// The folder that it works in, if it has one of its own.
    folder: Option<TempDir>,
    /// As in `http://127.0.0.1:40123`.
    pub url: String,
    stderr: Arc<Mutex<String>>,
    /// Whether it may say more than one line on stdout. No example does.
    has_many_words: bool,
    /// The lines on stdout that do not say where it listens.
    stdout: Arc<Mutex<Vec<String>>>,
    /// Ends when stdout does.
    reads_stdout: Option<JoinHandle<()>>,
}

impl Program {
    /// Starts an example, and returns when it says that it listens.
    pub async fn start(name: &str) -> Self {
        Self::start_at(name, "127.0.0.1:0").await
    }

    /// Starts an example that listens on this address.
    pub async fn start_at(name: &str, addr: &str) -> Self {
        Self::start_with(name, &[("ADDR", addr)]).await
    }

    /// Starts an example with these variables in its environment.
    pub async fn start_with(name: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = example(name);
        command.env("ADDR", "127.0.0.1:0").envs(variables.iter().copied());
        Self::spawn(&mut command).await
    }

    /// Starts an example that may have no more than this many files open.
    #[cfg(unix)]
    pub async fn start_with_open_files(name: &str, count: usize) -> Self {
        Self::start_with_open_files_and(name, count, &[]).await
    }

    /// The same, with these variables in its environment.
    #[cfg(unix)]
    pub async fn start_with_open_files_and(
        name: &str,
        count: usize,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = with_open_files(name, count);
        command.envs(variables.iter().copied());
        Self::spawn(&mut command).await
    }

    /// Asserts that its page contains this text, and that it shows text as text.
    pub async fn assert_page_with(&self, script: &str) {
        let answer = self.get("/").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
        let page = answer.text().await.unwrap();
        assert!(page.contains(script), "{page}");
        assert!(!page.contains("innerHTML"));
    }

    /// Starts the example again on addresses where it cannot listen, among them the one
    /// that this process has taken, and asserts that it ends with one clear line each time.
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

    /// Gives the process a folder of its own, which is removed after it.
    pub(crate) fn in_folder(mut self, folder: TempDir) -> Self {
        self.folder = Some(folder);
        self
    }

    /// Lets the process say more than one line on stdout.
    pub fn of_many_words(mut self) -> Self {
        self.has_many_words = true;
        self
    }

    /// The copy of the book that `Program::serve_book` serves.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("a book is served").path()
    }

    /// Starts a command, and returns when it says that it listens.
    pub(crate) async fn spawn(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        collect(child.stderr.take().unwrap(), Arc::clone(&stderr));
        let (said, ready) = tokio::sync::oneshot::channel();
        let pipe = BufReader::new(child.stdout.take().unwrap());
        let stdout = Arc::new(Mutex::new(Vec::new()));
        let others = Arc::clone(&stdout);
        let reads_stdout = thread::spawn(move || {
            let mut said = Some(said);
            for line in pipe.lines().map_while(Result::ok) {
                let url = line.strip_prefix("listening on ");
                match (url, said.take_if(|_| url.is_some())) {
                    (Some(url), Some(said)) => drop(said.send(url.to_string())),
                    _ => others.lock().unwrap().push(line),
                }
            }
        });
        let mut program = Self {
            child,
            folder: None,
            url: String::new(),
            stderr,
            has_many_words: false,
            stdout,
            reads_stdout: Some(reads_stdout),
        };
        program.url = started("listening on …", ready).await.expect("it runs");
        program
    }

    /// The response to a GET request, as soon as its head is there.
    pub async fn get(&self, path: &str) -> Response {
        self.send(self.request("GET", path)).await
    }

    /// A request that a test completes and sends.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.url);
        reqwest::Client::new().request(method.parse().unwrap(), url)
    }

    /// Sends a request, and waits for the head of the response.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Response {
        within("a response", request.send()).await.expect("a response")
    }

    /// Connects to a stream, and returns when its head is there.
    pub async fn events(&self, path: &str) -> Events {
        self.events_of(self.request("GET", path)).await
    }

    /// Sends a request, whose response must be a stream.
    pub async fn events_of(&self, request: reqwest::RequestBuilder) -> Events {
        let response = self.send(request).await;
        assert_eq!(response.status(), 200);
        Events::of(response)
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

    /// Asks the process to end, as `kill` does.
    #[cfg(unix)]
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits until the process has ended by itself, and returns its exit code.
    pub async fn exit_code(&mut self) -> Option<i32> {
        let mut ended = || ready(self.child.try_wait().unwrap().is_some());
        until("the program ends", &mut ended).await;
        self.child.wait().unwrap().code()
    }

    /// All that the program has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The lines on stdout so far, but for the one that says where it listens.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
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
        self.status("VmRSS:")
    }

    /// The most bytes of the process that have been in memory at a time.
    #[cfg(target_os = "linux")]
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    #[cfg(target_os = "linux")]
    fn status(&self, name: &str) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }

    /// The threads of the process.
    #[cfg(target_os = "linux")]
    pub fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }

    /// Asserts that the events of a stream arrive when they happen: each in its own second,
    /// and not together in a burst. On a busy machine one look may come late, so there are
    /// several; a program that collects events fails them all.
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

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
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
        } else if let Some(reads) =
            self.reads_stdout.take_if(|_| !self.has_many_words)
        {
            reads.join().expect("stdout is text");
            let others = self.stdout();
            assert!(others.is_empty(), "stdout has one line, not these: {others:?}");
        }
    }
}
