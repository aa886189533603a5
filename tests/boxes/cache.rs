//! A second reader of a box that keeps answers: does it get a stream of its own? Each stream
//! says which request it answers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream;
use reqwest::Response as Answer;
use salvo::http::HeaderValue;
use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use serde_json::{Value, json};
use tests::{Events, Middlebox, pause, serve, until, within};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::record::{self, Table};

/// A stream is open for three seconds, so that others come in its middle.
const COUNT: usize = 30;
const EVERY: Duration = Duration::from_millis(100);
/// The place in the first reader's stream at which the second one asks.
const MIDDLE: usize = 10;

/// Streams of the program, named by what they say about caches.
const STREAMS: [&str; 6] =
    ["silent", "no-cache", "no-store", "private", "vary", "cookie"];

/// A cache before the same server: a box and the lines that switch it on.
struct Case {
    middlebox: &'static str,
    /// The lines, as the page shows them.
    configuration: &'static str,
    /// The file that they are added to.
    base: &'static str,
    change: fn(String) -> String,
}

const CASES: [Case; 13] = [
    Case {
        middlebox: "nginx",
        configuration: "proxy_cache",
        base: "default",
        change: |text| nginx(&text, ""),
    },
    Case {
        middlebox: "nginx",
        configuration: "proxy_cache; proxy_cache_lock on; …_timeout 1m",
        base: "default",
        change: |text| {
            // By default, a reader waits for five seconds, and then gets its own.
            let lines = "proxy_cache_lock on; proxy_cache_lock_timeout 1m; \
                proxy_cache_lock_age 1m;";
            nginx(&text, lines)
        },
    },
    Case {
        middlebox: "nginx",
        configuration: "proxy_cache; proxy_buffering off",
        base: "right",
        change: |text| nginx(&text, ""),
    },
    Case {
        middlebox: "haproxy",
        configuration: "cache-use; cache-store",
        base: "right",
        change: |text| {
            let used =
                "http-request cache-use kept\n    http-response cache-store kept";
            let text = text.replacen(
                "default_backend",
                &format!("{used}\n    default_backend"),
                1,
            );
            format!("cache kept\n    total-max-size 4\n    max-age 60\n\n{text}")
        },
    },
    Case {
        middlebox: "caddy",
        configuration: "default",
        base: "default",
        change: |text| text,
    },
    Case {
        middlebox: "varnish",
        configuration: "default",
        base: "default",
        change: |text| text,
    },
    Case {
        middlebox: "varnish",
        configuration: "return (pipe)",
        base: "default",
        change: |text| text + "\nsub vcl_recv { return (pipe); }\n",
    },
    Case {
        middlebox: "apache",
        configuration: "CacheEnable disk /",
        base: "right",
        change: |text| apache(&text, "cache_disk", "CacheEnable disk /"),
    },
    Case {
        middlebox: "apache",
        configuration: "CacheEnable disk /; CacheIgnoreNoLastMod On",
        base: "right",
        change: |text| {
            let lines = "CacheEnable disk /\nCacheIgnoreNoLastMod On";
            apache(&text, "cache_disk", lines)
        },
    },
    Case {
        middlebox: "apache",
        configuration: "CacheEnable socache /; CacheIgnoreNoLastMod On",
        base: "right",
        change: |text| {
            let lines = "CacheSocache shmcb\nCacheEnable socache /\n\
                CacheIgnoreNoLastMod On";
            apache(&text, "cache_socache", lines)
        },
    },
    Case {
        middlebox: "lighttpd",
        configuration: "default",
        base: "right",
        change: |text| text,
    },
    Case {
        middlebox: "h2o",
        configuration: "default",
        base: "default",
        change: |text| text,
    },
    Case {
        middlebox: "nghttpx",
        configuration: "default",
        base: "default",
        change: |text| text,
    },
];

