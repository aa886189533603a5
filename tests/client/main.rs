//! Chapter 9: `client` makes of a stream what the standard says, and survives what servers
//! and networks do.

mod others;

use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::cases::{Case, cases};
use tests::{Program, pause, root, until, within};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout};
use tokio::sync::Semaphore;

/// As in `examples/client/main.rs`, in milliseconds.
const RETRY: u64 = 3_000;
const MIN_WAIT: u64 = 100;
/// Waits are longer by chance, up to this times as long.
const JITTER: f64 = 1.5;

/// How many clients run at the same time.
const AT_ONCE: usize = 48;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";

/// `client`, with these arguments.
fn command(args: &[&str]) -> Command {
    static BUILT: LazyLock<std::path::PathBuf> = LazyLock::new(|| {
        let cargo = escargot::CargoBuild::new()
            .manifest_path(root().join("Cargo.toml"))
            .package("client")
            .example("client");
        cargo.run().expect("the program builds").path().to_path_buf()
    });
    let mut command = Command::new(&*BUILT);
    command.args(args).env("NO_PROXY", "*");
    command
}

/// A client as a process of its own. Dropping it ends the process.
struct Client {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Arc<std::sync::Mutex<String>>,
}

/// How a client has ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Client {
    fn start(args: &[&str]) -> Self {
        Self::spawn(command(args).stdout(Stdio::piped()))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut command = tokio::process::Command::from(std::mem::replace(
            command,
            Command::new("false"),
        ));
        command.stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let stderr = Arc::<std::sync::Mutex<String>>::default();
        let (mut pipe, into) = (child.stderr.take().unwrap(), Arc::clone(&stderr));
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
                *into.lock().unwrap() += str::from_utf8(&buffer[..count]).unwrap();
            }
        });
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout, stderr }
    }

    /// The next line on stdout, without its end.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stdout.as_mut().unwrap().read_line(&mut line);
        within("a line", read).await.unwrap();
        line.strip_suffix('\n').expect("a whole line").to_string()
    }

    async fn json(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The waits that it has announced so far, in seconds.
    fn waits(&self) -> Vec<f64> {
        let stderr = self.stderr();
        let after = stderr.split("trying again in ").skip(1);
        after.filter_map(|text| text.split_once(" s")?.0.parse().ok()).collect()
    }

    /// Waits for its next announcement of a wait, after so many.
    async fn wait_after(&self, count: usize) -> f64 {
        until("it says when it tries again", async || self.waits().len() > count)
            .await;
        self.waits()[count]
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().unwrap() as i32;
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Waits until it ends by itself.
    async fn ended(mut self) -> Ended {
        let mut stdout = String::new();
        if let Some(pipe) = &mut self.stdout {
            within("the end of stdout", pipe.read_to_string(&mut stdout))
                .await
                .unwrap();
        }
        let status = within("the client ends", self.child.wait()).await.unwrap();
        let code = status.code();
        until("the end of stderr", async || Arc::strong_count(&self.stderr) == 1)
            .await;
        Ended { code, stdout, stderr: self.stderr() }
    }
}

/// What a client that is not served says and does.
async fn run(args: &[&str]) -> Ended {
    Client::start(args).ended().await
}

/// A server that does what the test says, byte for byte.
struct Server(TcpListener);

/// One request to it, and the connection that it came on.
struct Asked {
    head: String,
    socket: TcpStream,
    at: Instant,
}

impl Server {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("http://{}/events", self.0.local_addr().unwrap())
    }

    /// A client of this server.
    fn client(&self, args: &[&str]) -> Client {
        Client::start(&[args, &[&*self.url()]].concat())
    }

    /// The next request.
    async fn asked(&self) -> Asked {
        let (mut socket, _) = within("a request", self.0.accept()).await.unwrap();
        let at = Instant::now();
        socket.set_nodelay(true).unwrap();
        let mut head = Vec::new();
        let read = async {
            while !head.ends_with(b"\r\n\r\n") {
                assert!(socket.read_buf(&mut head).await.unwrap() > 0, "no request");
            }
        };
        within("a whole request", read).await;
        Asked { head: String::from_utf8(head).unwrap(), socket, at }
    }

    /// Answers the next request with these bytes, and closes the connection.
    async fn answer(&self, bytes: impl AsRef<[u8]>) -> Asked {
        let mut asked = self.asked().await;
        asked.write(bytes).await;
        asked.socket.shutdown().await.unwrap();
        asked
    }

    /// Tells the client that it is over.
    async fn over(&self) {
        self.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
    }
}

