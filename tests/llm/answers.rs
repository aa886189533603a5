//! How readers follow an answer, come back to it, stop it, and leave it.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::{Program, Recording, assert_text_but_numbers, pause, until};

use crate::server::{ModelServer, SOON, ask, back, finish, text, token, whole};

/// The times of `examples/llm/answer.rs`.
const GRACE: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_secs(15);

#[tokio::test]
async fn the_bytes_are_those_of_the_transcript() {
    let llm = Program::start("llm").await;
    let path = ask(&llm, "What is a token?").await;
    let mut recording = Recording::of(llm.get(&path).await);
    while !recording.chunk().await.contains("event: done") {}
    recording.assert("llm");
    assert!(
        llm.stderr().contains("asking stand-in at 127.0.0.1:"),
        "{}",
        llm.stderr()
    );
}

#[tokio::test]
async fn tokens_arrive_one_by_one_while_the_model_goes_on() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let mut events = llm.events(&ask(&llm, "Count").await).await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    for word in [" one", " two", " three"] {
        // The next one is sent when this one has arrived.
        asked.write(token(word)).await;
        assert_eq!(text(&events.next().await.unwrap()), word);
    }
    asked.write(finish()).await;
    assert_eq!(events.next().await.unwrap().event, "done");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn two_readers_read_one_answer_and_the_model_is_asked_once() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let mut ann = llm.events(&path).await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    asked.write(token("a")).await;
    assert_eq!(text(&ann.next().await.unwrap()), "a");
    let mut bob = llm.events(&path).await;
    assert_eq!(text(&bob.next().await.unwrap()), "a");
    asked.write(token("b")).await;
    assert_eq!(text(&bob.next().await.unwrap()), "b");
    // One of two readers leaves, which is no reason to stop.
    drop(bob);
    assert_eq!(text(&ann.next().await.unwrap()), "b");
    pause(GRACE + SOON).await;
    asked.write(token("c")).await;
    asked.write(finish()).await;
    assert_eq!(text(&ann.next().await.unwrap()), "c");
    let (tokens, last, _) = whole(llm.events(&path).await).await;
    assert_eq!((tokens.concat(), &*last), ("abc".to_string(), "done"));
    server.stays_alone_for(SOON).await;
}

#[tokio::test]
async fn a_reader_that_comes_back_continues_and_gets_204_after_the_end() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let mut events = llm.events(&path).await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    asked.write(token("a")).await;
    let first = events.next().await.unwrap();
    drop(events);
    asked.write(token("b")).await;
    asked.write(finish()).await;
    let mut events = back(&llm, &path, &first.id).await;
    assert_eq!(text(&events.next().await.unwrap()), "b");
    let done = events.next().await.unwrap();
    assert_eq!((&*done.event, &*done.id), ("done", "3"));
    assert!(events.next().await.is_none());

    let request = llm.request("GET", &path).header("last-event-id", &done.id);
    assert_eq!(llm.send(request).await.status(), 204);
    for forged in ["4", "-1", "99999999999999999999999", "x", "", "1.0", " 1\t2"] {
        let (tokens, last, _) = whole(back(&llm, &path, forged).await).await;
        assert_eq!(
            (tokens.concat(), &*last),
            ("ab".to_string(), "done"),
            "{forged}"
        );
    }
}

/// Some clients forget between two connections how soon they were to come back.
#[tokio::test]
async fn each_response_says_at_once_when_to_come_back() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let mut first = Recording::of(llm.get(&path).await);
    assert_eq!(first.chunk().await, "retry: 1000\n");
    let mut asked = server.asked().await;
    asked.stream("").await;
    asked.write(token("a")).await;
    assert!(first.chunk().await.starts_with("event: token\ndata: "));
    let request = llm.request("GET", &path).header("last-event-id", "1");
    let mut again = Recording::of(llm.send(request).await);
    assert_eq!(again.chunk().await, "retry: 1000\n");
    asked.write(finish()).await;
    assert!(again.chunk().await.starts_with("event: done\ndata: "));
}

#[tokio::test]
async fn a_client_without_the_header_says_in_the_url_what_it_has() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let events = llm.events(&path).await;
    let mut asked = server.asked().await;
    asked.stream(token("a") + &*token("b") + &*finish()).await;
    whole(events).await;
    let text_after = async |query: &str, header: &str| {
        let request = llm.request("GET", &format!("{path}{query}"));
        let request = match header {
            "" => request,
            id => request.header("last-event-id", id),
        };
        let mut events = llm.events_of(request).await;
        text(&events.next().await.unwrap())
    };
    assert_eq!(text_after("?after=1", "").await, "b");
    assert_eq!(text_after("?lastEventId=1", "").await, "b");
    assert_eq!(text_after("?lastEventId=x&after=1", "").await, "b");
    // An EventSource that comes back asks for the same URL: its header is newer.
    assert_eq!(text_after("?after=0", "1").await, "b");
    assert_eq!(text_after("?after=1&lastEventId=1", "0").await, "a");
    for end in ["?after=3", "?lastEventId=3"] {
        assert_eq!(llm.get(&format!("{path}{end}")).await.status(), 204);
    }
    for unknown in ["lastEventID", "last-event-id", "t", "After"] {
        let answer = llm.get(&format!("{path}?{unknown}=1")).await;
        assert_eq!(answer.status(), 400, "{unknown}");
        let why = format!("there is no parameter `{unknown}` here");
        assert!(answer.text().await.unwrap().contains(&why), "{unknown}");
    }
}

