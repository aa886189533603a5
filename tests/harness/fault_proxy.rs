//! A proxy between a page and a program that fails in one way after another: for each request
//! of the stream a test draws a fault, or none. All other requests pass.
//!
//! ```ignore
//! let proxy = FaultProxy::start(&feed, "/events", &[("/", "text/html", PAGE)]).await;
//! proxy.deal(run.seed);
//! browser.open(&proxy.url).await; // the page follows `lane/events`
//! ```
//!
//! The first part of a path is a lane, which the program never sees: the faults of each lane
//! are drawn, counted and timed apart. A request without a lane passes, or gets a file.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::mem::replace;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, UNIX_EPOCH};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::chunks::Dechunker;
use crate::fault::Deck;
pub use crate::fault::{Asked, Fault, Kind};
use crate::program::Program;
use crate::wait::PATIENCE;

/// The pause between two chunks that come late, and between two comments.
const PAUSE: Duration = Duration::from_millis(40);
/// How long nothing but comments comes before the stream is cut: longer than a page's limit
/// of silence in these tests.
const COMMENTS: Duration = Duration::from_millis(1_500);
/// Bytes of the stream that are merged into one chunk.
const MERGED: usize = 300;

/// Says what happens to a request: it knows the lane, and the number of requests before.
type Draw = Box<dyn FnMut(&str, usize) -> Option<Fault> + Send>;

pub struct FaultProxy {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// The address of the program.
    program: String,
    /// How the path of a stream begins.
    stream: String,
    files: HashMap<String, String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    draw: Option<Draw>,
    lanes: HashMap<String, Lane>,
    asked: Vec<Asked>,
}

#[derive(Default)]
struct Lane {
    requests: usize,
    /// The answer that is final until the page asks for `LANE/back`.
    holds: Option<Kind>,
    /// Whether somebody has had it.
    is_told: bool,
    /// The event IDs with which the page has come back, until then.
    ids: Vec<String>,
}

impl FaultProxy {
    /// Starts a proxy before a program whose streams begin with this path. It answers the
    /// paths of the files itself: each has a type and a text.
    pub async fn start(
        program: &Program,
        stream: &str,
        files: &[(&str, &str, &str)],
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let file = |&(path, kind, text): &(&str, &str, &str)| {
            let head = format!("content-type: {kind}\r\ncache-control: no-cache");
            (path.to_string(), answer("200 OK", &head, text))
        };
        let shared = Arc::new(Shared {
            program: program.url.strip_prefix("http://").unwrap().into(),
            stream: stream.into(),
            files: files.iter().map(file).collect(),
            state: Mutex::default(),
        });
        let own = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = own.clone();
                // An error is the end of a connection, on one side or the other.
                tokio::spawn(async move { drop(shared.serve(client).await) });
            }
        });
        Self { url, shared }
    }

    /// Draws a fault for each request from now on.
    pub fn draw(
        &self,
        draw: impl FnMut(&str, usize) -> Option<Fault> + Send + 'static,
    ) {
        self.shared.state().draw = Some(Box::new(draw));
    }

    /// Deals these kinds of faults to each lane: all of them, before one comes again.
    pub fn deal(&self, seed: u64, kinds: &[Kind]) {
        let kinds = kinds.to_vec();
        let mut decks = HashMap::<String, Deck>::new();
        self.draw(move |lane, _| {
            let own = lane.bytes().fold(seed, |seed, byte| {
                seed.wrapping_mul(31).wrapping_add(u64::from(byte))
            });
            let deck = decks.entry(lane.into());
            Some(deck.or_insert_with(|| Deck::new(own, &kinds)).deal())
        });
    }

    /// Draws no faults any more. A final answer stays until the page asks for `LANE/back`.
    pub fn pass(&self) {
        self.shared.state().draw = None;
    }

    /// The requests of streams so far, in their order.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state().asked.clone()
    }

    /// How often each kind of fault has happened.
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts = BTreeMap::new();
        let state = self.shared.state();
        let drawn = state.asked.iter().filter(|asked| !asked.is_again);
        for kind in drawn.filter_map(|asked| asked.kind) {
            *counts.entry(kind).or_default() += 1;
        }
        counts
    }
}