impl Asked {
    /// A header of the request.
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(other, _)| *other == name).map(|(_, value)| value.trim())
    }

    async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        within("it reads", self.socket.write_all(bytes.as_ref())).await.unwrap();
    }

    /// The head of a stream that ends when the connection does, and these bytes of it.
    async fn stream(&mut self, bytes: impl AsRef<[u8]>) {
        self.write(format!("{HEAD}\r\n")).await;
        self.write(bytes).await;
    }

    /// Waits until the client has closed the connection.
    async fn is_left(&mut self) {
        let end = within("the client leaves", self.socket.read(&mut [0])).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}

/// A whole response of these bytes, which end when the connection does.
fn stream(bytes: &str) -> String {
    format!("{HEAD}\r\n{bytes}")
}

/// A response of these bytes in HTTP chunks of this size.
fn chunked(bytes: &[u8], size: usize) -> Vec<u8> {
    let head = format!("{HEAD}transfer-encoding: chunked\r\n\r\n");
    let mut response = head.into_bytes();
    for chunk in bytes.chunks(size) {
        response.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        response.extend_from_slice(chunk);
        response.extend_from_slice(b"\r\n");
    }
    response.extend_from_slice(b"0\r\n\r\n");
    response
}

/// Serves a case, and looks at what the client prints, how long it waits, and what it says
/// when it comes back.
async fn goes_through(case: &Case, size: usize) {
    let name = &case.name;
    let server = Server::start().await;
    let client = server.client(&["--json"]);
    let first = server.answer(chunked(&case.bytes, size)).await;
    assert_eq!(first.header("last-event-id"), None, "{name}");
    let second = server.asked().await;
    let last = second.header("last-event-id").unwrap_or_default();
    assert_eq!(last, case.last.trim(), "{name}"); // HTTP trims, too
    let retry = case.retry.unwrap_or(RETRY).max(MIN_WAIT);
    let waited = second.at - first.at;
    assert!(waited >= Duration::from_millis(retry), "{name}: {waited:?}");
    let announced = client.waits()[0];
    let least = retry as f64 / 1_000.0;
    assert!(
        (least - 0.05..=least * JITTER + 0.05).contains(&announced),
        "{name}: {announced} s, and not {retry} ms"
    );
    let mut second = second;
    second.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(0), "{name}: {ended:?}");
    let events: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(events == case.events, "{name}: {}", &ended.stdout);
}

async fn all_go_through(size: usize) {
    command(&[]); // built before the clocks run
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = Vec::new();
    for case in cases() {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        running.push(tokio::spawn(async move {
            goes_through(&case, size).await;
            drop(place);
        }));
    }
    assert!(running.len() > 100);
    for case in running {
        case.await.unwrap();
    }
}

#[tokio::test]
async fn every_case_is_as_the_standard_says() {
    all_go_through(usize::MAX).await;
}

#[tokio::test]
async fn every_case_is_the_same_byte_by_byte() {
    all_go_through(1).await;
}

#[tokio::test]
async fn an_event_is_printed_when_it_arrives() {
    let server = Server::start().await;
    let mut client = server.client(&[]);
    let mut asked = server.asked().await;
    asked.stream("data: one\n\n").await;
    assert_eq!(client.line().await, "message: one");
    asked.write("event: token\nid: 7\ndata: {\ndata:   1 }\n\ndata\n\n").await;
    assert_eq!(client.line().await, "token (id 7): {");
    assert_eq!(client.line().await, "      1 }");
    assert_eq!(client.line().await, "message (id 7): ");
    // A CR may be the first half of a line end, and is one already.
    asked.write("data: two\r\r").await;
    assert_eq!(client.line().await, "message (id 7): two");
}