#[tokio::test]
async fn a_head_alone_is_answered_and_counts_as_no_reader() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let mut asked = server.asked().await;
    asked.stream(token("a")).await;
    let client = reqwest::Client::new();
    let head =
        async |path: &str| llm.send(client.head(format!("{}{path}", llm.url))).await;
    let left = tokio::spawn(async move { (asked.is_left().await, asked) });
    // However many look, nobody reads: the model server is left when its time has come.
    let start = Instant::now();
    while !left.is_finished() {
        let answer = head(&path).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["cache-control"], "no-cache");
        assert!(start.elapsed() < GRACE + 5 * SOON, "HEAD counts as a reader");
    }
    assert_eq!(head(&path).await.status(), 200);
    assert_eq!(head(&format!("{path}?after=2")).await.status(), 204);
    assert_eq!(head("/answers/0").await.status(), 404);
    assert_eq!(head("/").await.status(), 200);
    server.stays_alone_for(SOON).await;
}

#[tokio::test]
async fn the_model_server_is_left_when_the_last_reader_has_gone() {
    for tokens in [0, 1] {
        let server = ModelServer::start().await;
        let llm = server.llm().await;
        let path = ask(&llm, "Hi").await;
        let mut events = llm.events(&path).await;
        let mut asked = server.asked().await;
        if tokens > 0 {
            asked.stream("").await;
            asked.write(token("a")).await;
            events.next().await.unwrap();
        }
        drop(events);
        let time = asked.is_left().await;
        assert!(time > GRACE - SOON && time < GRACE + SOON, "{tokens}: {time:?}");
        let (came, last, data) = whole(llm.events(&path).await).await;
        assert_eq!((came.len(), &*last), (tokens, "failure"));
        assert_eq!(data["reason"], "nobody was reading any more");
    }
}

#[tokio::test]
async fn the_stand_in_says_how_far_it_came_when_its_client_leaves() {
    let model = Program::start("model").await;
    let base = format!("{}/v1", model.url);
    let variables = [("OPENAI_BASE_URL", &*base), ("OPENAI_MODEL", "stand-in")];
    let llm = Program::start_with("llm", &variables).await;
    let mut events = llm.events(&ask(&llm, "What is a token?").await).await;
    for _ in 0..10 {
        events.next().await.unwrap();
    }
    drop(events);
    until("both have noticed", async || {
        model.stderr().contains("sent") && llm.stderr().contains("nobody")
    })
    .await;
    let said = |program: &Program, word: &str| {
        let said = program.stderr();
        let line = said.lines().find(|line| line.contains(word)).unwrap();
        line.split_once("Z ").unwrap().1.trim().to_string() + "\n"
    };
    let both = said(&llm, "nobody") + &*said(&model, "sent");
    assert_text_but_numbers("llm/recorded/left.txt", &both);
    let (sent, of) =
        both.rsplit_once("sent ").unwrap().1.split_once(" of ").unwrap();
    let of = of.trim_end_matches(" events\n");
    assert!(sent.parse::<u32>().unwrap() < of.parse::<u32>().unwrap(), "{both}");
}

#[tokio::test]
async fn an_answer_that_nobody_ever_reads_is_given_up() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    ask(&llm, "Hi").await;
    let mut asked = server.asked().await;
    let time = asked.is_left().await;
    assert!(time > GRACE - SOON && time < GRACE + SOON, "{time:?}");
}

#[tokio::test]
async fn a_reload_within_the_grace_period_keeps_the_answer_going() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    // Together they are away for longer than the period, but none of them alone.
    for _ in 0..9 {
        drop(llm.events(&path).await);
        pause(GRACE / 8).await;
    }
    let events = llm.events(&path).await;
    asked.write(token("a")).await;
    asked.write(finish()).await;
    let (tokens, last, _) = whole(events).await;
    assert_eq!((tokens.concat(), &*last), ("a".to_string(), "done"));
}

#[tokio::test]
async fn stop_ends_the_answer_and_leaves_the_model_server() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let mut events = llm.events(&path).await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    asked.write(token("a")).await;
    events.next().await.unwrap();
    let stop = || llm.send(llm.request("DELETE", &path));
    assert_eq!(stop().await.status(), 204);
    let time = asked.is_left().await;
    assert!(time < SOON, "{time:?}");
    let done = events.next().await.unwrap();
    assert_eq!(done.event, "done");
    assert_eq!(done.data, r#"{"finish_reason":"stopped","usage":null}"#);
    assert!(events.next().await.is_none());
    assert_eq!(stop().await.status(), 204);
    let foreign =
        llm.request("DELETE", &path).header("origin", "http://example.com");
    assert_eq!(llm.send(foreign).await.status(), 403);
}

#[tokio::test]
async fn a_comment_shows_that_the_server_is_there_while_the_model_thinks() {
    let server = ModelServer::start().await;
    let llm = server.llm().await;
    let path = ask(&llm, "Think").await;
    let start = Instant::now();
    let mut recording = Recording::of(llm.get(&path).await);
    let _asked = server.asked().await;
    assert_eq!(recording.chunk().await, "retry: 1000\n");
    assert_eq!(recording.chunk().await, ":\n");
    let time = start.elapsed();
    assert!(time > HEARTBEAT - SOON && time < HEARTBEAT + SOON, "{time:?}");
}

#[tokio::test]
async fn the_program_ends_soon_and_its_readers_are_told() {
    let server = ModelServer::start().await;
    let mut llm = server.llm().await;
    let path = ask(&llm, "Hi").await;
    let events = llm.events(&path).await;
    let mut asked = server.asked().await;
    asked.stream("").await;
    asked.write(token("a")).await;
    llm.signal(Signal::SIGTERM);
    let start = Instant::now();
    let (_, last, data) = whole(events).await;
    assert_eq!(last, "failure");
    assert_eq!(data["reason"], "this server is being stopped");
    assert_eq!(llm.exit_code().await, Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    asked.is_left().await;
}
