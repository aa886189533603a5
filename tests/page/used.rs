//! The pages of `chat`, `feed` and `llm`, which read with the module, behind a proxy that
//! fails in the ways in which proxies and networks do. Run these with
//! `cargo test -p tests --test page used -- --ignored`.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Browser, Program, pause, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Seconds after which a proxy that is busy wants to be asked again: more than a page would
/// wait by itself at its second failure.
const BUSY: u64 = 4;
/// How long a test watches that a page does not ask again.
const WATCH: Duration = Duration::from_secs(3);
/// A stream may be silent for 40 s. Here it is less, so that the test does not wait for it.
const PATIENCE: (&str, &str) = ("40_000", "2_000");

/// How the requests for streams begin.
const STREAMS: [&str; 3] = ["GET /chat?", "GET /events?", "GET /answers/"];

/// The fate of a request for a stream.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// An answer with this status, and without a body.
    Status(u16),
    /// Status 429, with `Retry-After`.
    Busy,
    /// A page in the place of a stream, as of a login.
    Html,
    /// A stream that breaks off right behind these words.
    CutBehind(&'static str),
    /// The head of a stream, and then nothing.
    Stalled,
}

/// A proxy before a program. It passes everything on, but requests for streams have fates.
#[derive(Clone)]
struct Proxy {
    url: String,
    to: String,
    fates: Arc<Mutex<VecDeque<Fate>>>,
    /// When a stream was asked for.
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Proxy {
    async fn before(program: &Program) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            to: program.url.strip_prefix("http://").unwrap().into(),
            fates: Arc::default(),
            asked: Arc::default(),
        };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let proxy = serving.clone();
                // A browser that leaves in the middle is no fault of this proxy.
                tokio::spawn(async move { drop(proxy.pass(socket).await) });
            }
        });
        proxy
    }

    /// The fates of the next streams. Those behind them are passed on.
    fn next(&self, fates: &[Fate]) {
        *self.fates.lock().unwrap() = fates.iter().copied().collect();
        self.asked.lock().unwrap().clear();
    }

    fn asked(&self) -> Vec<Instant> {
        self.asked.lock().unwrap().clone()
    }

    /// Passes one request on, and its answer back.
    async fn pass(self, mut client: TcpStream) -> io::Result<()> {
        let mut request = Vec::new();
        while position(&request, "\r\n\r\n").is_none() {
            if client.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let request = String::from_utf8(request).unwrap();
        let is_stream = STREAMS.iter().any(|path| request.starts_with(path));
        let fate = is_stream.then(|| {
            self.asked.lock().unwrap().push(Instant::now());
            self.fates.lock().unwrap().pop_front()
        });
        let fate = fate.flatten();
        let answer = match fate {
            Some(Fate::Status(204)) => "204 No Content\r\n\r\n",
            // Without its length it could be a head that breaks off.
            Some(Fate::Status(status)) => {
                &format!("{status} No\r\ncontent-length: 2\r\n\r\nno")
            }
            Some(Fate::Busy) => &format!("429 No\r\nretry-after: {BUSY}\r\n\r\n"),
            Some(Fate::Html) => "200 OK\r\ncontent-type: text/html\r\n\r\n<p>",
            _ => return self.relay(client, &request, fate).await,
        };
        let (status, rest) = answer.split_once("\r\n").unwrap();
        let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{rest}");
        client.write_all(answer.as_bytes()).await?;
        client.shutdown().await
    }

    async fn relay(
        &self,
        mut client: TcpStream,
        request: &str,
        fate: Option<Fate>,
    ) -> io::Result<()> {
        let mut server = TcpStream::connect(&self.to).await?;
        // Each connection is for one request.
        let request = request.replace("\r\nConnection: keep-alive", "");
        let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        server.write_all(request.as_bytes()).await?;
        if request.starts_with("GET /stream.js ") {
            let mut module = String::new();
            server.read_to_string(&mut module).await?;
            client.write_all(impatient(&module).as_bytes()).await?;
            return client.shutdown().await;
        }
        let (mut from_server, mut to_server) = server.split();
        let (mut from_client, mut to_client) = client.split();
        tokio::select! {
            // It ends when the client leaves.
            sent = copy(&mut from_client, &mut to_server) => sent.map(drop),
            passed = answer(&mut from_server, &mut to_client, fate) => passed,
        }
    }
}

