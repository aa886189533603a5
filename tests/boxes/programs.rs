//! `chat`, `llm` and `feed` behind each right configuration: events are delivered, a reader
//! who was cut off goes on after its last event, the page's own requests are let in and
//! those of other pages are not, and a program that stops ends its streams cleanly.

use eventsource_stream::Event;
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use reqwest::{RequestBuilder, Response};
use serde_json::json;
use tests::{Events, Middlebox, Program, within};

use crate::configurations::boxes;

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
    let answer = site.post_as_page("/answers", prompt.clone()).await;
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
    next(&mut events, "done").await;
    assert!(within("an end", events.end()).await, "the stream is cut");
    // Another answer is not finished when the program stops.
    let answer = site.post_as_page("/answers", prompt).await;
    let path = format!("/{}", answer.headers()["location"].to_str().unwrap());
    let mut events = site.events(&path, "").await;
    next(&mut events, "token").await;
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