#[tokio::test]
async fn no_data_takes_over_a_terminal() {
    let evil = "\u{1b}[2J\u{1b}]0;x\u{7}\u{8}\u{7f}\u{9b}31m\u{202e}\u{0}é\t\"\\🙂";
    let bytes = format!("event: {evil}\nid: \u{1b}[1m\ndata: {evil}\ndata: b\n\n");
    let server = Server::start().await;
    let client = server.client(&[]);
    server.answer(stream(&bytes)).await;
    server
        .answer("HTTP/1.1 200 OK\r\ncontent-type: \u{9b}31m\u{202e}\r\n\r\n")
        .await;
    let Ended { code, stdout, stderr } = client.ended().await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(!stderr.contains(['\u{9b}', '\u{202e}']), "{stderr}");
    let shown = r#"\u{1b}[2J\u{1b}]0;x\u{7}\u{8}\u{7f}\u{9b}31m\u{202e}\u{0}é	"\🙂"#;
    assert_eq!(stdout, format!("{shown} (id \\u{{1b}}[1m): {shown}\n    b\n"));

    let server = Server::start().await;
    let client = server.client(&["--json"]);
    server.answer(stream(&bytes)).await;
    server.over().await;
    let Ended { stdout, stderr, .. } = client.ended().await;
    let event: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(event["type"], evil);
    assert_eq!(event["data"], format!("{evil}\nb"));
    assert_eq!(event["lastEventId"], "\u{1b}[1m");
    let harmless = |c: char| !c.is_control() && c != '\u{202e}' || c == '\n';
    assert!(stdout.chars().chain(stderr.chars()).all(harmless), "{stdout}{stderr}");
    // What no header can have is not sent, and that is said.
    assert!(stderr.contains("no header can have"), "{stderr}");
}

#[tokio::test]
async fn the_request_is_as_eventsource_sends_it_and_with_what_was_asked_for() {
    let server = Server::start().await;
    let _client =
        server.client(&["-H", "Authorization: Bearer k:1", "--header=X-A:b"]);
    let asked = server.asked().await;
    assert!(asked.head.starts_with("GET /events HTTP/1.1\r\n"), "{}", asked.head);
    assert_eq!(asked.header("accept"), Some("text/event-stream"));
    assert_eq!(asked.header("cache-control"), Some("no-cache"));
    assert_eq!(asked.header("last-event-id"), None);
    assert_eq!(asked.header("authorization"), Some("Bearer k:1"));
    assert_eq!(asked.header("x-a"), Some("b"));

    let _client =
        server.client(&["-H", "Accept: a/b", "-H", "x-a: 1", "-H", "x-a: 2"]);
    let asked = server.asked().await;
    assert_eq!(asked.header("accept"), Some("a/b"));
    assert_eq!(asked.head.matches("x-a: ").count(), 2, "{}", asked.head);
    assert_eq!(asked.head.matches("accept: ").count(), 1, "{}", asked.head);
}

#[tokio::test]
async fn it_goes_on_where_it_was() {
    let server = Server::start().await;
    let mut client = server.client(&["--json", "--last-event-id", "é 1"]);
    let asked = server.answer(stream("retry: 0\ndata: a\n\n")).await;
    assert_eq!(asked.header("last-event-id"), Some("é 1"));
    assert_eq!(client.json().await["lastEventId"], "é 1");
    let asked = server.answer(stream("id: 2\ndata: b\n\nid: 3\ndata: lost\n")).await;
    assert_eq!(asked.header("last-event-id"), Some("é 1"));
    assert_eq!(client.json().await["lastEventId"], "2");
    // By the standard's letter an event without an ID would forget it here.
    let asked = server.answer(stream("data: c\n\n")).await;
    assert_eq!(asked.header("last-event-id"), Some("2"));
    assert_eq!(client.json().await["lastEventId"], "2");
    let asked = server.answer(stream("id\n\n")).await;
    assert_eq!(asked.header("last-event-id"), Some("2"));
    let asked = server.asked().await;
    assert_eq!(asked.header("last-event-id"), None);
}