/// A whole answer of the proxy's own.
fn answer(status: &str, head: &str, body: &str) -> String {
    let end = match status.starts_with("204") {
        true => String::new(), // it has no body, and no length either
        false => format!("content-length: {}\r\n", body.len()),
    };
    let head = if head.is_empty() { String::new() } else { format!("{head}\r\n") };
    format!("HTTP/1.1 {status}\r\n{head}{end}connection: close\r\n\r\n{body}")
}

/// Now, as `Date.now()` in a page says it.
fn now() -> u64 {
    UNIX_EPOCH.elapsed().unwrap().as_millis() as u64
}

/// The head of a request, and what has come behind it.
struct Request {
    method: String,
    lane: String,
    /// The path and the query, without the lane.
    target: String,
    lines: Vec<String>,
    rest: Vec<u8>,
}

impl Request {
    /// Reads a head, unless the client leaves before its end: browsers connect in advance.
    async fn read(client: &mut TcpStream) -> io::Result<Option<Self>> {
        let Some((head, rest)) = read_head(client).await? else { return Ok(None) };
        let mut lines = head.lines().map(String::from);
        let first = lines.next().unwrap_or_default();
        let mut words = first.split(' ').map(String::from);
        let method = words.next().unwrap_or_default();
        let path = words.next().unwrap_or_default();
        let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let parts = parts.map(|(lane, rest)| (lane.into(), format!("/{rest}")));
        let (lane, target) = parts.unwrap_or((String::new(), path));
        // A browser repeats a request by itself where a connection was used before.
        let kept = |line: &String| {
            !line.is_empty() && !line.to_lowercase().starts_with("connection:")
        };
        let lines = lines.filter(kept).collect();
        Ok(Some(Self { method, lane, target, lines, rest }))
    }

    /// The head as the program gets it.
    fn bytes(&self) -> Vec<u8> {
        let Self { method, target, lines, .. } = self;
        let lines = lines.join("\r\n");
        let head = format!(
            "{method} {target} HTTP/1.1\r\n{lines}\r\nconnection: close\r\n\r\n"
        );
        [head.as_bytes(), &self.rest].concat()
    }

    /// The event ID after which the client wants to go on.
    fn id(&self) -> Option<String> {
        let header = self.lines.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("last-event-id").then(|| value.trim())
        });
        let query = || self.parameters().find_map(|one| one.strip_prefix("after="));
        header.or_else(query).filter(|id| !id.is_empty()).map(String::from)
    }

    fn parameters(&self) -> impl Iterator<Item = &str> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        query.split('&').filter(|one| !one.is_empty())
    }

    /// Asks for what comes after another event.
    fn ask_after(&mut self, id: &str) {
        self.lines.retain(|line| !line.to_lowercase().starts_with("last-event-id:"));
        let others = self.parameters().filter(|one| !one.starts_with("after="));
        let query: String = others.map(|one| format!("{one}&")).collect();
        let path = self.target.split('?').next().unwrap_or_default();
        self.target = format!("{path}?{query}after={id}");
    }
}