fn nginx(text: &str, lines: &str) -> String {
    let kept = "proxy_cache_path /tmp/boxes/kept keys_zone=kept:1m;";
    text.replacen("http {", &format!("http {{ {kept}"), 1).replacen(
        "proxy_pass",
        &format!("proxy_cache kept; proxy_cache_valid 200 1m; {lines} proxy_pass"),
        1,
    )
}

fn apache(text: &str, store: &str, lines: &str) -> String {
    let module = |name: &str| {
        format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
    };
    let names = ["cache", store, "socache_shmcb"];
    let modules: String = names.map(module).concat();
    let root = if store == "cache_disk" { "CacheRoot /tmp/boxes\n" } else { "" };
    format!("{text}\n{modules}{root}{lines}\n")
}

/// Streams that say which request they answer, and what they say of themselves.
#[derive(Clone, Default)]
struct Numbered {
    count: Arc<AtomicUsize>,
    /// Events of the longest stream of each path; `COUNT` when it has ended.
    written: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Numbered {
    fn written(&self, stream: &str) -> usize {
        self.written.lock().unwrap().get(stream).copied().unwrap_or_default()
    }
}

#[handler]
impl Numbered {
    async fn handle(&self, req: &mut Request, res: &mut Response) {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let stream = req.param::<String>("stream").unwrap();
        let headers = res.headers_mut();
        let kind = HeaderValue::from_static("text/event-stream");
        headers.insert(CONTENT_TYPE, kind);
        match &*stream {
            "no-cache" | "no-store" | "private" => {
                headers.insert(CACHE_CONTROL, stream.parse().unwrap());
            }
            "vary" => {
                headers.insert(VARY, HeaderValue::from_static("*"));
            }
            _ => {}
        }
        let mut paced = interval(EVERY);
        paced.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let written = self.written.clone();
        let events = stream::unfold((paced, 0), move |(mut paced, at)| {
            let written = written.clone();
            let stream = stream.clone();
            async move {
                paced.tick().await;
                let mut written = written.lock().unwrap();
                let longest = written.entry(stream).or_default();
                *longest = (*longest).max(at);
                let event = Ok::<_, std::io::Error>(format!("data: {n} {at}\n\n"));
                (at < COUNT).then_some((event, (paced, at + 1)))
            }
        });
        res.stream(events);
    }
}

/// A reader's request. Each one has a cookie of its own for the stream that is for that.
async fn ask(url: &str, stream: &str, reader: usize) -> Answer {
    let request = reqwest::Client::new().get(format!("{url}/{stream}"));
    let request = match stream {
        "cookie" => request.header("cookie", format!("reader={reader}")),
        _ => request,
    };
    let answer = within("a head", request.send()).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer
}

/// The request that a stream answers. A shared stream comes from its start as well.
async fn first(events: &mut Events) -> usize {
    let data = events.data().await;
    let (n, at) = data.split_once(' ').expect("two numbers");
    assert_eq!(at, "0", "the stream begins with its first event");
    n.parse().unwrap()
}

/// Which readers get the stream of the first one, from its start: the second asks in its
/// middle, the third when it has ended. `…2` has waited for that end.
async fn who_shares(url: &str, server: &Numbered, stream: &str) -> String {
    let began = async {
        let mut ann = Events::of(ask(url, stream, 1).await);
        let n = first(&mut ann).await;
        while ann.next().await.is_some() {}
        n
    };
    let in_the_middle = async {
        let is_in_the_middle = async || server.written(stream) >= MIDDLE;
        until("the middle of the first stream", is_in_the_middle).await;
        let mut bob = Events::of(ask(url, stream, 2).await);
        let n = first(&mut bob).await;
        let is_still_open = server.written(stream) < COUNT;
        while bob.next().await.is_some() {}
        (n, is_still_open)
    };
    let (ann, (bob, is_still_open)) = tokio::join!(began, in_the_middle);
    let eve = first(&mut Events::of(ask(url, stream, 3).await)).await;
    let second = match (bob == ann, is_still_open) {
        (false, _) => None,
        (true, true) => Some("2"),
        (true, false) => Some("…2"),
    };
    let third = (eve == ann || eve == bob).then_some("3");
    let shares: Vec<_> = second.into_iter().chain(third).collect();
    if shares.is_empty() { "–".into() } else { shares.join(" ") }
}

async fn behaviour(case: &Case) -> Value {
    let server = Numbered::default();
    let router = Router::with_path("{stream}").get(server.clone());
    let url = serve(router).await;
    let changed = |text: String| {
        let changed = (case.change)(text.clone());
        assert_eq!(changed == text, case.configuration == "default");
        changed
    };
    let starting =
        Middlebox::start_changed(case.middlebox, case.base, &url, changed);
    let middlebox = starting.await;
    let shares = STREAMS.map(|stream| who_shares(&middlebox.url, &server, stream));
    let mut row =
        json!({ "box": case.middlebox, "configuration": case.configuration });
    for (stream, shares) in STREAMS.iter().zip(join_all(shares).await) {
        row[*stream] = shares.into();
    }
    row
}

fn cells(row: &Value) -> Option<Vec<String>> {
    Some(STREAMS.map(|stream| row[stream].as_str().unwrap().to_string()).into())
}

const TABLES: [Table; 1] = [("shares", cells)];

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn a_cache_gives_one_readers_stream_to_the_readers_that_were_recorded() {
    let boxes = record::boxes();
    let cases = CASES.iter().filter(|case| boxes.contains(&case.middlebox));
    let rows = join_all(cases.map(behaviour)).await;
    record::assert_recorded("cache", &rows, &TABLES);
}

/// An answer whose head comes when the test says so.
#[derive(Clone)]
struct Late {
    count: Arc<AtomicUsize>,
    may_answer: watch::Sender<bool>,
}

#[handler]
impl Late {
    async fn handle(&self, res: &mut Response) {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let mut may_answer = self.may_answer.subscribe();
        may_answer.wait_for(|may| *may).await.unwrap();
        sse::stream(
            res,
            stream::iter([Ok::<_, Infallible>(
                SseEvent::default().text(format!("{n} 0")),
            )]),
        );
    }
}

/// Two readers who ask at once, until both have their heads.
async fn two_ask(varnish: &Middlebox, server: &Late, asked_at_once: usize) {
    server.may_answer.send_replace(false);
    let before = server.count.load(Ordering::Relaxed);
    let asked = || server.count.load(Ordering::Relaxed) - before;
    let ann = tokio::spawn(reqwest::get(varnish.url.clone()));
    until("the first reader's request", async || asked() == 1).await;
    let bob = tokio::spawn(reqwest::get(varnish.url.clone()));
    match asked_at_once {
        1 => pause(Duration::from_millis(500)).await,
        _ => until("the second reader's", async || asked() == 2).await,
    }
    assert_eq!(asked(), asked_at_once);
    server.may_answer.send_replace(true);
    // The heads say `no-cache`: each reader gets a stream of its own.
    for reader in [ann, bob] {
        let answer = within("a head", reader).await.unwrap().unwrap();
        first(&mut Events::of(answer)).await;
    }
    assert_eq!(asked(), 2);
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn behind_varnish_a_second_reader_waits_until_the_first_has_its_head() {
    let behind = async |lines: &str| {
        let server =
            Late { count: Arc::default(), may_answer: watch::Sender::new(false) };
        let url = serve(Router::new().get(server.clone())).await;
        let varnish = Middlebox::start_changed("varnish", "default", &url, |text| {
            text + lines
        });
        (varnish.await, server)
    };
    let (varnish, server) = behind("").await;
    two_ask(&varnish, &server, 1).await;
    two_ask(&varnish, &server, 2).await; // it has seen that this URL is not for all
    for how in ["pass", "pipe"] {
        let lines = format!("\nsub vcl_recv {{ return ({how}); }}\n");
        let (varnish, server) = behind(&lines).await;
        two_ask(&varnish, &server, 2).await;
    }
}