/// Passes an answer on, to its end or as its fate is.
async fn answer(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    fate: Option<Fate>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let passed = bytes.len();
        if from.read_buf(&mut bytes).await? == 0 {
            return to.shutdown().await;
        }
        let last = match fate {
            Some(Fate::CutBehind(words)) => position(&bytes, words),
            Some(Fate::Stalled) => position(&bytes, "\r\n\r\n"),
            _ => None,
        };
        to.write_all(&bytes[passed..last.unwrap_or(bytes.len())]).await?;
        match (last, fate) {
            (Some(_), Some(Fate::Stalled)) => return pending().await,
            (Some(_), _) => return Ok(()),
            _ => {}
        }
    }
}

/// Where these words end in the bytes.
fn position(bytes: &[u8], words: &str) -> Option<usize> {
    let start = bytes.windows(words.len()).position(|part| part == words.as_bytes());
    start.map(|start| start + words.len())
}

/// The answer with the module, in which the patience is less.
fn impatient(answer: &str) -> String {
    let (head, module) = answer.split_once("\r\n\r\n").unwrap();
    let (patience, less) = PATIENCE;
    assert!(module.contains(patience), "the module has another patience");
    let head = head.lines().filter(|line| !line.starts_with("content-length"));
    let head = head.collect::<Vec<_>>().join("\r\n");
    format!("{head}\r\n\r\n{}", module.replace(patience, less))
}

/// The first stream is refused twice, the third breaks off behind these words, and the
/// fourth is silent.
fn a_bad_day(words: &'static str) -> [Fate; 4] {
    [Fate::Status(502), Fate::Busy, Fate::CutBehind(words), Fate::Stalled]
}

/// The page has waited after each failure, and as long as it was told.
fn assert_waited(asked: &[Instant]) {
    let waited: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waited[0] >= Duration::from_secs(1), "after a 502: {waited:?}");
    assert!(waited[1] >= Duration::from_secs(BUSY), "after a 429: {waited:?}");
    assert!(waited[3] >= Duration::from_secs(2), "of silence: {waited:?}");
}

/// The page gives up for what cannot become better, and says so.
async fn assert_gives_up(browser: &Browser, proxy: &Proxy, page: &str, text: &str) {
    for (fate, words) in [
        (Fate::Status(403), "The server turns this page away: status 403."),
        (Fate::Html, "The server sends no stream."),
    ] {
        proxy.next(&[fate]);
        browser.open("about:blank").await;
        browser.open(page).await;
        browser.until(&format!("{text}?.includes({words:?})")).await;
        pause(WATCH).await;
        assert_eq!(proxy.asked().len(), 1, "{words}");
    }
}

/// A story that is the same in both browsers, in both at once: most of it is waiting.
async fn in_both_browsers(story: impl AsyncFn(Browser)) {
    let [chromium, firefox] = Browser::both().await;
    tokio::join!(story(chromium), story(firefox));
}

