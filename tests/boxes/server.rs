//! The stream of `boxes`, and its refusals.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use tests::{Browser, Program, until, within};
use tokio::task::spawn_blocking;

/// The number of an event, and the microseconds since 1970 when it was written.
fn number(data: &str) -> (u64, u128) {
    let mut words = data.split(' ');
    let mut next = || words.next().expect("a number and a time");
    (next().parse().unwrap(), next().parse().unwrap())
}

#[tokio::test]
async fn each_event_says_when_it_was_written_and_the_last_one_that_it_is_the_last() {
    let boxes = Program::start("boxes").await;
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let mut ann = boxes.events("/events?every=50&count=4").await;
    let mut before = began;
    for wanted in 1..=4 {
        let (count, at) = number(&ann.data().await);
        assert_eq!(count, wanted);
        assert!(at >= before, "{at} is before {before}");
        before = at;
    }
    assert!(before - began >= 150_000, "three pauses of 50 ms");
    let end = ann.next().await.expect("the last event");
    assert_eq!((&*end.event, &*end.data), ("end", "4"));
    assert!(ann.next().await.is_none(), "the stream ends");
}

#[tokio::test]
async fn an_event_is_as_long_as_a_client_asks_and_the_header_is_left_out() {
    let boxes = Program::start("boxes").await;
    let answer = boxes.get("/events?every=1&count=3&bytes=1000&header=no").await;
    assert!(!answer.headers().contains_key("x-accel-buffering"));
    let text = within("the whole stream", answer.text()).await.unwrap();
    let (events, _) = text.split_once("event: end").unwrap();
    assert_eq!(events.len(), 3_000, "{text}");
}

#[tokio::test]
async fn the_heartbeat_is_as_a_client_asks() {
    let boxes = Program::start("boxes").await;
    let mut answer = boxes.get("/events?every=60000&heartbeat=100").await;
    let mut text = String::new();
    while !text.ends_with("\n\n:\n:\n") {
        let chunk = within("a comment", answer.chunk()).await.unwrap();
        text += str::from_utf8(&chunk.expect("the stream goes on")).unwrap();
    }
}

/// The program with its feature, and its address over TLS.
async fn start_tls() -> (Program, String, String) {
    let boxes =
        Program::start_with("boxes+tls", &[("TLS_ADDR", "127.0.0.1:0")]).await;
    let boxes = boxes.of_many_words();
    until("it listens with TLS, too", async || boxes.stdout().len() == 2).await;
    let lines = boxes.stdout();
    let url = lines[0].strip_prefix("listening on ").unwrap().to_string();
    let (_, hash) = lines[1].split_once("spki-list=").unwrap();
    (boxes, url, hash.to_string())
}

/// A `curl` that reads this over TLS, and prints the head, too.
fn curl(version: &str, url: &str) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-skNi", "--max-time", "30", version, url]);
    curl
}

/// The lines of a head that have to be the same over each protocol, sorted.
fn of_the_stream(head: &str) -> Vec<String> {
    let lines = head.lines().skip(1).map(|line| line.to_lowercase());
    let own = ["date:", "transfer-encoding:", "alt-svc:"];
    let mut lines: Vec<_> =
        lines.filter(|line| !own.iter().any(|own| line.starts_with(own))).collect();
    lines.sort();
    lines
}

/// The events of a body, without the times.
fn numbers(body: &str) -> Vec<&str> {
    let lines = body.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| line.rsplit_once(' ').map_or(line, |(before, _)| before))
        .collect()
}

#[tokio::test]
async fn http_1_and_2_give_the_same_head_and_the_same_events() {
    let (boxes, url, _) = start_tls().await;
    let path = "/events?every=10&count=3";
    let mut seen = Vec::new();
    for (version, first, url) in [
        ("--http1.1", "HTTP/1.1 200", &boxes.url),
        ("--http1.1", "HTTP/1.1 200", &url),
        ("--http2", "HTTP/2 200", &url),
    ] {
        let mut curl = curl(version, &format!("{url}{path}"));
        let answer = spawn_blocking(move || curl.output().unwrap());
        let answer = within("a whole answer", answer).await.unwrap().stdout;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(first), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let names_http_3 = head.contains("alt-svc: h3=");
        assert_eq!(names_http_3, url.starts_with("https"), "{head}");
        let body: Vec<_> = numbers(body).into_iter().map(String::from).collect();
        seen.push((of_the_stream(head), body));
    }
    let (head, body) = &seen[0];
    let wanted = ["cache-control: no-cache", "content-type: text/event-stream"];
    assert_eq!(head[..2], wanted);
    assert_eq!(head[2..], ["x-accel-buffering: no"]);
    assert_eq!(body[..], ["data: 1", "data: 2", "data: 3", "event:", "data:"]);
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn an_eventsource_reads_the_same_events_over_http_3() {
    let (_boxes, url, hash) = start_tls().await;
    let browser = Browser::over_http_3(&url, &hash).await;
    browser.open(&url).await;
    browser
        .eval(
            "(() => {
            window.seen = [];
            const events = new EventSource('events?every=10&count=3');
            events.onmessage = ({ data }) => seen.push(data.split(' ')[0]);
            events.addEventListener('end', ({ data }) => {
                seen.push(`end ${data}`);
                events.close();
            });
            })()",
        )
        .await;
    browser.until("seen.join() === '1,2,3,end 3'").await;
    let protocol = "performance.getEntriesByType('resource')
        .find(({ name }) => name.includes('events')).nextHopProtocol";
    browser.until(&format!("({protocol}) === 'h3'")).await;
}

#[cfg(unix)]
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn asked_to_end_it_ends_its_streams_over_all_three_protocols() {
    let (mut boxes, url, hash) = start_tls().await;
    let browser = Browser::over_http_3(&url, &hash).await;
    browser.open(&url).await;
    browser
        .eval(
            "(() => {
            window.end = undefined;
            fetch('events?every=60000').then(async (answer) => {
                const reader = answer.body.getReader();
                window.first = (await reader.read()).value.length;
                try {
                    window.end = (await reader.read()).done ? 'end' : 'more';
                } catch {
                    window.end = 'cut';
                }
            });
            })()",
        )
        .await;
    browser.until("window.first > 0").await;
    let readers = ["--http1.1", "--http2"].map(|version| {
        let mut curl = curl(version, &format!("{url}/events?every=60000"));
        curl.stdout(Stdio::piped()).spawn().unwrap()
    });
    let readers = readers.map(|mut curl| {
        let mut out = BufReader::new(curl.stdout.take().unwrap()).lines();
        assert!(out.any(|line| line.unwrap().starts_with("data: 1 ")));
        (curl, out)
    });
    let began = Instant::now();
    boxes.signal(Signal::SIGTERM);
    for (mut curl, out) in readers {
        drop(out.collect::<Vec<_>>());
        assert_eq!(curl.wait().unwrap().code(), Some(0), "the stream ends whole");
    }
    browser.until("window.end === 'end'").await;
    assert_eq!(boxes.exit_code().await, Some(0), "{}", boxes.stderr());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