/// Reads to the end of a head, and says what has come behind it.
async fn read_head(socket: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    const END: &[u8] = b"\r\n\r\n";
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = memmem::find(&bytes, END) {
            let rest = bytes.split_off(end + END.len());
            return Ok(Some((String::from_utf8_lossy(&bytes).into(), rest)));
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let Some(mut request) = Request::read(&mut client).await? else {
            return Ok(());
        };
        if let Some(file) = self.files.get(&request.target) {
            return client.write_all(file.as_bytes()).await;
        }
        if request.target == "/back" {
            self.state().lanes.insert(request.lane, Lane::default());
            return client.write_all(answer("204 Back", "", "").as_bytes()).await;
        }
        let is_stream = request.method == "GET"
            && !request.lane.is_empty()
            && request.target.starts_with(&self.stream);
        if !is_stream {
            let mut program = TcpStream::connect(&self.program).await?;
            program.write_all(&request.bytes()).await?;
            return copy_bidirectional(&mut client, &mut program).await.map(|_| ());
        }
        let (place, fault) = self.ask(&mut request);
        let mut line = Line { shared: self, client, place, left: usize::MAX };
        let end = line.answer(request, fault).await;
        self.state().asked[place].to = Some(now());
        end
    }

    /// Notes a request, and draws its fault.
    fn ask(&self, request: &mut Request) -> (usize, Option<Fault>) {
        let mut state = self.state();
        let State { draw, lanes, asked } = &mut *state;
        let lane = lanes.entry(request.lane.clone()).or_default();
        let mut fault = match (lane.holds, draw) {
            (Some(kind), _) => Some(Fault { kind, at: 0 }),
            (None, Some(draw)) => draw(&request.lane, lane.requests),
            (None, None) => None,
        };
        lane.requests += 1;
        if let Some(id) = request.id()
            && lane.ids.last() != Some(&id)
        {
            lane.ids.push(id);
        }
        if let Some(Fault { kind: kind @ Kind::Repeat, .. }) = &mut fault {
            // Some connections before, so fewer events than a client remembers.
            match lane.ids.iter().rev().take(5).skip(1).last() {
                Some(id) => request.ask_after(id),
                None => *kind = Kind::End,
            }
        }
        if let Some(Fault { kind, .. }) = fault
            && kind.is_final()
        {
            lane.holds = Some(kind);
        }
        asked.push(Asked {
            lane: request.lane.clone(),
            kind: None,
            from: now(),
            to: None,
            is_again: false,
            silence: None,
            sent: 0,
        });
        (asked.len() - 1, fault)
    }
}

/// The connection of one request of a stream.
struct Line<'a> {
    shared: &'a Shared,
    client: TcpStream,
    /// The place of the request in [`State::asked`].
    place: usize,
    /// Bytes that may be sent before the fault happens.
    left: usize,
}