const LOG: &str = "document.querySelector('#log')?.textContent";
const STATE: &str = "document.querySelector('#state')?.textContent";

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn the_chat_page_misses_nothing_on_a_bad_day_and_says_when_there_is_no_hope() {
    in_both_browsers(async |browser| {
        let chat = Program::start("chat").await;
        let proxy = Proxy::before(&chat).await;
        proxy.next(&a_bad_day("half a "));
        let page = format!("{}/", proxy.url);
        browser.open(&page).await;
        browser.until(&format!("{STATE} == 'reconnecting (429)'")).await;
        browser.until(&format!("{STATE} == 'connected'")).await;
        let id = "1".repeat(32);
        let _ann = chat.events(&format!("/chat?as={id}")).await;
        let said = chat.request("POST", &format!("/chat/{id}")).body("half a word");
        assert_eq!(chat.send(said).await.status(), 204);
        until("the fifth stream", async || proxy.asked().len() == 5).await;
        let lines = "Array.from(document.querySelectorAll('#log li'), \
            (line) => line.textContent)";
        let heard = json!(["User#2 joined", "User#2half a word"]);
        browser.until(&format!("{LOG}.includes('half a word')")).await;
        assert_eq!(browser.eval(lines).await, heard);
        assert_waited(&proxy.asked());
        assert_gives_up(&browser, &proxy, &page, LOG).await;
        assert_eq!(browser.eval(STATE).await, "disconnected");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn the_feed_page_misses_nothing_on_a_bad_day_and_says_when_there_is_no_hope() {
    in_both_browsers(async |browser| {
        let folder = tempfile::tempdir().unwrap();
        let folder = [("FEED_DIR", folder.path().to_str().unwrap())];
        let feed = Program::start_with("feed", &folder).await;
        let proxy = Proxy::before(&feed).await;
        proxy.next(&a_bad_day("half a "));
        let page = format!("{}/", proxy.url);
        browser.open(&page).await;
        browser.until(&format!("{STATE} == 'connected'")).await;
        let note = json!({ "type": "note", "data": "half a word" });
        let write = feed.request("POST", "/events").json(&note);
        assert_eq!(feed.send(write).await.status(), 201);
        until("the fifth stream", async || proxy.asked().len() == 5).await;
        let notes = format!("{LOG}.split('half a word').length - 1");
        browser.until(&format!("{notes} == 1")).await;
        let cuts = "document.querySelector('#cuts').textContent";
        browser.until(&format!("{cuts} == 2 && {STATE} == 'connected'")).await;
        assert_eq!(browser.eval(&notes).await, 1);
        assert_waited(&proxy.asked());
        assert_gives_up(&browser, &proxy, &page, LOG).await;
        assert_eq!(browser.eval(STATE).await, "disconnected");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn the_llm_page_shows_a_whole_answer_on_a_bad_day_and_says_when_there_is_no_hope()
 {
    let answer = "document.querySelector('#answer')?.textContent";
    let note = "document.querySelector('#note')?.textContent";
    in_both_browsers(async |browser| {
        let llm = Program::start("llm").await;
        let proxy = Proxy::before(&llm).await;
        let ask = llm.request("POST", "/answers");
        let asked = llm.send(ask.json(&json!({ "prompt": "Count" }))).await;
        let path = asked.headers()["location"].to_str().unwrap().to_string();
        // Somebody else reads along, so the model goes on while the page is away.
        let mut whole = llm.events(&format!("/{path}")).await;
        proxy.next(&a_bad_day("{\"te"));
        let page = format!("{}/#{}", proxy.url, path.split_once('/').unwrap().1);
        browser.open(&page).await;
        browser
            .until(&format!("{note} == 'The connection is lost; trying again…'"))
            .await;
        let mut text = String::new();
        while let Some(event) = whole.next().await
            && event.event == "token"
        {
            let token: Value = serde_json::from_str(&event.data).unwrap();
            text += token["text"].as_str().unwrap();
        }
        browser
            .until(&format!("{note}.startsWith('The answer is complete.')"))
            .await;
        assert_eq!(browser.eval(answer).await, text);
        assert_waited(&proxy.asked());
        // A page that has all of it already is told to stay away.
        proxy.next(&[Fate::Status(204)]);
        browser.open("about:blank").await;
        browser.open(&page).await;
        let button = "document.querySelector('form button')?.textContent";
        until("the page asks", async || proxy.asked().len() == 1).await;
        browser.until(&format!("{button} == 'Ask' && {note} == ''")).await;
        assert_gives_up(&browser, &proxy, &page, note).await;
    })
    .await;
}