#[tokio::test]
async fn it_waits_longer_each_time_until_there_is_an_event() {
    let server = Server::start().await;
    let mut client = server.client(&[]);
    let mut before = server.answer(stream("retry: 200\ndata: a\n\n")).await.at;
    // In milliseconds: after the event, and after none once, twice, three times.
    for (answer, least) in [
        ("", 200),
        ("HTTP/1.1 200", 200),
        ("HTTP/1.1 503 Busy\r\n\r\n", 400),
        (&stream(": no event\n\nid: 1\n\n"), 800),
    ] {
        let asked = server.answer(answer).await;
        let waited = asked.at - before;
        assert!(waited >= Duration::from_millis(least), "{waited:?} < {least} ms");
        before = asked.at;
    }
    let again = server.answer(stream("data: b\n\n")).await;
    assert!(again.at - before >= Duration::from_millis(1_600));
    let last = server.asked().await;
    assert!(last.at - again.at < Duration::from_millis(1_600), "an event resets it");
    assert_eq!(client.line().await, "message: a");
    assert_eq!(client.line().await, "message (id 1): b");
    let least = [0.2, 0.2, 0.4, 0.8, 1.6, 0.2];
    for (wait, least) in client.waits().into_iter().zip(least) {
        assert!((least - 0.05..=least * JITTER + 0.05).contains(&wait), "{wait} s");
    }
}

#[tokio::test]
async fn readers_who_lose_the_server_together_come_back_one_after_the_other() {
    let server = Server::start().await;
    let clients: Vec<_> = (0..20).map(|_| server.client(&[])).collect();
    for _ in &clients {
        server.answer(stream("retry: 10000\ndata: a\n\n")).await;
    }
    let mut waits = Vec::new();
    for client in &clients {
        waits.push(client.wait_after(0).await);
    }
    assert!(waits.iter().all(|wait| (9.9..=15.1).contains(wait)), "{waits:?}");
    waits.sort_by(f64::total_cmp);
    waits.dedup();
    assert!(waits.len() > 5, "{waits:?}");
}

#[tokio::test]
async fn a_reconnection_time_has_bounds() {
    for (retry, least) in
        [("0", 0.1), ("99999999999", 3_600.0), ("99999999999999999999999", 3.0)]
    {
        let server = Server::start().await;
        let client = server.client(&[]);
        server.answer(stream(&format!("retry: {retry}\ndata: a\n\n"))).await;
        let wait = client.wait_after(0).await;
        assert!((least..=least * JITTER + 0.1).contains(&wait), "{retry}: {wait} s");
    }
}

#[tokio::test]
async fn no_content_ends_it_well() {
    let server = Server::start().await;
    let client = server.client(&[]);
    server.over().await;
    let ended = client.ended().await;
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""), "{ended:?}");
    assert!(ended.stderr.contains("204"), "{ended:?}");
}

#[tokio::test]
async fn redirects_are_followed_from_the_first_url_each_time() {
    for status in [301, 302, 303, 307, 308] {
        let server = Server::start().await;
        let mut client = server.client(&["-H", "x-key: k"]);
        let redirect = format!(
            "HTTP/1.1 {status} Elsewhere\r\nlocation: /moved?a=1\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n"
        );
        for _ in 0..2 {
            let asked = server.answer(&redirect).await;
            assert!(asked.head.starts_with("GET /events "), "{}", asked.head);
            let asked = server.answer(stream("retry: 0\ndata: a\n\n")).await;
            assert!(asked.head.starts_with("GET /moved?a=1 "), "{}", asked.head);
            assert_eq!(asked.header("x-key"), Some("k"));
            assert_eq!(asked.header("referer"), None);
            assert_eq!(asked.header("accept"), Some("text/event-stream"));
            assert_eq!(client.line().await, "message: a");
        }
    }
}

#[tokio::test]
async fn your_header_goes_to_no_other_origin() {
    let other = Server::start().await;
    let redirect = format!(
        "HTTP/1.1 307 Elsewhere\r\nlocation: {}\r\nconnection: close\r\n\r\n",
        other.url()
    );
    let server = Server::start().await;
    let mut client = server.client(&[]);
    server.answer(&redirect).await;
    other.answer(stream("data: a\n\n")).await;
    assert_eq!(client.line().await, "message: a");

    let client = server.client(&["-H", "x-key: k"]);
    server.answer(&redirect).await;
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("another origin"), "{ended:?}");
    let asked = tokio::time::timeout(Duration::from_secs(1), other.0.accept()).await;
    assert!(asked.is_err(), "the other server was asked");
}

