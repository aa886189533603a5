//! `chat`, `llm` and `feed` behind each right configuration: events are delivered, a reader
//! who was cut off goes on after its last event, the page's own requests are let in and
//! those of other pages are not, and a program that stops ends its streams cleanly.

use std::fs;
use std::process::Stdio;

use eventsource_stream::Event;
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use reqwest::{RequestBuilder, Response};
use serde_json::json;
use tests::{Events, Middlebox, Program, within};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::record::boxes;
use crate::seen::Server;

/// A program behind a proxy, as a browser sees it that was told a name.
struct Site {
    program: Program,
    _middlebox: Middlebox,
}

impl Site {
    async fn start(name: &str, program: Program) -> Self {
        Self::behind(name, "right", program).await
    }

    async fn behind(name: &str, configuration: &str, mut program: Program) -> Self {
        let middlebox = Middlebox::start(name, configuration, &program.url).await;
        program.url.clone_from(&middlebox.url);
        Self { program, _middlebox: middlebox }
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.program.request(method, path).header("host", "book.example")
    }

    /// A POST of a page, from this origin.
    async fn post(
        &self,
        path: &str,
        origin: &str,
        body: impl Into<reqwest::Body>,
    ) -> Response {
        let request = self.request("POST", path).header("origin", origin).body(body);
        let request = request.header("content-type", "application/json");
        self.program.send(request).await
    }

    /// Sends it as the program's own page does, and as a foreign one, which is refused.
    async fn post_as_page(&self, path: &str, body: String) -> Response {
        let foreign = self.post(path, "http://other.example", body.clone()).await;
        assert_eq!(foreign.status(), 403);
        self.post(path, "http://book.example", body).await
    }

    async fn events(&self, path: &str, last: &str) -> Events {
        let request =
            self.request("GET", path).header("accept", "text/event-stream");
        let request = if last.is_empty() {
            request
        } else {
            request.header("last-event-id", last)
        };
        self.program.events_of(request).await
    }

    /// Stops the program, whose streams end, and are not cut.
    async fn stop(mut self, streams: Vec<Events>) {
        self.program.signal(Signal::SIGTERM);
        for mut events in streams {
            assert!(within("an end", events.end()).await, "the stream is cut");
        }
        assert_eq!(self.program.exit_code().await, Some(0));
    }
}

