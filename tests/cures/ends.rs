//! Streams that end: with their job, with the program, and with their reader.

#[cfg(unix)]
use nix::sys::signal::Signal;
use serde_json::json;
use tests::scripted::{HEAD, Server};
use tests::{Browser, Events, Program, until, within};

/// The last step of the job.
const STEPS: u64 = 10;

#[tokio::test]
async fn a_job_ends_its_stream_and_says_204_to_a_reader_who_comes_back() {
    let job = Program::start("cure_job").await;
    let mut ann = job.events("/").await;
    let mut last = String::new();
    while let Some(event) = ann.next().await {
        let name = if event.data == STEPS.to_string() { "done" } else { "progress" };
        assert_eq!(event.event, name);
        last = event.id;
        if last == "3" {
            ann = job.events_of(back(&job, &last)).await; // through a tunnel
        }
    }
    assert_eq!(last, STEPS.to_string());
    assert_eq!(job.send(back(&job, &last)).await.status(), 204);
    assert_eq!(job.get("/?after=10").await.status(), 204);
    // Somebody new sees how it ended.
    let mut bob = job.events("/").await;
    assert_eq!(bob.next().await.unwrap().event, "done");
    assert!(bob.next().await.is_none());
}

fn back(job: &Program, id: &str) -> reqwest::RequestBuilder {
    job.request("GET", "/").header("last-event-id", id)
}

#[tokio::test]
#[ignore = "needs chromedriver, and firefox-esr"]
async fn an_eventsource_hears_the_end_of_a_job_once_and_stays_away() {
    let job = Program::start("cure_job").await;
    for browser in Browser::both().await {
        browser.open(&format!("{}/nothing", job.url)).await;
        let listen = "window.ends = 0; window.source = new EventSource('/');
            source.addEventListener('done', () => { ends += 1; })";
        browser.eval(&format!("(() => {{ {listen} }})()")).await;
        browser.until("source.readyState == 2 && ends == 1").await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn asked_to_end_a_program_without_a_room_ends_its_streams_whole() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut ticks = Program::start("cure_end").await;
        let mut readers = Vec::new();
        for _ in 0..20 {
            readers.push(ticks.events("/").await);
        }
        // This reader does not even notice.
        let _stuck = ticks.reader_that_never_reads("/").await;
        for reader in &mut readers {
            assert_eq!(reader.data().await, "tick");
        }
        ticks.signal(signal);
        for reader in &mut readers {
            // A stream that is cut off would be an error here.
            while reader.next().await.is_some() {}
        }
        assert_eq!(ticks.exit_code().await, Some(0));
    }
}

/// A relay to this upstream.
async fn relay_to(upstream: &str) -> Program {
    Program::start_with("cure_relay", &[("UPSTREAM", upstream)]).await
}

/// A question to a model, or to a relay.
fn ask(program: &Program, path: &str) -> reqwest::RequestBuilder {
    let message = json!({ "role": "user", "content": "Hi" });
    let body = json!({ "model": "stand-in", "stream": true, "messages": [message] });
    let post = program.request("POST", path).body(body.to_string());
    post.header("content-type", "application/json")
}

#[tokio::test]
async fn a_relay_leaves_its_upstream_when_its_reader_leaves() {
    let upstream = Server::start().await;
    let relay = relay_to(&upstream.url("/")).await;
    let reader = tokio::spawn(ask(&relay, "/").send());
    let mut asked = upstream.asked().await;
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.json()["model"], "stand-in");
    asked.stream("data: a token\n\n").await;
    let answer = within("an answer", reader).await.unwrap().unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-cache");
    assert_eq!(answer.headers()["x-accel-buffering"], "no");
    let mut reader = Events::of(answer);
    assert_eq!(reader.data().await, "a token");
    // The model thinks, and writes nothing that could fail.
    drop(reader);
    asked.is_left().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_model_is_left_when_the_reader_of_its_relay_leaves() {
    let model = Program::start("model").await;
    let relay = relay_to(&format!("{}/v1/chat/completions", model.url)).await;
    // Somebody has just asked the same, and hears the answer to its end.
    let mut other = model.events_of(ask(&model, "/v1/chat/completions")).await;
    let before = model.sockets();
    let mut reader = relay.events_of(ask(&relay, "/")).await;
    assert!(reader.data().await.contains("chat.completion.chunk"));
    assert!(model.sockets() > before);
    drop(reader);
    let left = until("the model is left", async || model.sockets() == before);
    let end = async { while other.data().await != "[DONE]" {} };
    tokio::select! { () = left => {}, () = end => panic!("it wrote to the end") }
}

#[tokio::test]
async fn a_relay_passes_on_a_refusal_and_a_broken_answer_as_what_they_are() {
    let upstream = Server::start().await;
    let relay = relay_to(&upstream.url("/")).await;
    let reader = tokio::spawn(ask(&relay, "/").send());
    let refusal = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nbusy";
    upstream.answer(refusal).await;
    let answer = within("an answer", reader).await.unwrap().unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(within("its text", answer.text()).await.unwrap(), "busy");

    let reader = tokio::spawn(ask(&relay, "/").send());
    let cut = format!("{HEAD}transfer-encoding: chunked\r\n\r\n8\r\ndata: a\n\r\n");
    upstream.answer(cut).await;
    let answer = within("an answer", reader).await.unwrap().unwrap();
    let end = within("the end", answer.text()).await;
    assert!(end.is_err(), "half an answer looks whole: {end:?}");

    drop(upstream);
    assert_eq!(relay.send(ask(&relay, "/")).await.status(), 502);
}
