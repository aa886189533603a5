//! The program that a check looks at: a process of its own, or a server somewhere.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, mem};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder, Response};
use tempfile::TempDir;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader,
};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::events::{Events, why};
use crate::fault::Fault;

/// How long a check waits for something that has to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a program may take to listen.
const START: Duration = Duration::from_secs(10);
/// How long a program may take to end after a signal. The book's programs take 5 s at most.
const STOP: Duration = Duration::from_secs(8);
/// Characters of stderr that a fault shows: its end.
const SAID: usize = 2_000;
/// The variables that a program gets from the environment of the check.
const INHERITED: [&str; 3] = ["PATH", "HOME", "TMPDIR"];

/// The program that a check looks at. It starts when the check first needs it, and ends
/// with the check.
pub struct Subject {
    source: Source,
    url: Option<String>,
    process: Option<Process>,
    variables: Vec<(String, String)>,
    client: reqwest::Client,
    patience: Duration,
}

enum Source {
    /// A program, with a folder of its own to work in.
    Program(PathBuf, TempDir),
    /// A server that somebody else has started.
    Server,
}

/// How a program has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none where a signal has ended it.
    pub code: Option<i32>,
    pub took: Duration,
}

impl Subject {
    /// A program that is compiled.
    pub fn program(path: &Path) -> Result<Self, Fault> {
        let folder = tempfile::tempdir().map_err(Fault::unable)?;
        Ok(Self::new(Source::Program(path.into(), folder), None))
    }

    /// A server at this address, as in `http://127.0.0.1:8698`.
    pub fn at(url: &str) -> Self {
        let url = url.trim_end_matches('/').to_string();
        Self::new(Source::Server, Some(url))
    }

    fn new(source: Source, url: Option<String>) -> Self {
        // The environment's proxy is not for servers that run here.
        let client = reqwest::Client::builder().no_proxy().build();
        Self {
            source,
            url,
            process: None,
            variables: Vec::new(),
            client: client.unwrap_or_default(),
            patience: PATIENCE,
        }
    }

    /// Waits this long for each thing from now on.
    pub fn patience(&mut self, time: Duration) {
        self.patience = time;
    }

