//! A real `redis-server` for one test, which can be killed, paused, started again, and
//! asked.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::process::collect;
use crate::wait::{until, within};

/// Everything that Redis acknowledges is on disk, unless a test asks for something else.
const SETTINGS: [(&str, &str); 4] = [
    ("bind", "127.0.0.1"),
    ("save", ""),
    ("appendonly", "yes"),
    ("appendfsync", "always"),
];

/// A `redis-server` with a folder and a port of its own. Dropping it ends the process.
pub struct Redis {
    child: Child,
    port: u16,
    settings: Vec<(String, String)>,
    folder: TempDir,
    stdout: Arc<Mutex<String>>,
}

impl Redis {
    /// Starts one whose events survive a crash.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one with these settings, as in `redis.conf`, besides [`SETTINGS`].
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let settings: Vec<_> = SETTINGS
            .iter()
            .chain(settings)
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let stdout = Arc::default();
        let child = spawn(port, &settings, &folder, &stdout);
        let redis = Self { child, port, settings, folder, stdout };
        redis.answers().await;
        redis
    }

    /// As in `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`Redis::kill`], and returns when it has loaded its events.
    pub async fn start_again(&mut self) {
        self.child = spawn(self.port, &self.settings, &self.folder, &self.stdout);
        self.answers().await;
    }

    /// Kills another one, and answers at its address from now on, as after a failover.
    pub async fn take_over(&mut self, other: &mut Self) {
        other.kill();
        self.ask(&["CONFIG", "SET", "port", &other.port.to_string()]).await;
        self.port = other.port;
    }

    /// Lets it accept connections from now on, but answer nothing.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Makes this a replica of another one.
    pub async fn replicate(&self, primary: &Self) {
        self.ask(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]).await;
    }

    /// Makes this a primary.
    pub async fn promote(&self) {
        self.ask(&["REPLICAOF", "NO", "ONE"]).await;
    }

    /// Asks a command, whose answer must not be an error.
    pub async fn ask<A: AsRef<[u8]>>(&self, command: &[A]) -> Value {
        let asked = within("an answer of Redis", ask(self.port, command)).await;
        asked.expect("a connection to Redis").expect("no error")
    }

    /// Asks a command whose answer is a number.
    pub async fn count<A: AsRef<[u8]>>(&self, command: &[A]) -> usize {
        self.ask(command).await.as_u64().expect("a number") as usize
    }

    async fn answers(&self) {
        until("Redis answers", async || match ask(self.port, &["PING"]).await {
            Ok(Ok(pong)) => pong == "PONG",
            Ok(Err(error)) => error.starts_with("NOAUTH"),
            Err(_) => false,
        })
        .await;
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            let stdout = self.stdout.lock().unwrap();
            eprintln!("--- what Redis wrote to stdout:\n{stdout}---");
        }
    }
}

/// An address that leads to one Redis, and later to another one: that of a proxy, or of a
/// service. Connections that are open stay where they are.
pub struct Relay {
    addr: SocketAddr,
    to: watch::Sender<String>,
    gate: watch::Sender<Gate>,
    connections: Arc<AtomicUsize>,
    accepts: JoinHandle<()>,
}

impl Relay {
    pub async fn to(redis: &Redis) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (to, leads) = watch::channel(redis.addr());
        let (gate, opens) = watch::channel(Gate::Open);
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        let accepts = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let to = leads.borrow().clone();
                let opens = opens.clone();
                tokio::spawn(async move {
                    if let Ok(mut redis) = TcpStream::connect(to).await {
                        drop(pass_on(&mut client, &mut redis, opens).await);
                    }
                });
            }
        });
        Self { addr, to, gate, connections, accepts }
    }

    /// Lets these answers pass from now on, and keeps the others back.
    pub fn let_pass(&self, answers: Gate) {
        self.gate.send_replace(answers);
    }

    /// Leads to this Redis from now on.
    pub fn lead_to(&self, redis: &Redis) {
        self.to.send_replace(redis.addr());
    }

    /// As in `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// How many connections have been opened.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// The answers of Redis that a [`Relay`] lets pass.
#[derive(Clone, Copy, PartialEq)]
pub enum Gate {
    Open,
    /// Only those on connections that wait with `XREAD`.
    Waiting,
    Shut,
}

async fn pass_on(
    client: &mut TcpStream,
    redis: &mut TcpStream,
    mut gate: watch::Receiver<Gate>,
) -> std::io::Result<()> {
    let mut waits = false;
    let mut asked = [0; 65_536];
    let mut answered = [0; 65_536];
    let mut kept = Vec::new();
    loop {
        let now = *gate.borrow_and_update();
        if now == Gate::Open || now == Gate::Waiting && waits {
            client.write_all(&kept).await?;
            kept.clear();
        }
        tokio::select! {
            count = client.read(&mut asked) => {
                let asked = &asked[..count?];
                waits |= asked.windows(5).any(|word| word == b"XREAD");
                redis.write_all(asked).await?;
                if asked.is_empty() {
                    return Ok(());
                }
            }
            count = redis.read(&mut answered) => match count? {
                0 => return Ok(()),
                count => kept.extend_from_slice(&answered[..count]),
            },
            Ok(()) = gate.changed() => {}
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

fn spawn(
    port: u16,
    settings: &[(String, String)],
    folder: &TempDir,
    stdout: &Arc<Mutex<String>>,
) -> Child {
    let mut command = Command::new("redis-server");
    command.arg("--port").arg(port.to_string());
    command.arg("--dir").arg(folder.path());
    for (name, value) in settings {
        command.arg(format!("--{name}"));
        match value.as_str() {
            "" => command.arg(value),
            several => command.args(several.split(' ')),
        };
    }
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.expect("`redis-server` is installed");
    collect(child.stdout.take().unwrap(), Arc::clone(stdout));
    child
}

/// A port on which nobody listens, and that is not given to somebody else at once.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Sends one command on a connection of its own, and reads what Redis says: an answer, or
/// an error. Bytes that are no text are replaced.
async fn ask<A: AsRef<[u8]>>(
    port: u16,
    command: &[A],
) -> std::io::Result<Result<Value, String>> {
    let mut request = format!("*{}\r\n", command.len()).into_bytes();
    for argument in command.iter().map(AsRef::as_ref) {
        request.extend(format!("${}\r\n", argument.len()).bytes());
        request.extend(argument);
        request.extend(b"\r\n");
    }
    let mut socket = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    socket.write_all(&request).await?;
    answer(&mut socket).await
}

/// One answer in Redis' protocol (RESP 2).
async fn answer(
    from: &mut BufReader<TcpStream>,
) -> std::io::Result<Result<Value, String>> {
    let mut line = String::new();
    from.read_line(&mut line).await?;
    let Some((kind, rest)) = line.trim_end().split_at_checked(1) else {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    };
    let number = || rest.parse::<i64>().unwrap();
    Ok(Ok(match kind {
        "+" => rest.into(),
        "-" => return Ok(Err(rest.into())),
        ":" => number().into(),
        "$" | "*" if number() < 0 => Value::Null,
        "$" => {
            let mut bytes = vec![0; number() as usize + 2]; // and the end of the line
            from.read_exact(&mut bytes).await?;
            bytes.truncate(bytes.len() - 2);
            String::from_utf8_lossy(&bytes).into()
        }
        "*" => {
            let mut values = Vec::new();
            for _ in 0..number() {
                match Box::pin(answer(from)).await? {
                    Ok(value) => values.push(value),
                    error => return Ok(error),
                }
            }
            values.into()
        }
        _ => panic!("not Redis: {line}"),
    }))
}