/// The next event of this type.
async fn next(events: &mut Events, of: &str) -> Event {
    loop {
        let event = events.next().await.expect("the stream goes on");
        if event.event == of {
            return event;
        }
    }
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn chat_lives_behind_each_right_configuration() {
    join_all(boxes().iter().map(async |name| {
        let site = Site::start(name, Program::start("chat").await).await;
        talk(site).await;
    }))
    .await;
}

async fn talk(site: Site) {
    let mut ann = site.events("/chat", "").await;
    let user = next(&mut ann, "user").await;
    let mut bob = site.events("/chat", "").await;
    let say = format!("/chat/{}", next(&mut bob, "user").await.data);
    assert_eq!(site.post_as_page(&say, "hi".into()).await.status(), 204);
    let heard = next(&mut ann, "message").await;
    assert_eq!(heard.data, "<User#2>: hi");
    // Ann's line breaks, and she comes back.
    drop(ann);
    assert_eq!(site.post_as_page(&say, "there?".into()).await.status(), 204);
    let mut ann = site.events(&format!("/chat?as={}", user.data), &heard.id).await;
    assert_eq!(next(&mut ann, "message").await.data, "<User#2>: there?");
    site.stop(vec![ann, bob]).await;
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn llm_lives_behind_each_right_configuration() {
    join_all(boxes().iter().map(async |name| {
        let site = Site::start(name, Program::start("llm").await).await;
        ask(site).await;
    }))
    .await;
}

async fn ask(site: Site) {
    let prompt = json!({ "prompt": "What is a heartbeat?" }).to_string();
    let answer = site.post_as_page("/answers", prompt).await;
    assert_eq!(answer.status(), 201);
    let path = format!("/{}", answer.headers()["location"].to_str().unwrap());
    let mut events = site.events(&path, "").await;
    for id in 1..=3 {
        assert_eq!(next(&mut events, "token").await.id, id.to_string());
    }
    // The line breaks in the middle of the answer.
    drop(events);
    let mut events = site.events(&path, "3").await;
    assert_eq!(next(&mut events, "token").await.id, "4");
    // The answer is not finished when the program stops.
    site.stop(vec![events]).await;
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn feed_lives_behind_each_right_configuration() {
    join_all(boxes().iter().map(async |name| {
        let folder = tempfile::tempdir().unwrap();
        let variables = [("FEED_DIR", folder.path().to_str().unwrap())];
        let feed = Program::start_with("feed", &variables).await;
        append(Site::start(name, feed).await).await;
    }))
    .await;
}

async fn append(site: Site) {
    let note = |data: &str| json!({ "type": "note", "data": data }).to_string();
    assert_eq!(site.post_as_page("/events", note("one")).await.status(), 201);
    let mut reader = site.events("/events?from=start", "").await;
    let one = next(&mut reader, "note").await;
    assert_eq!(one.data, "one");
    assert_eq!(site.post_as_page("/events", note("two")).await.status(), 201);
    assert_eq!(next(&mut reader, "note").await.data, "two");
    drop(reader);
    let mut reader = site.events("/events?from=start", &one.id).await;
    assert_eq!(next(&mut reader, "note").await.data, "two");
    site.stop(vec![reader]).await;
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn behind_a_default_that_names_itself_as_host_the_page_is_refused() {
    for name in ["nginx", "apache", "h2o"] {
        if !boxes().contains(&name) {
            continue;
        }
        let site = Site::behind(name, "default", Program::start("chat").await).await;
        let answer = site.post("/chat/0", "http://book.example", "hi").await;
        assert_eq!(answer.status(), 403, "{name}");
    }
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn chat_lives_behind_nginx_which_lets_people_write_and_no_flood() {
    let chat = Program::start("chat").await;
    talk(Site::behind("nginx", "chat", chat).await).await;
    let site = Site::behind("nginx", "chat", Program::start("chat").await).await;
    let mut ann = site.events("/chat", "").await;
    let say = format!("/chat/{}", next(&mut ann, "user").await.data);
    let posts =
        (0..60).map(|n| site.post(&say, "http://book.example", n.to_string()));
    let answers = join_all(posts).await;
    let said = answers.iter().filter(|answer| answer.status() == 204).count();
    let refused = answers.iter().filter(|answer| answer.status() == 503).count();
    assert_eq!(said + refused, 60);
    assert!((21..60).contains(&said), "{said} of 60 messages at once");
    // Whoever reads is no writer.
    let mut bob = site.events("/chat", "").await;
    next(&mut bob, "user").await;
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn llm_lives_behind_nginx_which_lets_people_ask_and_no_flood() {
    ask(Site::behind("nginx", "llm", Program::start("llm").await).await).await;
    let site = Site::behind("nginx", "llm", Program::start("llm").await).await;
    let prompt = |text: &str| json!({ "prompt": text }).to_string();
    let post = |body| site.post("/answers", "http://book.example", body);
    let answers = join_all((0..20).map(|_| post(prompt("Hi")))).await;
    let asked = answers.iter().filter(|answer| answer.status() == 201).count();
    let refused = answers.iter().filter(|answer| answer.status() == 503).count();
    assert_eq!((asked, refused), (11, 9));
    assert_eq!(post(prompt(&"x".repeat(129 << 10))).await.status(), 413);
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn nginx_before_chat_sends_one_message_after_the_other_over_one_connection() {
    let server = Server::start().await;
    for (configuration, is_one) in [("chat", true), ("right", false)] {
        let nginx = Middlebox::start("nginx", configuration, &server.url).await;
        let connection = async || {
            let url = format!("{}/connection", nginx.url);
            let answer = within("an answer", reqwest::get(url)).await.unwrap();
            answer.text().await.unwrap()
        };
        let first = connection().await;
        assert_eq!(connection().await == first, is_one, "{configuration}");
    }
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn over_tls_and_http_2_a_page_writes_and_its_stream_passes() {
    let chat = Program::start("chat").await;
    let key = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = folder.path().join("server");
    let server = server.to_str().unwrap();
    fs::write(format!("{server}.crt"), key.cert.pem()).unwrap();
    fs::write(format!("{server}.key"), key.signing_key.serialize_pem()).unwrap();
    let change = |text: String| text.replace("/tmp/boxes/server", server);
    let nginx = Middlebox::start_changed("nginx", "tls", &chat.url, change).await;
    let origin = nginx.url.replace("http://127.0.0.1", "https://localhost");
    let curl = |arguments: &[&str], path: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sSN", "--http2", "--cacert", &format!("{server}.crt")]);
        curl.args(arguments).arg(format!("{origin}{path}"));
        curl.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
    };
    let mut ann = curl(&["-i"], "/chat");
    let mut lines = BufReader::new(ann.stdout.take().unwrap()).lines();
    let mut line = async || {
        within("a line", lines.next_line())
            .await
            .unwrap()
            .expect("the stream goes on")
    };
    assert!(line().await.starts_with("HTTP/2 200"));
    within("her name", async { while line().await != "event: user" {} }).await;
    let id = line().await.replace("data: ", "");
    for (from, status) in [(&*origin, "204"), ("https://other.example", "403")] {
        let from = format!("origin: {from}");
        let arguments =
            ["-H", &from, "-d", "hi", "-o", "/dev/null", "-w", "%{http_code}"];
        let said = curl(&arguments, &format!("/chat/{id}")).wait_with_output();
        assert_eq!(
            within("an answer", said).await.unwrap().stdout,
            status.as_bytes()
        );
    }
    let heard = async { while line().await != "event: own" {} };
    within("her own words", heard).await;
}