    /// Gives the program a variable, for its next start.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        self.path()?;
        self.variables.push((name.into(), value.into()));
        Ok(())
    }

    /// The folder in which the program works: empty at first.
    pub fn folder(&self) -> Result<&Path, Fault> {
        match &self.source {
            Source::Program(_, folder) => Ok(folder.path()),
            Source::Server => Err(Fault::new("process", "", "")),
        }
    }

    /// The program, if it is one.
    fn path(&self) -> Result<&Path, Fault> {
        match &self.source {
            Source::Program(path, _) => Ok(path),
            Source::Server => Err(Fault::new("process", "", "")),
        }
    }

    /// The address of a path on the server, which runs from now on.
    pub async fn url(&mut self, path: &str) -> Result<String, Fault> {
        if let (Some(url), true) = (&self.url, self.is_up()) {
            return Ok(format!("{url}{path}"));
        }
        // After a stop, it comes back where it was.
        let addr = self.url.as_deref().and_then(|url| url.strip_prefix("http://"));
        let addr = addr.unwrap_or("127.0.0.1:0").to_string();
        let mut process = Process::spawn(self.command(&[("ADDR", &addr)])?)?;
        self.url = Some(process.listening().await?);
        self.process = Some(process);
        Ok(format!("{}{path}", self.url.as_deref().unwrap_or_default()))
    }

    fn is_up(&self) -> bool {
        self.process.is_some() || matches!(self.source, Source::Server)
    }

    fn command(&self, variables: &[(&str, &str)]) -> Result<Command, Fault> {
        let mut command = Command::new(self.path()?);
        let inherited =
            INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?)));
        command
            .env_clear()
            .envs(inherited)
            .envs(variables.iter().copied())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder()?)
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs the program with these arguments: a client, or one that only prints.
    pub fn run(&self, arguments: &[&str]) -> Result<Run, Fault> {
        let mut command = self.command(&[])?;
        command.args(arguments);
        let mut process = Process::spawn(command)?;
        let stdout = process.stdout.take();
        let stdout = stdout.ok_or_else(|| Fault::unable("it has no stdout"))?;
        Ok(Run { process, stdout, patience: self.patience })
    }

    /// A request that a check completes and sends.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
    ) -> Result<RequestBuilder, Fault> {
        let url = self.url(path).await?;
        Ok(self.client.request(method, url))
    }

    /// Sends a request, and waits for the head of the response.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Fault> {
        match timeout(self.patience, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                Err(Fault::new("unreachable", "an answer", why(&error)))
            }
            Err(_) => Err(Fault::silent("an answer", self.patience)),
        }
    }

    /// The response to a GET request, as soon as its head is there.
    pub async fn get(&mut self, path: &str) -> Result<Response, Fault> {
        let request = self.request(Method::GET, path).await?;
        self.send(request).await
    }

    /// The response to a POST request with this text.
    pub async fn post(
        &mut self,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<Response, Fault> {
        let request = self.request(Method::POST, path).await?.body(body);
        self.send(request).await
    }

    /// Connects to a stream of events, and returns when its head is there.
    pub async fn events(&mut self, path: &str) -> Result<Events, Fault> {
        let request = self.request(Method::GET, path).await?;
        self.events_of(request).await
    }

    /// Sends a request, whose response must be a stream of events.
    pub async fn events_of(&self, request: RequestBuilder) -> Result<Events, Fault> {
        let response = self.send(request).await?;
        has_status(&response, 200)?;
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("text/event-stream") {
            let came = format!("Content-Type: {kind}");
            return Err(Fault::new("type", "Content-Type: text/event-stream", came));
        }
        Ok(Events::new(response, self.patience))
    }

    /// A connection to the server, on which nothing has been sent.
    pub async fn socket(&mut self) -> Result<TcpStream, Fault> {
        let url = self.url("").await?;
        let addr = url.trim_start_matches("http://");
        let connect = timeout(self.patience, TcpStream::connect(addr)).await;
        let connected =
            connect.map_err(|_| Fault::silent("an answer", self.patience))?;
        connected.map_err(|error| Fault::new("unreachable", "an answer", error))
    }

    /// Sends bytes as they are, and returns all that comes back until this text has come,
    /// or until the server closes the connection. Without a text, it has to close it.
    pub async fn raw(
        &mut self,
        request: &str,
        until: Option<&str>,
    ) -> Result<String, Fault> {
        let mut socket = self.socket().await?;
        let mut answer = Vec::new();
        let read = async {
            socket.write_all(request.as_bytes()).await?;
            let mut buffer = [0; 4096];
            loop {
                match socket.read(&mut buffer).await? {
                    0 => return Ok(()),
                    count => answer.extend_from_slice(&buffer[..count]),
                }
                let text = String::from_utf8_lossy(&answer);
                if until.is_some_and(|until| text.contains(until)) {
                    return Ok::<_, std::io::Error>(());
                }
            }
        };
        let read = timeout(self.patience, read).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        match read {
            Ok(Ok(())) => Ok(text),
            Ok(Err(error)) if text.is_empty() => {
                Err(Fault::new("unreachable", "an answer", error))
            }
            Ok(Err(_)) => Ok(text), // a reset behind the answer
            Err(_) if text.is_empty() => {
                Err(Fault::silent("an answer", self.patience))
            }
            Err(_) => Err(Fault::new(
                "silent",
                until.map_or("the end of the answer".into(), |text| {
                    format!("{text:?}")
                }),
                text,
            )),
        }
    }

    /// Asks the program to end, as Ctrl-C and `kill` do, and waits until it has.
    pub async fn stop(&mut self) -> Result<Ended, Fault> {
        self.path()?;
        self.url("").await?;
        let Some(mut process) = self.process.take() else {
            return Err(Fault::unable("it does not run"));
        };
        let start = Instant::now();
        process.terminate()?;
        let ended = timeout(STOP, process.child.wait()).await;
        let ended =
            ended.map_err(|_| Fault::silent("the end of the program", STOP))?;
        let status = ended.map_err(Fault::unable)?;
        Ok(Ended { code: status.code(), took: start.elapsed() })
    }

    /// Sends the signal of [`Subject::stop`], and waits for nothing.
    pub fn terminate(&self) -> Result<(), Fault> {
        self.path()?;
        match &self.process {
            Some(process) => process.terminate(),
            None => Err(Fault::unable("it does not run")),
        }
    }

    /// Kills the program, as a power failure would. It starts again, at the same address,
    /// when it is next needed.
    pub async fn kill(&mut self) -> Result<(), Fault> {
        self.path()?;
        if let Some(mut process) = self.process.take() {
            process.child.kill().await.map_err(Fault::unable)?;
        }
        Ok(())
    }

    /// The last that the program has written to stderr.
    pub fn stderr(&self) -> String {
        self.process.as_ref().map(Process::said).unwrap_or_default()
    }
}

/// Goes on if a response has this status, or else ends the check.
pub fn has_status(response: &Response, status: u16) -> Result<(), Fault> {
    let came = response.status();
    if came.as_u16() == status {
        return Ok(());
    }
    // A check asks for more than one path.
    let path = response.url().path();
    Err(Fault::new("status", status, format_args!("{path}: {came}")))
}