#[tokio::test]
async fn redirects_that_lead_nowhere_are_refused() {
    for (location, requests) in
        [("location: /events\r\n", 21), ("", 1), ("location: ftp://a/\r\n", 1)]
    {
        let server = Server::start().await;
        let client = server.client(&[]);
        for _ in 0..requests {
            let redirect = format!(
                "HTTP/1.1 301 Elsewhere\r\n{location}connection: close\r\n\r\n"
            );
            server.answer(redirect).await;
        }
        let ended = client.ended().await;
        assert_eq!(ended.code, Some(2), "{location}: {ended:?}");
    }
}

#[tokio::test]
async fn only_an_event_stream_is_read() {
    for kind in [
        "text/event-stream",
        "Text/Event-Stream; charset=UTF-8",
        "text/event-stream;charset=iso-8859-1",
    ] {
        let server = Server::start().await;
        let mut client = server.client(&[]);
        let response =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\ndata: é\n\n");
        server.answer(response).await;
        assert_eq!(client.line().await, "message: é", "{kind}");
    }
    for head in [
        "content-type: text/plain\r\n",
        "content-type: text/event-streams\r\n",
        "content-type: application/json\r\n",
        "content-type: \r\n",
        "",
    ] {
        let server = Server::start().await;
        let client = server.client(&[]);
        server.answer(format!("HTTP/1.1 200 OK\r\n{head}\r\ndata: a\n\n")).await;
        let ended = client.ended().await;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{head}: {ended:?}");
        assert!(ended.stderr.contains("not text/event-stream"), "{ended:?}");
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_not() {
    for status in [201, 206, 300, 304, 400, 401, 403, 404, 405, 410, 431] {
        let server = Server::start().await;
        let client = server.client(&[]);
        let kind = "content-type: text/event-stream";
        server
            .answer(format!("HTTP/1.1 {status} No\r\n{kind}\r\n\r\ndata: a\n\n"))
            .await;
        let ended = client.ended().await;
        assert_eq!(
            (ended.code, &*ended.stdout),
            (Some(2), ""),
            "{status}: {ended:?}"
        );
        assert!(ended.stderr.contains(&status.to_string()), "{ended:?}");
    }
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let server = Server::start().await;
        let mut client = server.client(&[]);
        server.answer(stream("retry: 0\n\n")).await;
        server.answer(format!("HTTP/1.1 {status} No\r\n\r\n")).await;
        server.answer(stream("data: a\n\n")).await;
        assert_eq!(client.line().await, "message: a");
        assert!(client.stderr().contains(&status.to_string()), "{status}");
    }
}

#[tokio::test]
async fn it_does_not_come_before_retry_after() {
    let date = |ahead| {
        httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(ahead))
    };
    for (asked_for, least, most) in [
        ("2", 2.0, 3.0),
        ("in 10", 7.0, 15.0),
        ("0", 0.1, 0.2),
        ("soon", 0.1, 0.2),
        ("in 0", 0.1, 0.2),
        ("999999", 3_600.0, 5_400.0),
    ] {
        let server = Server::start().await;
        let client = server.client(&[]);
        server.answer(stream("retry: 100\ndata: a\n\n")).await;
        let value = match asked_for.strip_prefix("in ") {
            Some(ahead) => date(ahead.parse().unwrap()),
            None => asked_for.into(),
        };
        let response = format!("HTTP/1.1 503 Busy\r\nretry-after: {value}\r\n\r\n");
        let refused = server.answer(response).await;
        let wait = client.wait_after(1).await;
        assert!((least..=most).contains(&wait), "{asked_for}: {wait} s");
        if most <= 3.0 {
            let waited = server.asked().await.at - refused.at;
            assert!(waited.as_secs_f64() >= least, "{asked_for}: {waited:?}");
        }
    }
}

#[tokio::test]
async fn silence_has_a_limit_and_heartbeats_break_it() {
    let server = Server::start().await;
    let mut client = server.client(&["--idle", "0.6"]);
    let mut asked = server.asked().await;
    asked.stream("retry: 0\ndata: a\n\n").await;
    assert_eq!(client.line().await, "message: a");
    for _ in 0..10 {
        pause(Duration::from_millis(200)).await;
        asked.write(":\n\n").await;
    }
    asked.write("data: b\n\n").await;
    assert_eq!(client.line().await, "message: b");
    assert!(client.waits().is_empty(), "one connection, for all these heartbeats");
    let silent = Instant::now();
    asked.is_left().await;
    assert!(
        silent.elapsed() >= Duration::from_millis(500),
        "{:?}",
        silent.elapsed()
    );
    assert!(client.wait_after(0).await < 0.2);
    assert!(
        client.stderr().contains("nothing came for 600ms"),
        "{}",
        client.stderr()
    );
    // A server that accepts, and does not even answer.
    let mut asked = server.asked().await;
    asked.is_left().await;
    server.asked().await;
}