impl Line<'_> {
    async fn answer(
        &mut self,
        request: Request,
        fault: Option<Fault>,
    ) -> io::Result<()> {
        let Some(Fault { kind, at }) = fault else {
            return self.stream(request, None).await;
        };
        match kind {
            Kind::Reset => self.client.set_zero_linger()?,
            Kind::Close => {}
            Kind::Silent => self.is_left().await,
            Kind::Answer(status, later) => {
                let head = later.map(|later| format!("retry-after: {later}"));
                let status = format!("{status} Fault");
                self.write(answer(&status, &head.unwrap_or_default(), "")).await?;
            }
            Kind::Html => {
                let head = "content-type: text/html; charset=utf-8";
                self.write(answer("200 OK", head, "<p>Sign in, please.")).await?;
            }
            _ => {
                self.left = at;
                let end = self.stream(request, Some(kind)).await;
                if self.left > 0 {
                    return end; // the client left before, or the program had no more
                }
                match kind {
                    Kind::ResetBody => self.client.set_zero_linger()?,
                    Kind::SilentBody => self.is_left().await,
                    Kind::Comments => self.comment().await,
                    Kind::CutHead | Kind::CutBody => {}
                    _ => self.client.write_all(b"0\r\n\r\n").await?,
                }
            }
        }
        let mut state = self.shared.state();
        let State { lanes, asked, .. } = &mut *state;
        let asked = &mut asked[self.place];
        asked.kind = Some(kind);
        if kind.is_final() {
            let lane = lanes.entry(asked.lane.clone()).or_default();
            asked.is_again = replace(&mut lane.is_told, true);
        }
        Ok(())
    }

    /// Passes a stream on, until it ends or its fault happens.
    async fn stream(
        &mut self,
        request: Request,
        kind: Option<Kind>,
    ) -> io::Result<()> {
        use Kind::{CutBody, CutHead, Late, Merged, Pieces, ResetBody, SilentBody};
        // These faults come at a byte of the connection; the others at one of the stream.
        let is_raw =
            matches!(kind, Some(CutHead | CutBody | ResetBody | SilentBody));
        let mut program = TcpStream::connect(&self.shared.program).await?;
        program.write_all(&request.bytes()).await?;
        let Some((head, mut wire)) = read_head(&mut program).await? else {
            return Ok(());
        };
        self.send(head.as_bytes(), is_raw).await?;
        if !head.contains("transfer-encoding: chunked") {
            self.write(wire).await?; // the program refuses, or the stream is over
            return copy_bidirectional(&mut program, &mut self.client)
                .await
                .map(|_| ());
        }
        let mut chunks = Dechunker::default();
        let mut payload = Vec::new();
        loop {
            payload.extend(chunks.read(&wire));
            wire.clear();
            for second in [&b"retry: 1000"[..], b"retry:1000"] {
                // The programs of the book ask for a second, and a run has no time.
                if let Some(retry) = memmem::find(&payload, second) {
                    let end = retry + second.len();
                    payload[end - 4..end].copy_from_slice(b"0050");
                }
            }
            if kind != Some(Merged) || payload.len() >= MERGED {
                let size = if kind == Some(Pieces) { 3 } else { usize::MAX };
                for piece in payload.chunks(size.min(payload.len().max(1))) {
                    if kind == Some(Late) {
                        sleep(PAUSE).await;
                    }
                    self.chunk(piece, is_raw).await?;
                }
                payload.clear();
            }
            let mut rest = [0; 64];
            tokio::select! {
                count = program.read_buf(&mut wire) => if count? == 0 { break },
                count = self.client.read(&mut rest) => if count? == 0 { return Ok(()) },
            }
        }
        self.chunk(&payload, is_raw).await?;
        self.send(b"0\r\n\r\n", is_raw).await
    }

    /// Sends a part of the stream as a chunk of HTTP, or what may be sent of it.
    async fn chunk(&mut self, payload: &[u8], is_raw: bool) -> io::Result<()> {
        let most = if is_raw { usize::MAX } else { self.left };
        let payload = &payload[..payload.len().min(most)];
        if !payload.is_empty() {
            let size = format!("{:x}\r\n", payload.len());
            let chunk = [size.as_bytes(), payload, b"\r\n"].concat();
            self.send(&chunk, is_raw).await?;
        }
        if !is_raw && self.left != usize::MAX {
            self.left -= payload.len();
            self.may_go_on()?;
        }
        Ok(())
    }

    /// Sends bytes, or as many as are left before the fault.
    async fn send(&mut self, bytes: &[u8], is_raw: bool) -> io::Result<()> {
        if !is_raw {
            return self.write(bytes).await;
        }
        let part = &bytes[..bytes.len().min(self.left)];
        self.write(part).await?;
        self.left -= part.len();
        self.may_go_on()
    }

    fn may_go_on(&self) -> io::Result<()> {
        let fault = || io::Error::other("here the fault happens");
        (self.left > 0).then_some(()).ok_or_else(fault)
    }

    async fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.client.write_all(bytes.as_ref()).await?;
        self.shared.state().asked[self.place].sent += bytes.as_ref().len();
        Ok(())
    }

    /// Sends comments, until the client leaves or they have come for long enough.
    async fn comment(&mut self) {
        drop(
            timeout(COMMENTS, async {
                while self.client.write_all(b"2\r\n:\n\r\n").await.is_ok() {
                    sleep(PAUSE).await;
                }
            })
            .await,
        );
    }

    /// Waits until the client has left, and notes how long that took.
    async fn is_left(&mut self) {
        let start = Instant::now();
        let mut rest = [0; 64];
        let leaves =
            async { while matches!(self.client.read(&mut rest).await, Ok(1..)) {} };
        if timeout(PATIENCE, leaves).await.is_ok() {
            let silence = Some(start.elapsed());
            self.shared.state().asked[self.place].silence = silence;
        }
    }
}
