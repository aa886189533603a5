//! A run of the panel: one stream through one box, told while it comes. Where this machine
//! does not have the box, a recording of such a run is told instead.

use std::sync::Arc;

use bytes::Bytes;
use salvo::conn::tcp::TcpAcceptor;
use salvo::prelude::*;
use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Duration, Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Part};
use super::events::Listen;
use super::kinds::{Kind, Wish};
use super::middlebox::Place;

/// How long a run may take: longer than the limit of silence, and than all of its events.
const LONGEST: Duration = Duration::from_secs(10);
/// Events of a run, and the pause between them in milliseconds.
const COUNT: u64 = 60;
const EVERY: u64 = 50;
/// Lines that wait for the page: as many as a run has events.
const LINES: usize = 2 * COUNT as usize;
/// Bytes of a piece.
const PIECE: usize = 16_384;

/// The choice of a reader of the page.
#[derive(Clone)]
pub struct Choice {
    /// `None` stands for no box in between.
    pub kind: Option<&'static Kind>,
    pub is_right: bool,
    pub has_header: bool,
    pub is_silent: bool,
    pub compresses: bool,
}

impl Choice {
    /// The names of the choice, as a recording has them.
    fn names(&self) -> Value {
        json!({
            "box": self.kind.map_or("none", |kind| kind.name),
            "configuration": if self.is_right { "right" } else { "default" },
            "header": self.has_header,
            "silence": self.is_silent,
            "gzip": self.compresses,
        })
    }

    fn path(&self) -> String {
        let header = if self.has_header { "" } else { "&header=no" };
        if self.is_silent {
            // One event, and then nothing, not even a comment.
            return format!("/events?every=3600000&heartbeat=0{header}");
        }
        format!("/events?every={EVERY}&count={COUNT}{header}")
    }
}

/// Tells a run line by line, until its reader has left.
pub struct Teller {
    lines: mpsc::Sender<Bytes>,
    began: Instant,
}

type Left = mpsc::error::SendError<Bytes>;

impl Teller {
    async fn tell(&self, at: Instant, mut line: Value) -> Result<(), Left> {
        let ms = at.saturating_duration_since(self.began).as_secs_f64() * 1_000.0;
        line["ms"] = json!((ms * 10.0).round() / 10.0);
        self.say(line).await
    }

    async fn say(&self, line: Value) -> Result<(), Left> {
        self.lines.send(format!("data: {line}\n\n").into()).await
    }
}

/// Starts a run. Its lines end when it does, and it ends when nobody reads them.
pub fn start(
    choice: Choice,
    place: Place,
    stop: CancellationToken,
) -> mpsc::Receiver<Bytes> {
    let (lines, told) = mpsc::channel(LINES);
    let gone = lines.clone();
    tokio::spawn(async move {
        let run = async {
            let teller = Teller { lines, began: Instant::now() };
            if let Err(why) = run(&choice, &place, teller).await {
                tracing::warn!("{why}");
            }
        };
        tokio::select! {
            () = run => {}
            () = gone.closed() => {}
            () = stop.cancelled() => {}
        }
    });
    told
}

async fn run(
    choice: &Choice,
    place: &Place,
    mut teller: Teller,
) -> Result<(), String> {
    let mut first = choice.names();
    let (written, mut writes) = mpsc::channel(COUNT as usize);
    let server = Upstream::start(written).await.map_err(|why| why.to_string())?;
    let mut addr = format!("127.0.0.1:{}", server.port);
    let mut middlebox = None;
    if let Some(kind) = choice.kind {
        let wish = Wish {
            is_right: choice.is_right,
            is_silent: choice.is_silent,
            compresses: choice.compresses,
        };
        match place.start(kind, &wish, server.port).await {
            Ok(started) => addr = middlebox.insert(started).addr.clone(),
            Err(why) => {
                return replay(kind, &first, &why, teller).await.map_err(left);
            }
        }
        first["version"] = json!(place.version(kind).await);
        first["limit"] = json!(kind.limits[usize::from(choice.is_right)]);
    }
    teller.say(first).await.map_err(left)?;
    teller.began = Instant::now();
    let relayed = relay(&addr, &choice.path(), &mut writes, &teller).await;
    if let Some(middlebox) = middlebox {
        middlebox.end().await;
    }
    relayed.map_err(left)
}