/// A program that runs with arguments, and whose stdout a check reads.
pub struct Run {
    process: Process,
    stdout: BufReader<ChildStdout>,
    patience: Duration,
}

impl Run {
    /// The next line on stdout, without its end, which must come.
    pub async fn line(&mut self) -> Result<String, Fault> {
        let mut line = String::new();
        let read = timeout(self.patience, self.stdout.read_line(&mut line)).await;
        match read {
            Err(_) => Err(Fault::silent("a line", self.patience)),
            Ok(Err(error)) => Err(Fault::unable(error)),
            Ok(Ok(0)) => Err(Fault::new("ended", "a line", self.process.said())),
            Ok(Ok(_)) => Ok(line.trim_end_matches(['\r', '\n']).to_string()),
        }
    }

    /// The line that comes on stdout within this time, if one does.
    pub async fn line_within(&mut self, time: Duration) -> Option<String> {
        let patience = mem::replace(&mut self.patience, time);
        let line = self.line().await;
        self.patience = patience;
        line.ok()
    }

    /// All that the program writes to stdout until it ends by itself, and its exit code.
    pub async fn ended(&mut self) -> Result<(String, Option<i32>), Fault> {
        let mut rest = String::new();
        let all = async {
            self.stdout.read_to_string(&mut rest).await?;
            self.process.child.wait().await
        };
        match timeout(self.patience, all).await {
            Err(_) => Err(Fault::silent("the end of the program", self.patience)),
            Ok(Err(error)) => Err(Fault::unable(error)),
            Ok(Ok(status)) => Ok((rest, status.code())),
        }
    }

    /// Asks the program to end, as Ctrl-C and `kill` do.
    pub fn terminate(&self) -> Result<(), Fault> {
        self.process.terminate()
    }

    /// The last that it has written to stderr.
    pub fn stderr(&self) -> String {
        self.process.said()
    }
}

struct Process {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Arc<Mutex<String>>,
    /// Ends when stderr does.
    reads_stderr: Option<JoinHandle<()>>,
}

impl Process {
    fn spawn(mut command: Command) -> Result<Self, Fault> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(Fault::unable)?;
        let stderr = Arc::<Mutex<String>>::default();
        let collect = |pipe| tokio::spawn(collect(pipe, Arc::clone(&stderr)));
        let reads_stderr = child.stderr.take().map(collect);
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Self { child, stdout, stderr, reads_stderr })
    }

    /// Waits until it says where it listens. Its stdout is read further on, so that it
    /// never waits for a reader.
    async fn listening(&mut self) -> Result<String, Fault> {
        let Some(mut stdout) = self.stdout.take() else {
            return Err(Fault::unable("it has no stdout"));
        };
        let mut said = String::new();
        let url = async {
            let mut line = String::new();
            while stdout.read_line(&mut line).await.is_ok_and(|count| count > 0) {
                if let Some(url) = line.trim_end().strip_prefix("listening on ") {
                    return Some(url.to_string());
                }
                said += &mem::take(&mut line);
            }
            None
        };
        match timeout(START, url).await {
            Ok(Some(url)) => {
                let others = Arc::<Mutex<String>>::default();
                tokio::spawn(collect(stdout, others));
                Ok(url)
            }
            Ok(None) => {
                // Stdout has ended, so the rest of stderr is on its way.
                if let Some(reads) = self.reads_stderr.take() {
                    drop(timeout(STOP, reads).await);
                }
                let came = format!("{said}{}", self.said());
                Err(Fault::new("ended", "listening on http://…", came))
            }
            Err(_) => Err(Fault::new("deaf", "listening on http://…", said)),
        }
    }

    fn terminate(&self) -> Result<(), Fault> {
        #[cfg(unix)]
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            use nix::{sys::signal, unistd::Pid};
            return signal::kill(Pid::from_raw(id), signal::Signal::SIGTERM)
                .map_err(Fault::unable);
        }
        Err(Fault::unable("it takes no signal"))
    }

    fn said(&self) -> String {
        let said = self.stderr.lock().map(|said| said.clone()).unwrap_or_default();
        let skip = said.chars().count().saturating_sub(SAID);
        said.chars().skip(skip).collect()
    }
}

/// Collects what comes out of a pipe, and forgets all but the last of it.
async fn collect(mut pipe: impl AsyncRead + Unpin, into: Arc<Mutex<String>>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let Ok(mut said) = into.lock() else { return };
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
        let skip = said.chars().count().saturating_sub(2 * SAID);
        if skip > 0 {
            *said = said.chars().skip(skip).collect();
        }
    }
}
