//! A page with the module, and a server whose answers the test writes.
//!
//! ```ignore
//! let scene = Scene::start().await;
//! scene.answers("/notes", [Answer::Status(503, ""), Answer::Open("data: a\n\n")]);
//! scene.open(&browser).await;
//! scene.follow(&browser, "notes", "{}").await;
//! browser.until("notes.events.length == 1").await;
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::scripted::HEAD;
use tests::{Browser, root, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The text of the module.
pub fn module() -> String {
    std::fs::read_to_string(root().join("examples/page/stream.js")).unwrap()
}

/// The two ways of reading, as the option `fetch` of the module.
pub const WAYS: [&str; 2] = ["undefined", "{}"];

/// How long a stream that has nothing more to do is watched.
pub const WATCH: Duration = Duration::from_millis(300);

/// A stream whose end the pages know.
pub const END: &str = "data: a\n\nevent: end\ndata:\n\n";

/// `follow(name, …)` keeps what a stream does in `window[name]`. Nothing in a page of these
/// tests may be reported or written to the console, unless its test says so.
const PAGE: &str = r"<!doctype html><title>page</title><link rel=icon href=data:,>
<script type=module>
  import { parser, stream } from './stream.js';
  window.wrong = [];
  for (const level of ['log', 'info', 'warn', 'error', 'debug']) {
    console[level] = (...said) => wrong.push(said.join(' '));
  }
  addEventListener('error', (event) => wrong.push(event.message));
  addEventListener('unhandledrejection', (event) => wrong.push(String(event.reason)));
  Object.assign(window, { parser, stream });
  window.follow = (name, url, options) => {
    const one = window[name] = { events: [], states: [], ids: [] };
    const hear = (event) => {
      one.events.push([event.type, event.data, event.lastEventId]);
      one.ids.push(one.stream.lastEventId);
    };
    one.stream = stream(url, {
      retry: 50, on: { message: hear, note: hear }, end: 'end',
      onState: (state) => one.states.push(state), ...options,
    });
    one.names = () => one.states.map(({ name, why }) => (why ? `${name} ${why}` : name));
  };
  window.fail = (what) => { throw new Error(what); };
  window.ready = true;
</script>";

/// The same in a worker, which tells the page what it hears.
const WORKER: &str = r"
  import { stream } from './stream.js';
  const tell = (said) => postMessage(said);
  stream('work', { retry: 50, on: { message: tell }, end: 'end', onState: tell,
    fetch: location.search === '?fetch' ? {} : undefined });
";

/// An answer to one request.
#[derive(Clone)]
pub enum Answer {
    /// A stream that begins like this, and stays open.
    Open(&'static str),
    /// A stream of this, which ends.
    Ends(&'static str),
    /// Another status, with these header lines, each with its line end.
    Status(u16, &'static str),
    /// These bytes: the connection ends after them.
    Bytes(Arc<[u8]>),
    /// These bytes, and nothing more comes.
    Stays(&'static str),
    /// A stream that repeats this ten times a second.
    Drips(&'static str),
    /// The connection is closed without an answer.
    None,
}

/// A request.
#[derive(Clone)]
pub struct Asked {
    pub at: Instant,
    /// The method and the target, with its query.
    pub line: String,
    pub head: String,
    pub body: String,
    /// The client has left, or has got an answer that ends.
    pub is_over: bool,
}

#[derive(Default)]
struct Path {
    /// The answers that come next; the last one stays.
    answers: VecDeque<Answer>,
    asked: Vec<Asked>,
}

/// A server.
#[derive(Clone)]
pub struct Scene {
    pub url: String,
    paths: Arc<Mutex<HashMap<String, Path>>>,
}

impl Scene {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let scene = Self { url, paths: Arc::default() };
        let all = scene.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(all.clone().serve(socket));
            }
        });
        scene
    }

    fn paths(&self) -> MutexGuard<'_, HashMap<String, Path>> {
        self.paths.lock().unwrap()
    }

    /// Gives a path its answers, for one request each; the last is for all that follow. The
    /// requests before are forgotten.
    pub fn answers(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        let answers = answers.into_iter().collect();
        let path = path.to_string();
        self.paths().insert(path, Path { answers, asked: Vec::new() });
    }

    /// Gives a path other answers, from now on. The requests before stay.
    pub fn now(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        let answers = answers.into_iter().collect();
        self.paths().get_mut(path).expect("a path").answers = answers;
    }

    /// The requests for a path.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.paths().get(path).map(|path| path.asked.clone()).unwrap_or_default()
    }

    /// Waits until a path was asked for so often, and returns the requests.
    pub async fn is_asked(&self, path: &str, times: usize) -> Vec<Asked> {
        let enough = async || self.asked(path).len() >= times;
        until(&format!("{times} requests for {path}"), enough).await;
        self.asked(path)
    }

    /// Waits until each request for a path is over.
    pub async fn is_left(&self, path: &str) {
        let over = async || self.asked(path).iter().all(|one| one.is_over);
        until(&format!("the browser leaves {path}"), over).await;
    }

    /// Opens the page.
    pub async fn open(&self, browser: &Browser) {
        browser.open(&format!("{}/", self.url)).await;
        browser.until("window.ready === true").await;
    }

    async fn serve(self, mut socket: TcpStream) {
        let Some((head, body)) = read(&mut socket).await else { return };
        let line = head.lines().next().unwrap().replace(" HTTP/1.1", "");
        let target = line.split_once(' ').unwrap().1.to_string();
        let path = target.split('?').next().unwrap().to_string();
        let page = match &*path {
            "/" => Some(("text/html", PAGE.to_string())),
            "/stream.js" => Some(("text/javascript", module())),
            "/worker.js" => Some(("text/javascript", WORKER.to_string())),
            _ => None,
        };
        if let Some((kind, text)) = page {
            let length = text.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
                 connection: close\r\n\r\n"
            );
            drop(socket.write_all(format!("{head}{text}").as_bytes()).await);
            return;
        }
        let (number, answer) = {
            let mut paths = self.paths();
            let Some(path) = paths.get_mut(&path) else { return };
            let at = Instant::now();
            path.asked.push(Asked { at, line, head, body, is_over: false });
            let is_last = path.answers.len() == 1;
            let answer = path.answers.front().cloned();
            if !is_last {
                path.answers.pop_front();
            }
            (path.asked.len() - 1, answer.unwrap())
        };
        let (bytes, stays) = answer.bytes();
        drop(socket.write_all(&bytes).await);
        if let Answer::Drips(text) = answer {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            while socket.write_all(text.as_bytes()).await.is_ok() {
                ticks.tick().await;
            }
        } else if stays {
            // Nothing more comes from a client, but the end.
            drop(socket.read(&mut [0]).await);
        } else {
            drop(socket.shutdown().await);
        }
        // The test may have given the path other answers in the meantime.
        if let Some(one) = self.paths().get_mut(&path).unwrap().asked.get_mut(number)
        {
            one.is_over = true;
        }
    }
}