#[tokio::test]
async fn heartbeats_are_no_failed_attempt() {
    let server = Server::start().await;
    let client = server.client(&["--idle", "1", "--max-attempts", "1"]);
    let mut asked = server.asked().await;
    asked.stream("retry: 0\n\n").await;
    pause(Duration::from_millis(700)).await;
    asked.write(":\n\n").await;
    drop(asked);
    client.wait_after(0).await;
    server.answer(stream(":\n\n")).await;
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
}

#[tokio::test]
async fn an_event_without_an_end_has_a_limit() {
    for endless in ["x", "x\ndata: ", ":\ndata:x\n"] {
        let server = Server::start().await;
        let client = server.client(&["--max-event", "100000"]);
        let mut asked = server.asked().await;
        asked.stream("data: first\n\ndata: ").await;
        let piece = endless.repeat(1_000);
        let write = async {
            while asked.socket.write_all(piece.as_bytes()).await.is_ok() {}
        };
        within("the client leaves", write).await;
        let ended = client.ended().await;
        assert_eq!(ended.code, Some(4), "{ended:?}");
        assert_eq!(ended.stdout, "message: first\n");
        assert!(ended.stderr.contains("too large"), "{ended:?}");
    }
}

#[tokio::test]
async fn the_limit_is_the_same_however_the_bytes_are_cut() {
    let exact = format!("data: {}\n\n", "x".repeat(94)); // 100 bytes and two line ends
    let over = format!("data: {}\n\n", "x".repeat(95));
    let lines = format!("{}\n", "data: 567890\r\n".repeat(8)); // 96
    // What is not part of an event does not count.
    let others =
        format!("{}{exact}", ": comment\nretry: 0\nevent: e\nid: 1\n".repeat(50));
    for (bytes, code) in [(&exact, 0), (&over, 4), (&lines, 0), (&others, 0)] {
        for size in [1, 7, usize::MAX] {
            let server = Server::start().await;
            let client = server.client(&["--max-event", "100"]);
            let bytes = format!("retry: 0\n\n{bytes}{bytes}");
            server.answer(chunked(bytes.as_bytes(), size)).await;
            if code == 0 {
                server.over().await;
            }
            let ended = client.ended().await;
            assert_eq!(ended.code, Some(code), "{size}: {bytes} {ended:?}");
        }
    }
}

/// A parser that looks at a line from its start whenever a piece arrives would look at
/// 350,000,000,000 bytes here.
#[tokio::test]
async fn a_long_line_in_small_pieces_takes_linear_time() {
    const LINE: usize = 8 << 20;
    for (before, data) in [("data: ", LINE + 1), (": ", 0), ("data", 0)] {
        let server = Server::start().await;
        let mut client = server.client(&["--json"]);
        let line = format!("{before}{}\ndata:\n\n", "x".repeat(LINE));
        server.answer(chunked(line.as_bytes(), 100)).await;
        let event = client.json().await;
        assert_eq!(event["data"].as_str().unwrap().len(), data, "{before}");
    }
}

#[tokio::test]
async fn it_gives_up_after_so_many_attempts_in_vain() {
    let server = Server::start().await;
    let client = server.client(&["--max-attempts", "3"]);
    for bytes in ["retry: 0\n\n", "", "data: a\n\n", "", ": c\n\n", "id: 1\n\n"] {
        server.answer(stream(bytes)).await;
    }
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("giving up"), "{ended:?}");

    let url = server.url();
    drop(server);
    let ended = run(&["--max-attempts=1", &url]).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("no connection"), "{ended:?}");
}