fn left(_: Left) -> String {
    "the reader of a run has left".into()
}

/// Tells the recording of this run, each line at its time.
async fn replay(
    kind: &Kind,
    names: &Value,
    why: &str,
    mut teller: Teller,
) -> Result<(), Left> {
    let lines =
        kind.recorded.lines().filter_map(|line| serde_json::from_str(line).ok());
    let mut lines = lines.skip_while(|line: &Value| !is_run(line, names));
    let Some(mut first) = lines.next() else {
        let end = json!({ "end": "refused", "why": why });
        return teller.tell(Instant::now(), end).await;
    };
    first["why"] = json!(why);
    teller.say(first).await?;
    teller.began = Instant::now();
    for line in lines.take_while(|line| line["box"].is_null()) {
        let ms = line["ms"].as_f64().unwrap_or_default();
        sleep_until(teller.began + Duration::from_secs_f64(ms / 1_000.0)).await;
        teller.say(line).await?;
    }
    Ok(())
}

/// Whether a recording begins here, of a run with these names.
fn is_run(line: &Value, names: &Value) -> bool {
    let same = |name: &str| line[name] == names[name];
    // Only nginx looks at the header, and it does not matter to a stream that is silent.
    let has_header = names["box"] != "nginx" || same("header");
    ["box", "configuration", "silence"].into_iter().all(same)
        && (names["silence"] == true || has_header && same("gzip"))
}

/// Asks through the box, and tells each write and each piece.
async fn relay(
    addr: &str,
    path: &str,
    writes: &mut mpsc::Receiver<(u64, Instant)>,
    teller: &Teller,
) -> Result<(), Left> {
    let end = |how: &str| json!({ "end": how });
    let ask = async {
        let mut socket = TcpStream::connect(addr).await?;
        // Every browser asks so. A box compresses only if it is told to, too.
        let accept = "accept: text/event-stream\r\naccept-encoding: gzip";
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\n{accept}\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        std::io::Result::Ok(socket)
    };
    let Ok(Ok(mut socket)) = timeout(LONGEST, ask).await else {
        return teller.tell(Instant::now(), end("refused")).await;
    };
    let over = teller.began + LONGEST;
    let mut answer = Answer::default();
    let mut piece = vec![0; PIECE];
    let how = loop {
        let read = tokio::select! {
            biased; // an event is written before it is read
            Some((number, at)) = writes.recv() => {
                teller.tell(at, json!({ "sent": number })).await?;
                continue;
            }
            read = socket.read(&mut piece) => read,
            () = sleep_until(over) => break "open",
        };
        let now = Instant::now();
        let bytes = match read {
            Err(_) => break "reset",
            Ok(0) if answer.ends_with_connection() => break "closed",
            Ok(0) => break "cut",
            Ok(bytes) => bytes,
        };
        // To a client, an answer that is not HTTP is as good as cut.
        let Ok(parts) = answer.take(&piece[..bytes]) else { break "cut" };
        let mut line = json!({ "bytes": bytes });
        let mut numbers = Vec::new();
        for part in parts {
            match part {
                Part::Head(head) => line["head"] = json!(head),
                Part::Event(number) => numbers.push(number),
                Part::Last => line["last"] = json!(true),
            }
        }
        line["got"] = json!(numbers);
        teller.tell(now, line).await?;
        if answer.is_over() {
            break "whole";
        }
    };
    teller.tell(Instant::now(), end(how)).await
}

/// The server behind the box: the stream of this program, on a port of its own, for one run.
/// Dropping it ends it.
struct Upstream {
    port: u16,
    serving: tokio::task::JoinHandle<()>,
}

impl Upstream {
    async fn start(written: mpsc::Sender<(u64, Instant)>) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        // As `edge.rs` has it: an event does not wait for the one before.
        SockRef::from(&listener).set_tcp_nodelay(true)?;
        let port = listener.local_addr()?.port();
        let listen = Listen {
            places: Arc::new(Semaphore::new(1)),
            stop: CancellationToken::new(),
            written: Some(written),
        };
        let router = Router::with_path("events").get(listen);
        let server = Server::new(TcpAcceptor::try_from(listener)?);
        let serving = tokio::spawn(async move {
            if let Err(why) = server.try_serve(router).await {
                tracing::error!("{why}");
            }
        });
        Ok(Self { port, serving })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