impl Answer {
    fn bytes(&self) -> (Vec<u8>, bool) {
        match self {
            Self::Open(text) => (format!("{HEAD}\r\n{text}").into_bytes(), true),
            Self::Ends(text) => (format!("{HEAD}\r\n{text}").into_bytes(), false),
            Self::Status(status, lines) => {
                let length =
                    if *status == 204 { "" } else { "content-length: 0\r\n" };
                let head = format!(
                    "HTTP/1.1 {status} Status\r\n{length}connection: close\r\n{lines}\r\n"
                );
                (head.into_bytes(), false)
            }
            Self::Bytes(bytes) => (bytes.to_vec(), false),
            Self::Stays(text) => (text.as_bytes().to_vec(), true),
            Self::Drips(text) => (format!("{HEAD}\r\n{text}").into_bytes(), true),
            Self::None => (Vec::new(), false),
        }
    }
}

/// A request's head and body, if the client sends one.
async fn read(socket: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_string();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then_some(value)
            });
            let length: usize = length.map_or(0, |value| value.parse().unwrap());
            if body.len() >= length {
                return Some((head.to_string(), body.to_string()));
            }
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// Follows a stream in the page, with these options of the module, and keeps what it does
/// under this name.
pub async fn follow(browser: &Browser, name: &str, url: &str, options: &str) {
    let name = json!(name);
    let url = json!(url);
    browser.eval(&format!("(follow({name}, {url}, {options}), 0)")).await;
}

/// The data of each event that the page has heard.
pub async fn data(browser: &Browser, name: &str) -> Value {
    browser.eval(&format!("{name}.events.map(([, data]) => data)")).await
}

/// The states that a stream has had, by their names and reasons.
pub async fn states(browser: &Browser, name: &str) -> Value {
    browser.eval(&format!("{name}.names()")).await
}

/// Asserts that the page had no error, and that nothing was written to its console.
pub async fn nothing_is_wrong(browser: &Browser) {
    assert_eq!(browser.eval("wrong").await, json!([]), "{}", browser.name());
}

/// An answer, as often as the module asks for it: EventSource does not tell which one it
/// got, so the module looks.
pub fn seen(way: &str, answer: &Answer) -> Vec<Answer> {
    vec![answer.clone(); if way == "{}" { 1 } else { 2 }]
}

/// Options of the module, for a way of reading.
pub fn options(way: &str, more: &str) -> String {
    format!("{{ fetch: {way}, {more} }}")
}

/// Tells a story in both browsers, and of both ways of reading.
pub async fn each(story: impl AsyncFn(&Scene, &Browser, &str)) {
    let scene = Scene::start().await;
    for browser in Browser::both().await {
        for way in WAYS {
            story(&scene, &browser, way).await;
            nothing_is_wrong(&browser).await;
        }
    }
}