#[tokio::test]
async fn bad_arguments_are_one_clear_line() {
    let url = "http://127.0.0.1:1/";
    for args in [
        &[][..],
        &["banana"],
        &["ftp://127.0.0.1/"],
        &["http://"],
        &[url, url],
        &["--josn", url],
        &["--json=yes", url],
        &["--idle", "0", url],
        &["--idle", "-1", url],
        &["--idle", "soon", url],
        &["--max-attempts", "0", url],
        &["--max-event", "1e6", url],
        &["--last-event-id", "a\nb", url],
        &["-H", "no colon secret", url],
        &["-H", "a b: secret", url],
        &["-H", "a: secret\nb", url],
        &["-H"],
    ] {
        let Ended { code, stdout, stderr } = run(args).await;
        assert_eq!((code, &*stdout), (Some(1), ""), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
        assert!(stderr.contains("--help"), "{args:?}: {stderr}");
        assert!(!stderr.contains("secret"), "{args:?}: {stderr}");
    }
}

#[tokio::test]
async fn a_password_in_the_url_is_used_and_not_shown() {
    let server = Server::start().await;
    let url = server.url().replace("http://", "http://ann:secret@");
    let client = Client::start(&["--max-attempts", "2", &url]);
    let asked = server.answer(stream("retry: 0\n\n")).await;
    assert_eq!(asked.header("authorization"), Some("Basic YW5uOnNlY3JldA=="));
    drop(server);
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(!ended.stderr.contains("secret"), "{ended:?}");
}

#[tokio::test]
async fn help_names_the_options_and_the_exit_codes() {
    for flag in ["--help", "-h"] {
        let Ended { code, stdout, stderr } = run(&[flag]).await;
        assert_eq!((code, &*stderr), (Some(0), ""));
        for part in [
            "--json",
            "--last-event-id ID",
            "-H, --header",
            "--idle SECONDS",
            "--max-event BYTES",
            "--max-attempts N",
            "    0  ",
            "    1  ",
            "    2  ",
            "    3  ",
            "    4  ",
        ] {
            assert!(stdout.contains(part), "{part}");
        }
    }
}

#[tokio::test]
async fn it_ends_quietly_when_nobody_reads_it_any_more() {
    let server = Server::start().await;
    let mut client = server.client(&[]);
    let mut asked = server.asked().await;
    asked.stream("data: a\n\n").await;
    assert_eq!(client.line().await, "message: a");
    client.stdout = None;
    asked.write("data: b\n\n").await;
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr, "client: connected\n");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_cannot_be_written_is_said() {
    let server = Server::start().await;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let client = Client::spawn(command(&[&server.url()]).stdout(full));
    server.answer(stream("data: a\n\n")).await;
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("cannot write"), "{ended:?}");
}

#[tokio::test]
async fn a_signal_ends_it_whatever_it_does() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let server = Server::start().await;
        let reading = server.client(&[]);
        let mut asked = server.asked().await;
        asked.stream("").await;
        until("it reads", async || reading.stderr().contains("connected")).await;
        reading.signal(signal);
        let ended = reading.ended().await;
        assert_eq!(ended.code, Some(0), "reading: {ended:?}");

        let waiting = server.client(&[]);
        server.answer(stream("retry: 100000\n\n")).await;
        waiting.wait_after(0).await;
        waiting.signal(signal);
        let ended = waiting.ended().await;
        assert_eq!(ended.code, Some(0), "waiting: {ended:?}");

        // Nobody reads what it writes.
        let mut writing = server.client(&[]);
        let mut asked = server.asked().await;
        asked.stream("").await;
        let flood = "data: flood\n\n".repeat(1_000);
        let flood = async {
            while asked.socket.write_all(flood.as_bytes()).await.is_ok() {}
        };
        let stuck = tokio::time::timeout(Duration::from_secs(1), flood).await;
        assert!(stuck.is_err(), "it has read more than it could write");
        writing.signal(signal);
        let code = within("it ends", writing.child.wait()).await.unwrap().code();
        assert_eq!(code, Some(0), "writing");
    }
}

#[tokio::test]
async fn it_reads_the_books_own_programs() {
    let mut tick = Program::start("tick").await;
    let mut client = Client::start(&[&format!("{}/ticks", tick.url)]);
    assert_eq!(client.line().await, "message: 1");
    assert_eq!(client.line().await, "message: 2");
    tick.stop();
    client.wait_after(0).await;
    let addr = tick.url.strip_prefix("http://").unwrap();
    let _tick = Program::start_at("tick", addr).await;
    assert_eq!(client.line().await, "message: 1");
}
