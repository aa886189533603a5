//! Chapter 13: many servers of `feed` on one Redis, and what becomes of their readers when
//! a server is killed, Redis is, or somebody else writes there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use eventsource_stream::Event;
use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Client, Response, header::HeaderValue};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::follow::{Follower, Random, Reading, Writer};
use tests::redis::Redis;
use tests::{Ended, Program, pause, root, run, until, within};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch::{self, channel};

/// As in `examples/feed/redis_streams.rs`.
const STREAM: &str = "{feed}:events";
const KEYS: &str = "{feed}:keys";
const KEY_ORDER: &str = "{feed}:keys-in-order";

/// How long a request may take when Redis does not answer: `PATIENCE` there, and the rest.
const SOON: Duration = Duration::from_secs(5);
const PASSWORD: &str = "very-secret-0123456789";

/// A server of this Redis.
async fn feed(redis: &Redis) -> Program {
    feed_with(redis, &[]).await
}

async fn feed_with(redis: &Redis, variables: &[(&str, &str)]) -> Program {
    let url = redis.url();
    let variables = [&[("REDIS_URL", &*url)], variables].concat();
    Program::start_with("feed", &variables).await
}

/// Two servers of this Redis.
async fn two(redis: &Redis) -> [Program; 2] {
    [feed(redis).await, feed(redis).await]
}

/// How often the server's log has this in it.
fn said(feed: &Program, what: &str) -> usize {
    feed.stderr().matches(what).count()
}

async fn post(feed: &Program, key: Option<&str>, data: &str) -> Response {
    let event = json!({ "type": "note", "data": data });
    let mut request = feed.request("POST", "/events").json(&event);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    feed.send(request).await
}

/// Posts, and returns the ID.
async fn store(feed: &Program, data: &str) -> String {
    id(post(feed, None, data).await).await
}

/// Posts with an idempotency key, and returns the ID.
async fn store_once(feed: &Program, key: &str, data: &str) -> String {
    id(post(feed, Some(key), data).await).await
}

async fn id(answer: Response) -> String {
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(status, 201, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    answer["id"].as_str().unwrap().into()
}

async fn assert_refused(answer: Response, status: u16, why: &str) {
    assert_eq!(answer.status(), status);
    let text = answer.text().await.unwrap();
    assert!(text.contains(why), "{text}");
}

/// A stream, read as an EventSource does.
struct Reader {
    stream: Response,
    reading: Reading,
    events: std::vec::IntoIter<Event>,
    /// All bytes so far.
    text: String,
}

impl Reader {
    /// Begins with the next event.
    async fn now(feed: &Program) -> Self {
        Self::of(feed.get("/events").await).await
    }

    /// Begins with the oldest event that is kept.
    async fn start(feed: &Program) -> Self {
        Self::of(feed.get("/events?from=start").await).await
    }

    /// Comes back with this last event ID.
    async fn after(feed: &Program, id: impl AsRef<[u8]>) -> Self {
        let id = HeaderValue::from_bytes(id.as_ref()).unwrap();
        let request = feed.request("GET", "/events").header("last-event-id", id);
        Self::of(feed.send(request).await).await
    }

    /// Returns when something has come: the server has let this reader in.
    async fn of(stream: Response) -> Self {
        assert_eq!(stream.status(), 200);
        let (reading, events) = (Reading::default(), Vec::new().into_iter());
        let mut reader = Self { stream, reading, events, text: String::new() };
        reader.chunk().await;
        reader
    }

    async fn chunk(&mut self) {
        let chunk = within("a chunk", self.stream.chunk()).await;
        let chunk = chunk.expect("a stream").expect("the stream goes on");
        self.text += str::from_utf8(&chunk).unwrap();
        let events = self.events.by_ref().chain(self.reading.read(&chunk));
        self.events = events.collect::<Vec<_>>().into_iter();
    }

    async fn next(&mut self) -> Event {
        // Heartbeats are no event: they must not put the deadline off.
        within("an event", async {
            loop {
                match self.events.next() {
                    Some(event) => return event,
                    None => self.chunk().await,
                }
            }
        })
        .await
    }

    /// The data of the next event, which is none of the feed's own.
    async fn data(&mut self) -> String {
        let event = self.next().await;
        assert_ne!(event.event, "resync", "{event:?}");
        event.data
    }

    /// The next event says that some may be missing. Returns the ID after which it goes on.
    async fn resync(&mut self, reason: &str) -> String {
        let event = self.next().await;
        assert_eq!(event.event, "resync", "{event:?} of {}", self.text);
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data, json!({ "reason": reason, "after": event.id }));
        event.id
    }

    /// Reads the numbers up to this one, with nothing in between, and returns the first.
    async fn numbers_to(&mut self, last: usize) -> usize {
        let first: usize = self.data().await.trim().parse().unwrap();
        for number in first + 1..=last {
            assert_eq!(self.data().await.trim(), number.to_string());
        }
        first
    }
}

/// An ID as two numbers, which have its order.
fn numbers(id: &str) -> (u64, u64) {
    let (ms, n) = id.split_once('-').unwrap();
    (ms.parse().unwrap(), n.parse().unwrap())
}

/// Writes 1 to `last`, and tells each that is acknowledged.
async fn write(
    at: watch::Receiver<String>,
    last: usize,
    done: watch::Sender<usize>,
) -> Writer {
    let mut writer = Writer::new(&at);
    for number in 1..=last {
        writer.write().await;
        done.send_replace(number);
    }
    writer
}

async fn follow(mut follower: Follower, last: usize) -> Follower {
    follower.follow_to(last).await;
    follower
}

/// Waits until so many events have been acknowledged.
async fn reached(done: &mut watch::Receiver<usize>, number: usize) {
    let reached = done.wait_for(|done| *done >= number);
    within("more events", reached).await.unwrap();
}

/// Fails unless a follower has seen exactly what a writer has had acknowledged.
fn assert_same(follower: &Follower, writer: &Writer) {
    follower.seen.assert_whole();
    let written: Vec<_> = (1..).zip(writer.ids.iter().cloned()).collect();
    assert_eq!(follower.seen.events, written);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn no_event_is_lost_or_repeated_over_200_kills() {
    const EVENTS: usize = 10_000;
    const KILLS: usize = 200;
    let redis = Redis::start().await;
    let mut server = feed(&redis).await;
    let (to, at) = channel(server.url.clone());
    let (done, mut progress) = channel(0);
    let writer = tokio::spawn(write(at.clone(), EVENTS, done));
    let followers =
        [Follower::from_start(&at), Follower::from_start(&at).with_cuts(8, 20_000)];
    let followers = followers.map(|follower| tokio::spawn(follow(follower, EVENTS)));
    let mut random = Random(13);
    let mut kill_at = 0;
    for _ in 0..KILLS {
        kill_at += 1 + random.below(80);
        reached(&mut progress, kill_at).await;
        pause(Duration::from_micros(random.below(3_000) as u64)).await;
        server.stop();
        server = feed(&redis).await;
        to.send_replace(server.url.clone());
    }
    assert!(*progress.borrow() < EVENTS, "all kills came while events did");
    let writer = writer.await.unwrap();
    for follower in followers {
        let follower = follower.await.unwrap();
        assert!(follower.seen.connections > KILLS / 2);
        assert_same(&follower, &writer);
    }
    assert_eq!(redis.count(&["XLEN", STREAM]).await, EVENTS);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn readers_that_move_between_two_servers_see_every_event_once() {
    const EVENTS: usize = 2_000;
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    // Both write the same, so that each event is stored once by one of them.
    let (_to, at) = channel(servers[0].url.clone());
    let (_to_other, at_other) = channel(servers[1].url.clone());
    let (done, mut progress) = channel(0);
    let writer = tokio::spawn(write(at, EVENTS, done));
    let other = tokio::spawn(write(at_other, EVENTS, channel(0).0));
    let (moved, at) = channel(servers[0].url.clone());
    let followers: Vec<_> = (0..4)
        .map(|seed| Follower::from_start(&at).with_cuts(seed, 1_000 << seed))
        .chain([Follower::from_start(&at)])
        .map(|follower| tokio::spawn(follow(follower, EVENTS)))
        .collect();
    let mut random = Random(2);
    let (mut move_at, mut moves) = (0, 0);
    while move_at < EVENTS {
        reached(&mut progress, move_at).await;
        moves += 1;
        moved.send_replace(servers[moves % 2].url.clone());
        move_at += 1 + random.below(8);
    }
    let (writer, other) = (writer.await.unwrap(), other.await.unwrap());
    assert_eq!(writer.ids, other.ids);
    for follower in followers {
        let follower = follower.await.unwrap();
        assert!(follower.seen.connections > moves / 10, "{moves} moves");
        assert_same(&follower, &writer);
    }
    assert_eq!(redis.count(&["XLEN", STREAM]).await, EVENTS);
}

/// nginx before two servers, as the book sets it up. Dropping it ends it.
struct Nginx {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl Nginx {
    /// Returns when it accepts connections.
    async fn start(servers: &[Program; 2]) -> Self {
        let conf = root().join("examples/feed/nginx.conf");
        let mut conf = fs::read_to_string(conf).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = free.local_addr().unwrap().to_string();
        drop(free);
        let [a, b] = servers.each_ref().map(addr);
        for (port, addr) in [("8698", a), ("8699", b), ("8690", &front)] {
            conf = conf.replace(&format!("127.0.0.1:{port}"), addr);
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("nginx.conf"), conf).unwrap();
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(folder.path());
        nginx.args(["-e", "stderr", "-c", "nginx.conf"]);
        let process = nginx.spawn().expect("`nginx` is installed");
        let nginx =
            Self { process, url: format!("http://{front}"), _folder: folder };
        until("nginx listens", async || TcpStream::connect(&front).await.is_ok())
            .await;
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed, it could not end its worker.
        let _ = kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM);
        drop(self.process.wait());
    }
}

fn addr(server: &Program) -> &str {
    server.url.strip_prefix("http://").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server and nginx"]
async fn behind_nginx_a_server_may_be_killed_at_any_time() {
    const EVENTS: usize = 2_000;
    let redis = Redis::start().await;
    let mut servers = two(&redis).await;
    let nginx = Nginx::start(&servers).await;
    let (_to, at) = channel(nginx.url.clone());
    let (done, mut progress) = channel(0);
    let follower = tokio::spawn(follow(Follower::from_start(&at), EVENTS));
    let writer = tokio::spawn(write(at, EVENTS, done));
    for kill in 1..20 {
        reached(&mut progress, kill * 100).await;
        let server = &mut servers[kill % 2];
        server.stop();
        *server = feed_with(&redis, &[("ADDR", addr(server))]).await;
    }
    let (writer, follower) = (writer.await.unwrap(), follower.await.unwrap());
    assert_same(&follower, &writer);
    assert!(follower.seen.connections > 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server and nginx"]
async fn more_streams_fit_through_nginx_than_its_512_connections() {
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let nginx = Nginx::start(&servers).await;
    let client = Client::new();
    let come = (0..600).map(async |_| {
        let request = client.get(format!("{}/events", nginx.url));
        Reader::of(within("a stream", request.send()).await.unwrap()).await
    });
    let mut readers = join_all(come).await;
    store(&servers[0], "to all").await;
    for reader in &mut readers {
        assert_eq!(reader.data().await, "to all");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn all_readers_see_one_order_whoever_writes_where() {
    const WRITERS: usize = 8;
    const EACH: usize = 150;
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let read = async |reader: usize| {
        let mut stream = Reader::start(&servers[reader % 2]).await;
        let mut events = Vec::new();
        while events.len() < WRITERS * EACH {
            let event = stream.next().await;
            events.push((event.id, event.data));
            // Half of them move to the other server, each after so many events.
            if reader >= 2 && events.len() % reader == 0 {
                let (last, _) = &events[events.len() - 1];
                let to = events.len() / reader + reader;
                stream = Reader::after(&servers[to % 2], last).await;
            }
        }
        events
    };
    let write = async |writer: usize| {
        for number in 0..EACH {
            store(&servers[writer % 2], &format!("{writer} {number}")).await;
        }
    };
    let (read, ()) = tokio::join!(join_all((0..5).map(read)), async {
        join_all((0..WRITERS).map(write)).await;
    });
    for events in &read {
        assert_eq!(events, &read[0]);
        assert!(events.is_sorted_by_key(|(id, _)| numbers(id)));
        let ids: BTreeSet<_> = events.iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), WRITERS * EACH);
        let mut next = BTreeMap::new();
        for (_, data) in events {
            let (writer, number) = data.split_once(' ').unwrap();
            let next: &mut usize = next.entry(writer).or_default();
            assert_eq!(number, next.to_string(), "writer {writer}");
            *next += 1;
        }
    }
}

/// Writes 2,000 events while Redis is lost so many times, each after at most `apart` more of
/// them, and fails unless both a steady reader and one with cuts get them all. `lose` gets
/// the number of the loss.
async fn lose_redis(
    times: usize,
    apart: usize,
    seed: u64,
    lose: impl AsyncFn(&mut Redis, &Program, usize),
) -> Writer {
    const EVENTS: usize = 2_000;
    let mut redis = Redis::start().await;
    let server = feed(&redis).await;
    let (_to, at) = channel(server.url.clone());
    let (done, mut progress) = channel(0);
    let writer = tokio::spawn(write(at.clone(), EVENTS, done));
    let steady = tokio::spawn(follow(Follower::from_start(&at), EVENTS));
    let cut = Follower::from_start(&at).with_cuts(seed, 4_000);
    let cut = tokio::spawn(follow(cut, EVENTS));
    let mut random = Random(seed);
    for time in 1..=times {
        let lost_at = *progress.borrow() + 1 + random.below(apart);
        reached(&mut progress, lost_at).await;
        lose(&mut redis, &server, time).await;
        until("the log says that Redis is back", async || {
            said(&server, "Redis is back") >= time
        })
        .await;
    }
    let writer = writer.await.unwrap();
    let (steady, cut) = (steady.await.unwrap(), cut.await.unwrap());
    assert_same(&steady, &writer);
    assert_same(&cut, &writer);
    assert_eq!(steady.seen.connections, 1);
    assert_eq!(redis.count(&["XLEN", STREAM]).await, EVENTS);
    assert_eq!(said(&server, "Redis is lost"), times);
    assert_eq!(said(&server, "Redis is back"), times);
    writer
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn what_is_acknowledged_survives_when_redis_is_killed_10_times() {
    let writer = lose_redis(10, 150, 3, async |redis, server, kill| {
        redis.kill();
        until("the log says that Redis is lost", async || {
            said(server, "Redis is lost") >= kill
        })
        .await;
        let answer = post(server, None, "x").await;
        assert_refused(answer, 503, "Redis cannot be reached").await;
        redis.start_again().await;
    });
    assert!(writer.await.failed > 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn while_redis_is_gone_heartbeats_go_on_and_requests_are_told_why() {
    let mut redis = Redis::start().await;
    let server = feed(&redis).await;
    let first = store(&server, "first").await;
    let mut here = Reader::start(&server).await;
    assert_eq!(here.data().await, "first");
    redis.kill();
    until("the log says that Redis is lost", async || {
        said(&server, "Redis is lost") == 1
    })
    .await;
    let why = "Redis cannot be reached";
    assert_refused(post(&server, None, "lost").await, 503, why).await;
    assert_refused(post(&server, Some("key"), "lost").await, 503, why).await;
    assert_refused(server.get("/events?from=start").await, 503, why).await;
    assert_refused(server.get(&format!("/events/{first}")).await, 503, why).await;
    // Who comes now is let in, and waits.
    let mut come = Reader::after(&server, &first).await;
    let mut new = Reader::now(&server).await;
    for reader in [&mut here, &mut come, &mut new] {
        let before = reader.text.len();
        reader.chunk().await;
        assert_eq!(&reader.text[before..], ":\n\n");
    }
    redis.start_again().await;
    until("the log says that it is back", async || {
        said(&server, "Redis is back") == 1
    })
    .await;
    store(&server, "second").await;
    for reader in [&mut here, &mut come, &mut new] {
        assert_eq!(reader.data().await, "second");
    }
    assert_eq!(said(&server, "Redis is lost"), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn what_redis_forgets_when_it_is_killed_is_said_to_readers() {
    let mut redis = Redis::start_with(&[("appendonly", "no")]).await;
    let server = feed(&redis).await;
    let mut reader = Reader::now(&server).await;
    let mut last = String::new();
    for number in 1..=3 {
        last = store(&server, &number.to_string()).await;
        assert_eq!(reader.data().await, number.to_string());
    }
    redis.kill();
    redis.start_again().await;
    assert_eq!(reader.resync("unknown").await, "0-0");
    until("the server writes again", async || {
        post(&server, Some("4"), "4").await.status() == 201
    })
    .await;
    assert_eq!(reader.data().await, "4");
    let mut absent = Reader::after(&server, last).await;
    absent.resync("expired").await;
    assert_eq!(absent.data().await, "4");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn after_a_failover_that_lost_an_event_all_are_told_and_nothing_is_repeated() {
    for follows_at_once in [true, false] {
        let at_once = [("repl-diskless-sync-delay", "0")];
        let mut primary = Redis::start_with(&at_once).await;
        let mut replica = Redis::start().await;
        let servers = two(&primary).await;
        let mut readers = Vec::new();
        for server in &servers {
            readers.push(Reader::start(server).await);
            readers.push(Reader::now(server).await);
        }
        store(&servers[0], "1").await;
        let kept = store(&servers[1], "2").await;
        let port = primary.addr().replace("127.0.0.1:", "");
        replica.ask(&["REPLICAOF", "127.0.0.1", &port]).await;
        until("the replica has both", async || {
            replica.count(&["XLEN", STREAM]).await == 2
        })
        .await;
        // It is cut off from the primary, which acknowledges one more.
        replica.ask(&["REPLICAOF", "NO", "ONE"]).await;
        let lost = store(&servers[0], "lost").await;
        for reader in &mut readers {
            for data in ["1", "2", "lost"] {
                assert_eq!(reader.data().await, data);
            }
        }
        replica.take_over(&mut primary).await;
        if follows_at_once {
            until("a server writes again", async || {
                post(&servers[0], Some("3"), "3").await.status() == 201
            })
            .await;
        }
        for reader in &mut readers {
            assert_eq!(reader.resync("unknown").await, kept);
        }
        // Also who was away meanwhile, unless it has never had what was lost.
        let later = feed(&replica).await;
        for server in servers.iter().chain([&later]) {
            let mut back = Reader::after(server, &lost).await;
            assert_eq!(back.resync("unknown").await, kept);
            readers.extend([back, Reader::after(server, &kept).await]);
        }
        if !follows_at_once {
            store(&servers[0], "3").await;
        }
        store(&servers[1], "4").await;
        for reader in &mut readers {
            assert_eq!(reader.data().await, "3");
            assert_eq!(reader.data().await, "4");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn while_redis_is_paused_requests_fail_soon_and_readers_wait() {
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let mut readers = Vec::new();
    for server in &servers {
        readers.push(Reader::now(server).await);
        readers.push(Reader::start(server).await);
    }
    store(&servers[0], "before").await;
    for reader in &mut readers {
        assert_eq!(reader.data().await, "before");
    }
    redis.pause();
    let start = Instant::now();
    let (once, keyed, page) = tokio::join!(
        post(&servers[0], None, "x"),
        post(&servers[1], Some("key"), "meanwhile"),
        servers[1].get("/events?from=start"),
    );
    let took = start.elapsed();
    assert!(took < SOON, "{took:?}");
    for answer in [once, keyed, page] {
        assert_eq!(answer.status(), 503);
        let text = answer.text().await.unwrap();
        assert!(text.contains("timed out") || text.contains("Redis"), "{text}");
    }
    // Also when it is known to be lost.
    let start = Instant::now();
    let again = post(&servers[1], Some("key"), "meanwhile").await;
    assert_eq!(again.status(), 503);
    assert!(start.elapsed() < SOON);
    redis.resume();
    until("both servers write again", async || {
        let mut stored = true;
        for server in &servers {
            let answer = post(server, Some("key"), "meanwhile").await;
            stored &= answer.status() == 201;
        }
        stored
    })
    .await;
    store(&servers[0], "after").await;
    for reader in &mut readers {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|data| data != "after") {
            seen.push(reader.data().await);
        }
        // What had no key may have been stored, though its client could not know.
        seen.retain(|data| data != "x");
        assert_eq!(seen, ["meanwhile", "after"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn who_comes_while_redis_is_busy_gets_its_events_when_it_is_not() {
    /// Longer than the server waits, and shorter than the connection that waits.
    const BUSY: &str = "for _ = 1, 150000000 do end return 'done'";
    let redis = Redis::start_with(&[("busy-reply-threshold", "10")]).await;
    let server = feed(&redis).await;
    let first = store(&server, "1").await;
    store(&server, "2").await;
    let mut here = Reader::after(&server, &first).await;
    assert_eq!(here.data().await, "2");
    // It has none of these in memory.
    let later = feed(&redis).await;
    let (busy, come) = tokio::join!(redis.ask(&["EVAL", BUSY, "0"]), async {
        until("Redis is busy", async || {
            let answer = post(&later, Some("key"), "3").await;
            answer.status() == 503 && answer.text().await.unwrap().contains("BUSY")
        })
        .await;
        Reader::after(&later, &first).await
    });
    assert_eq!(busy, "done");
    let mut come = come;
    assert_eq!(come.data().await, "2");
    store_once(&server, "key", "3").await;
    assert_eq!(come.data().await, "3");
    assert_eq!(here.data().await, "3");
}

/// A Redis that removes events in steps of ten, so that trimming shows with few of them.
async fn redis_with_small_nodes() -> Redis {
    Redis::start_with(&[("stream-node-max-entries", "10")]).await
}

/// Has Redis itself add the numbers of a range, each with so many bytes.
async fn add_numbers(
    redis: &Redis,
    from: usize,
    to: usize,
    keep: usize,
    bytes: usize,
) {
    const SCRIPT: &str = r"
        for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
            local data = i .. string.rep(' ', ARGV[4] - #tostring(i))
            redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'type', 'n', 'data', data)
        end";
    let [from, to, keep, bytes] = [from, to, keep, bytes].map(|n| n.to_string());
    redis.ask(&["EVAL", SCRIPT, "1", STREAM, &from, &to, &keep, &bytes]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_reader_who_stays_away_too_long_is_told_once_and_goes_on() {
    let redis = redis_with_small_nodes().await;
    let server = feed_with(&redis, &[("FEED_KEEP", "20")]).await;
    let mut reader = Reader::now(&server).await;
    let begin = reader.reading.last_event_id.clone();
    let first = store(&server, "1").await;
    assert_eq!(reader.data().await, "1");
    drop(reader);
    let mut present = Reader::after(&server, &first).await;
    for number in 2..=100 {
        store(&server, &number.to_string()).await;
    }
    assert_eq!(present.numbers_to(100).await, 2);
    let kept = redis.count(&["XLEN", STREAM]).await;
    assert!((20..=30).contains(&kept), "{kept}");
    // The server that was there has more in memory, and one that comes later has not.
    let later = feed_with(&redis, &[("FEED_KEEP", "20")]).await;
    for id in [&begin, &first] {
        let mut reader = Reader::after(&later, id).await;
        let after = reader.resync("expired").await;
        assert_eq!(reader.numbers_to(100).await, 101 - kept);
        // Who is cut right after the resync comes back where it was.
        let mut reader = Reader::after(&later, after).await;
        assert_eq!(reader.numbers_to(100).await, 101 - kept);
    }
    let mut start = Reader::start(&later).await;
    assert_eq!(start.numbers_to(100).await, 101 - kept);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_reader_who_does_not_keep_up_is_told_of_each_gap() {
    /// 16 MB: more than buffers hold, and what the server has in memory.
    const EVENTS: usize = 4_000;
    let redis = redis_with_small_nodes().await;
    let server = feed(&redis).await;
    let mut slow = Reader::now(&server).await;
    let mut quick = server.get("/events").await;
    for step in (0..EVENTS).step_by(200) {
        add_numbers(&redis, step + 1, step + 200, 500, 4_000).await;
        let last = format!("data: {} ", step + 200);
        let mut text = String::new(); // of two chunks: it may be cut in two
        while !text.contains(&last) {
            let chunk = within("a chunk", quick.chunk()).await.unwrap().unwrap();
            let before = text.len().saturating_sub(last.len());
            text.drain(..before);
            text += str::from_utf8(&chunk).unwrap();
            assert!(!text.contains("resync"));
        }
    }
    // How much of it is in buffers on its way, nobody knows.
    let (mut last, mut gaps) = (0, 0);
    while last < EVENTS {
        let mut event = slow.next().await;
        let mut is_after_gap = false;
        if event.event == "resync" {
            let data: Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(data, json!({ "reason": "expired", "after": event.id }));
            event = slow.next().await;
            is_after_gap = true;
            gaps += 1;
        }
        let number: usize = event.data.trim().parse().expect("a number");
        let is_next = number == last + 1;
        assert_ne!(is_next, is_after_gap, "{number} comes after {last}");
        assert!(number > last);
        last = number;
    }
    assert!((1..5).contains(&gaps), "{gaps}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_server_that_is_overtaken_tells_all_its_readers() {
    let redis = redis_with_small_nodes().await;
    let server = feed_with(&redis, &[("FEED_KEEP", "20")]).await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(Reader::now(&server).await);
    }
    // One script is one moment: nobody sees what it adds and removes again.
    add_numbers(&redis, 1, 1_000, 20, 10).await;
    store(&server, "1001").await;
    for reader in &mut readers {
        reader.resync("expired").await;
        let first = reader.numbers_to(1_001).await;
        assert!((970..=981).contains(&first), "{first}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn what_is_too_old_goes_but_the_newest_event_stays() {
    let redis = Redis::start().await;
    // Of 1970, by the clock of Redis.
    for second in 1..=10 {
        let id = format!("{second}000-0");
        let data = second.to_string();
        redis.ask(&["XADD", STREAM, &id, "type", "n", "data", &data]).await;
    }
    let variables = [("FEED_AGE", "3600")];
    let server = feed_with(&redis, &variables).await;
    let mut waiting = Reader::after(&server, "10000-0").await;
    let mut new = Reader::now(&server).await;
    until("the old ones are gone", async || {
        redis.count(&["XLEN", STREAM]).await < 10
    })
    .await;
    assert_eq!(redis.count(&["XLEN", STREAM]).await, 1);
    for id in ["1000-0", "9000-0", "0-0"] {
        let mut absent = Reader::after(&server, id).await;
        let after = absent.resync("expired").await;
        assert_eq!(numbers(&after), (9_999, u64::MAX));
        assert_eq!(absent.data().await, "10");
    }
    // Who has the newest has missed nothing, also on a server that comes now.
    let later = feed_with(&redis, &variables).await;
    let mut back = Reader::after(&later, "10000-0").await;
    let mut new_there = Reader::now(&later).await;
    assert_eq!(new_there.reading.last_event_id, "10000-0");
    store(&server, "11").await;
    for reader in [&mut waiting, &mut new, &mut back, &mut new_there] {
        assert_eq!(reader.data().await, "11");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn what_is_too_old_goes_from_the_memory_of_each_server_too() {
    let redis = Redis::start().await;
    let variables = [("FEED_AGE", "3600")];
    let servers =
        [feed_with(&redis, &variables).await, feed_with(&redis, &variables).await];
    let mut waiting = Vec::new();
    for server in &servers {
        waiting.push(Reader::now(server).await);
    }
    // Of 1970, and in memory as soon as a reader has it.
    for second in 1..=10 {
        let id = format!("{second}000-0");
        let data = second.to_string();
        redis.ask(&["XADD", STREAM, &id, "type", "n", "data", &data]).await;
    }
    for reader in &mut waiting {
        assert_eq!(reader.numbers_to(10).await, 1);
    }
    for server in &servers {
        until("the first one is gone", async || {
            let mut absent = Reader::after(server, "1000-0").await;
            absent.next().await.event == "resync"
        })
        .await;
        for id in ["1000-0", "5000-0", "8000-0"] {
            let mut absent = Reader::after(server, id).await;
            let after = absent.resync("expired").await;
            assert_eq!(numbers(&after), (9_999, u64::MAX));
            assert_eq!(absent.data().await, "10");
        }
        // Who has the newest has missed nothing.
        waiting.push(Reader::after(server, "10000-0").await);
    }
    store(&servers[0], "11").await;
    for reader in &mut waiting {
        assert_eq!(reader.data().await, "11");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn whatever_a_reader_says_that_it_has_it_is_told_once_where_it_goes_on() {
    let redis = Redis::start().await;
    let server = feed(&redis).await;
    let ids = ["1000-10", "1000-20", "1001-0"];
    for (id, data) in ids.iter().zip(["1", "2", "3"]) {
        redis.ask(&["XADD", STREAM, id, "type", "n", "data", data]).await;
    }
    let malformed: [&[u8]; _] = [
        b"banana",
        b"1000",
        b"1000-",
        b"-10",
        b"1000-10-0",
        b"+1000-10",
        b"01000-10",
        b"1000-010",
        b"1000-10 1",
        b"1000-1x",
        b"18446744073709551616-0",
        b"1000-18446744073709551616",
        b"-",
        b"+",
        b"$",
        b"*",
        b"(1000-10",
        b"\xff\xfe",
        "１000-10".as_bytes(),
        b"1000-10, 1000-20",
        b"0x3e8-10",
        b"1000--10",
    ];
    let expired: [&[u8]; _] =
        [b"0-1", b"1000-0", b"1000-8", b"999-18446744073709551615"];
    let after_1: [&[u8]; _] = [b"1000-11", b"1000-15", b"1000-18"];
    let after_2: [&[u8]; _] = [b"1000-21", b"1000-18446744073709551614"];
    let after_3: [&[u8]; _] = [
        b"1001-1",
        b"9999-0",
        b"18446744073709551615-0",
        b"18446744073709551615-18446744073709551615",
    ];
    let cases = [
        ("malformed", &malformed[..], "1000-9", 1),
        ("expired", &expired, "1000-9", 1),
        ("unknown", &after_1, "1000-10", 2),
        ("unknown", &after_2, "1000-20", 3),
        ("unknown", &after_3, "1001-0", 4),
    ];
    let mut readers = Vec::new();
    for (reason, ids, after, first) in cases {
        for id in ids {
            let what = String::from_utf8_lossy(id).into_owned();
            let mut reader = Reader::after(&server, id).await;
            let told = within(&what, reader.resync(reason)).await;
            assert_eq!(told, after, "{what}");
            readers.push((what, reader, first));
        }
    }
    // What it may have: an ID of an event, or one right before an event.
    for (id, first) in [
        ("1000-9", 1),
        ("1000-10", 2),
        ("1000-19", 2),
        ("1000-20", 3),
        ("1000-18446744073709551615", 3),
        ("1001-0", 4),
    ] {
        readers.push((id.into(), Reader::after(&server, id).await, first));
    }
    store(&server, "4").await;
    for (what, reader, first) in &mut readers {
        assert_eq!(reader.numbers_to(4).await, *first, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn when_the_events_are_deleted_every_reader_is_told() {
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let deletions: [&[&str]; _] = [&["DEL", STREAM], &["FLUSHALL"]];
    for deletion in deletions {
        for follows_at_once in [true, false] {
            let mut readers = Vec::new();
            for server in &servers {
                readers.push(Reader::now(server).await);
                readers.push(Reader::now(server).await);
            }
            let last = store(&servers[0], "before").await;
            for reader in &mut readers {
                assert_eq!(reader.data().await, "before");
            }
            redis.ask(deletion).await;
            if follows_at_once {
                store(&servers[1], "next").await;
            }
            let reason = if follows_at_once { "expired" } else { "unknown" };
            for reader in &mut readers {
                reader.resync(reason).await;
            }
            // Also who is away meanwhile.
            readers.push(Reader::after(&servers[0], &last).await);
            readers.last_mut().unwrap().resync(reason).await;
            if !follows_at_once {
                store(&servers[1], "next").await;
            }
            store(&servers[0], "last").await;
            for reader in &mut readers {
                assert_eq!(reader.data().await, "next");
                assert_eq!(reader.data().await, "last");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn who_is_cut_before_the_first_event_misses_nothing() {
    let mut redis = Redis::start().await;
    let mut server = feed(&redis).await;
    let reader = Reader::now(&server).await;
    assert_eq!(reader.reading.last_event_id, "0-0");
    let start = Reader::start(&server).await;
    assert_eq!(start.reading.last_event_id, "0-0");
    drop((reader, start));
    redis.kill();
    redis.start_again().await;
    server.stop();
    server = feed(&redis).await;
    let mut again = Reader::after(&server, "0-0").await;
    store(&server, "first").await;
    assert_eq!(again.data().await, "first");
    server.stop();
    let server = feed(&redis).await;
    let mut late = Reader::after(&server, "0-0").await;
    assert_eq!(late.data().await, "first");
    store(&server, "second").await;
    assert_eq!(late.data().await, "second");
    let mut later = Reader::after(&server, "0-0").await;
    assert_eq!(later.data().await, "first");
    assert_eq!(later.data().await, "second");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn readers_from_the_start_miss_no_first_event() {
    const ROUNDS: usize = 50;
    let redis = Redis::start_with(&[("databases", &ROUNDS.to_string())]).await;
    for round in 0..ROUNDS {
        // Each round in a database of its own, which is empty.
        let url = format!("{}/{round}", redis.url());
        let server = feed_with(&redis, &[("REDIS_URL", &url)]).await;
        let come = async |_| Reader::start(&server).await;
        let (mut readers, _) =
            tokio::join!(join_all((0..20).map(come)), store(&server, "first"));
        store(&server, "second").await;
        for reader in &mut readers {
            assert_eq!(reader.data().await, "first", "{}", reader.text);
            assert_eq!(reader.data().await, "second", "{}", reader.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn an_event_is_stored_once_however_often_it_is_posted() {
    let mut redis = Redis::start().await;
    let mut servers = two(&redis).await;
    let id = store_once(&servers[0], "one", "a").await;
    for server in &servers {
        assert_eq!(store_once(server, "one", "a").await, id);
    }
    let posts = (0..50).map(|n| store_once(&servers[n % 2], "two", "b"));
    let ids: BTreeSet<_> = join_all(posts).await.into_iter().collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(redis.count(&["XLEN", STREAM]).await, 2);
    for server in &mut servers {
        server.stop();
    }
    redis.kill();
    redis.start_again().await;
    let servers = two(&redis).await;
    for server in &servers {
        assert_eq!(store_once(server, "one", "a").await, id);
        let why = "this Idempotency-Key stands for another event";
        assert_refused(post(server, Some("one"), "b").await, 422, why).await;
        let other = json!({ "type": "other", "data": "a" });
        let other = server.request("POST", "/events").json(&other);
        let other = server.send(other.header("idempotency-key", "one")).await;
        assert_refused(other, 422, why).await;
    }
    // Without a key, it is another event each time.
    assert_ne!(store(&servers[0], "a").await, store(&servers[0], "a").await);
    assert_eq!(redis.count(&["XLEN", STREAM]).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn of_50_events_with_one_key_one_is_stored_and_the_others_are_refused() {
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let data: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    let posts = (0..50).map(|n| post(&servers[n % 2], Some("key"), &data[n]));
    let answers = join_all(posts).await;
    let count = |status: u16| {
        answers.iter().filter(|answer| answer.status() == status).count()
    };
    assert_eq!((count(201), count(422)), (1, 49));
    assert_eq!(redis.count(&["XLEN", STREAM]).await, 1);
}

/// How many events Redis keeps, and how many idempotency keys.
async fn kept(redis: &Redis) -> (usize, usize) {
    let keys = redis.count(&["HLEN", KEYS]).await;
    assert_eq!(redis.count(&["LLEN", KEY_ORDER]).await, 2 * keys);
    (redis.count(&["XLEN", STREAM]).await, keys)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn keys_are_forgotten_with_their_events() {
    const TAKEN: &str = "this Idempotency-Key stands for another event";
    let redis = redis_with_small_nodes().await;
    let mut server = feed_with(&redis, &[("FEED_KEEP", "20")]).await;
    let mut ids = Vec::new();
    for number in 1..=100 {
        let data = number.to_string();
        ids.push(store_once(&server, &format!("key-{number}"), &data).await);
        let (events, keys) = kept(&redis).await;
        assert!((20.min(number)..=30).contains(&events), "{events}");
        assert_eq!(keys, events);
    }
    let (events, _) = kept(&redis).await;
    // As long as an event is kept, its key stands for it, and costs nothing more.
    for number in 101 - events..=100 {
        let (key, data) = (format!("key-{number}"), number.to_string());
        assert_eq!(store_once(&server, &key, &data).await, ids[number - 1]);
        assert_refused(post(&server, Some(&key), "else").await, 422, TAKEN).await;
    }
    assert_eq!(kept(&redis).await, (events, events));
    // Then it is new.
    let (gone, data) = (format!("key-{}", 100 - events), "something else");
    let new = store_once(&server, &gone, data).await;
    assert!(numbers(&new) > numbers(&ids[99]));
    assert_eq!(store_once(&server, &gone, data).await, new);
    // When less is to be kept, there are less keys, too, and none for those without.
    server.stop();
    let server = feed_with(&redis, &[("FEED_KEEP", "5")]).await;
    for number in 101..=130 {
        let data = number.to_string();
        store(&server, &data).await;
        store_once(&server, &format!("key-{number}"), &data).await;
    }
    let (events, keys) = kept(&redis).await;
    assert!((5..=15).contains(&events), "{events}");
    assert_eq!(keys, events.div_ceil(2)); // every other one, and the last
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_key_is_new_when_its_event_was_pushed_out_or_is_too_old() {
    for retention in [("FEED_KEEP", "20"), ("FEED_AGE", "1")] {
        let redis = redis_with_small_nodes().await;
        let server = feed_with(&redis, &[retention]).await;
        let old = store_once(&server, "key", "old").await;
        for number in 1..=30 {
            store(&server, &number.to_string()).await;
        }
        until("the event is gone", async || {
            server.get(&format!("/events/{old}")).await.status() == 404
        })
        .await;
        let new = store_once(&server, "key", "new").await;
        let stored = server.get(&format!("/events/{new}")).await;
        let stored: Value = stored.json().await.unwrap();
        assert_eq!(stored, json!({ "id": new, "type": "note", "data": "new" }));
        assert_eq!(store_once(&server, "key", "new").await, new);
        assert_eq!(post(&server, Some("key"), "old").await.status(), 422);
        let of_key = redis.ask(&["LRANGE", KEY_ORDER, "0", "-1"]).await;
        assert_eq!(of_key, json!([new, "key"]));
        assert_eq!(redis.ask(&["HGETALL", KEYS]).await, json!(["key", new]));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn keys_are_forgotten_by_the_hundred_but_none_that_is_used_again() {
    let redis = redis_with_small_nodes().await;
    let server = feed_with(&redis, &[("FEED_KEEP", "300")]).await;
    for number in 1..=250 {
        store_once(&server, &format!("key-{number}"), "old").await;
    }
    add_numbers(&redis, 1, 310, 300, 10).await;
    // None of the 250 events is left. Their keys are, until a keyed event comes.
    let again = store_once(&server, "key-150", "again").await;
    let counts = async || {
        let keys = redis.count(&["HLEN", KEYS]).await;
        (keys, redis.count(&["LLEN", KEY_ORDER]).await / 2)
    };
    assert_eq!(counts().await, (150, 151)); // the old one is still in the list
    store_once(&server, "other", "x").await;
    assert_eq!(counts().await, (52, 52));
    store_once(&server, "third", "x").await;
    assert_eq!(counts().await, (3, 3));
    assert_eq!(store_once(&server, "key-150", "again").await, again);
    assert_eq!(post(&server, Some("key-150"), "old").await.status(), 422);
    assert_eq!(counts().await, (3, 3));
}

/// The connections to Redis, without the one that asks.
async fn connections(redis: &Redis) -> Vec<String> {
    let list = redis.ask(&["CLIENT", "LIST", "TYPE", "normal"]).await;
    let list = list.as_str().unwrap();
    let others = list.lines().filter(|line| !line.contains(" cmd=client|list "));
    others.map(str::to_string).collect()
}

async fn assert_few_connections(redis: &Redis) {
    let waits = |line: &String| line.contains(" cmd=xread ");
    until("one of few connections waits for events", async || {
        let connections = connections(redis).await;
        assert!(connections.len() <= 3, "{connections:#?}");
        connections.iter().filter(|line| waits(line)).count() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn all_readers_of_a_server_share_one_connection_that_waits() {
    const READERS: usize = 200;
    let redis = Redis::start().await;
    let server = feed(&redis).await;
    add_numbers(&redis, 1, 1_000, 10_000, 10).await;
    let later = feed(&redis).await; // it has none of these in memory
    drop(server);
    until("the other server has gone", async || {
        connections(&redis).await.len() <= 3
    })
    .await;
    let come = (0..READERS).map(async |reader| match reader % 2 {
        0 => Reader::now(&later).await,
        _ => Reader::start(&later).await,
    });
    let mut readers = join_all(come).await;
    assert_few_connections(&redis).await;
    for reader in readers.iter_mut().skip(1).step_by(2) {
        assert_eq!(reader.numbers_to(1_000).await, 1);
    }
    assert_few_connections(&redis).await;
    store(&later, "1001").await;
    for reader in &mut readers {
        assert_eq!(reader.data().await, "1001");
    }
    // Nor are there more when they have been closed.
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    until("the log says that Redis is back", async || {
        said(&later, "Redis is back") >= 1
    })
    .await;
    store(&later, "1002").await;
    for reader in &mut readers {
        assert_eq!(reader.data().await, "1002");
    }
    assert_few_connections(&redis).await;
}

/// Returns how often Redis has been asked each of its commands for streams since the last
/// call. Before, both servers wait for events again.
async fn asked(redis: &Redis) -> Value {
    until("both servers wait", async || {
        let connections = connections(redis).await;
        let waits = |line: &&String| line.contains(" flags=b ");
        connections.iter().filter(waits).count() == 2
    })
    .await;
    let asked = redis.ask(&["INFO", "commandstats"]).await;
    redis.ask(&["CONFIG", "RESETSTAT"]).await;
    let calls = |line: &str| {
        let (command, rest) =
            line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls: usize = rest.split_once(',')?.0.parse().unwrap();
        command.starts_with('x').then(|| (command.to_string(), calls))
    };
    asked.as_str().unwrap().lines().filter_map(calls).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn each_event_costs_a_server_one_bell_and_one_question() {
    let redis = Redis::start().await;
    let servers = two(&redis).await;
    let mut readers =
        [Reader::now(&servers[0]).await, Reader::now(&servers[1]).await];
    store(&servers[0], "0").await;
    for reader in &mut readers {
        assert_eq!(reader.data().await, "0");
    }
    asked(&redis).await;
    for number in 1..=10 {
        store(&servers[0], &number.to_string()).await;
        for reader in &mut readers {
            assert_eq!(reader.data().await, number.to_string());
        }
    }
    // In less time than a bell waits, and than passes between two sweeps.
    let expected = json!({ "xadd": 10, "xread": 20, "xrange": 20 });
    assert_eq!(asked(&redis).await, expected);
    // So does a batch.
    add_numbers(&redis, 11, 210, 1_000, 10).await;
    for reader in &mut readers {
        assert_eq!(reader.numbers_to(210).await, 11);
    }
    let expected = json!({ "xadd": 200, "xread": 2, "xrange": 2 });
    assert_eq!(asked(&redis).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn connections_that_redis_closes_cost_no_reader_anything() {
    let all = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
    lose_redis(20, 80, 12, async |redis, _, _| {
        redis.ask(&all).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn what_others_add_to_the_stream_breaks_no_reader() {
    let redis = Redis::start().await;
    let server = feed(&redis).await;
    let mut now = Reader::now(&server).await;
    let long = "x".repeat(1 << 20);
    let foreign: [&[&[u8]]; _] = [
        &[b"some", b"thing"],
        &[b"type", b"note"],
        &[b"data", b"injected"],
        &[b"type", b"note\ndata: injected\n\n", b"data", b"injected"],
        &[b"type", b"note\rdata: injected\r\r", b"data", b"injected"],
        &[b"type", b"", b"data", b"injected"],
        &[b"type", b"resync", b"data", b"injected"],
        &[b"type", b"error", b"data", b"injected"],
        &[b"type", b"note", b"data", b"injected\rid: 1-1\revent: x"],
        &[b"type", b"note", b"data", b"injected \xff\xfe\x00"],
        &[b"type", b"\xc3", b"data", b"injected"],
        &[b"type", b"note", b"data", long.as_bytes()],
        &[b"\r\n", b"\n\ndata: injected\n\n"],
    ];
    let mut ids = Vec::new();
    for fields in foreign {
        let command = [&[b"XADD", STREAM.as_bytes(), b"*"], fields].concat();
        ids.push(redis.ask(&command).await.as_str().unwrap().to_string());
    }
    // This is as good as any.
    let good: [&[u8]; _] = [
        b"XADD",
        STREAM.as_bytes(),
        b"*",
        b"type",
        b"note",
        b"data",
        b"a\n\nb",
        b"more",
        b"x",
    ];
    redis.ask(&good).await;
    store(&server, "next").await;
    let later = feed(&redis).await;
    let mut start = Reader::start(&later).await;
    let mut between = Reader::after(&later, &ids[5]).await;
    for reader in [&mut now, &mut start, &mut between] {
        let event = reader.next().await;
        assert_eq!((&*event.event, &*event.data), ("note", "a\n\nb"));
        assert_eq!(reader.data().await, "next");
        assert!(!reader.text.contains("injected"), "{}", reader.text);
        assert!(reader.text.len() < 2_000);
    }
    for id in &ids {
        assert!(now.text.contains(&format!("id: {id}\n\n")));
        assert_eq!(server.get(&format!("/events/{id}")).await.status(), 404);
        let mut back = Reader::after(&later, id).await;
        assert_eq!(back.data().await, "a\n\nb");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn something_else_under_its_key_stops_the_feed_without_a_flood_in_its_log() {
    let redis = Redis::start().await;
    redis.ask(&["SET", STREAM, "something else"]).await;
    let Ended { code, stderr, .. } = run("feed", &[("REDIS_URL", &redis.url())]);
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    redis.ask(&["DEL", STREAM]).await;
    let server = feed(&redis).await;
    let mut reader = Reader::now(&server).await;
    store(&server, "before").await;
    assert_eq!(reader.data().await, "before");
    redis.ask(&["SET", STREAM, "something else"]).await;
    assert_eq!(post(&server, None, "x").await.status(), 503);
    assert_eq!(post(&server, Some("key"), "x").await.status(), 503);
    pause(Duration::from_secs(10)).await;
    assert!(server.stderr().lines().count() < 20);
    redis.ask(&["DEL", STREAM]).await;
    until("the server writes again", async || {
        post(&server, Some("key"), "after").await.status() == 201
    })
    .await;
    // Its reason depends on what the server sees first: no events, or the new one.
    assert_eq!(reader.next().await.event, "resync");
    assert_eq!(reader.data().await, "after");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn when_redis_is_full_writers_are_told_and_readers_stay() {
    let redis = Redis::start_with(&[("maxmemory-policy", "noeviction")]).await;
    let server = feed(&redis).await;
    let mut reader = Reader::now(&server).await;
    store(&server, "before").await;
    assert_eq!(reader.data().await, "before");
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let why = "Redis has used all memory";
    assert_refused(post(&server, None, "x").await, 507, why).await;
    assert_refused(post(&server, Some("key"), "x").await, 507, why).await;
    let mut start = Reader::start(&server).await;
    assert_eq!(start.data().await, "before");
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    store_once(&server, "key", "after").await;
    assert_eq!(reader.data().await, "after");
    assert_eq!(start.data().await, "after");
    assert_eq!(redis.count(&["XLEN", STREAM]).await, 2);
    assert_eq!(said(&server, "Redis is lost"), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_wrong_redis_url_is_one_clear_line_without_its_password() {
    let redis = Redis::start_with(&[("requirepass", "right")]).await;
    let other = Program::start("tick").await;
    let http = other.url.strip_prefix("http://").unwrap();
    // It accepts connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap();
    let with_password = |addr: &str| format!("redis://:{PASSWORD}@{addr}");
    let no_address = "REDIS_URL is no address, as in redis://127.0.0.1:6379: ";
    let cases = [
        ("banana".to_string(), no_address),
        (String::new(), no_address),
        (format!("http://:{PASSWORD}@127.0.0.1"), no_address),
        (with_password("127.0.0.1:port"), no_address),
        (with_password("127.0.0.1/banana"), no_address),
        (with_password(""), no_address),
        (format!("rediss://:{PASSWORD}@127.0.0.1"), "REDIS_URL"),
        (with_password("127.0.0.1:1"), "127.0.0.1:1"),
        (with_password("nowhere.invalid"), "nowhere.invalid"),
        (with_password(http), http),
        (with_password(&silent.to_string()), &silent.to_string()),
        (with_password(&redis.addr()), &redis.addr()),
        (redis.url(), "NOAUTH"),
        (with_password(&redis.addr()), "authentication failed"),
    ];
    for (url, why) in &cases {
        let start = Instant::now();
        let variables = [("ADDR", "127.0.0.1:0"), ("REDIS_URL", url)];
        let Ended { code, stdout, stderr } = run("feed", &variables);
        let took = start.elapsed();
        assert_eq!((code, &*stdout), (Some(1), ""), "{url}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{url}: {stderr}");
        assert!(stderr.contains(why), "{url}: {stderr}");
        assert!(!stderr.contains(PASSWORD), "{url}: {stderr}");
        assert!(took < SOON, "{url}: {took:?}");
    }
    let url = format!("redis://:right@{}", redis.addr());
    let server = Program::start_with("feed", &[("REDIS_URL", &url)]).await;
    store(&server, "x").await;
    assert!(!server.stderr().contains("right"), "{}", server.stderr());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn the_log_says_at_first_what_a_crash_of_redis_leaves() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [[&'a str; 2]]);
    let cases: [Case; _] = [
        (&[], &[["INFO", "appendfsync always"]]),
        (&[("appendfsync", "everysec")], &[["INFO", "appendfsync everysec"]]),
        (
            &[("appendonly", "no")],
            &[["WARN", "no: what it has acknowledged is lost when it is killed"]],
        ),
        (
            &[("rename-command", "CONFIG hidden")],
            &[["WARN", "does not say what survives a crash"]],
        ),
        (
            &[("maxmemory-policy", "allkeys-lru")],
            &[
                ["INFO", "appendfsync always"],
                ["WARN", "when its memory is full, it may remove the whole log"],
            ],
        ),
    ];
    for (settings, expected) in cases {
        let redis = Redis::start_with(settings).await;
        let server = feed(&redis).await;
        let addr = redis.addr();
        until("a word on what survives", async || {
            let stderr = server.stderr();
            let lines: Vec<_> =
                stderr.lines().filter(|line| line.contains(&addr)).collect();
            assert!(lines.len() <= expected.len(), "{stderr}");
            let mut pairs = lines.iter().zip(expected);
            lines.len() == expected.len()
                && pairs.all(|(line, words)| words.iter().all(|w| line.contains(w)))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn the_program_ends_soon_while_redis_is_paused_or_gone() {
    for is_gone in [false, true] {
        let mut redis = Redis::start().await;
        let mut server = feed(&redis).await;
        let first = store(&server, "first").await;
        let mut readers =
            [Reader::now(&server).await, Reader::after(&server, &first).await];
        if is_gone {
            redis.kill();
        } else {
            redis.pause();
        }
        let request = server.request("POST", "/events");
        let request = request.json(&json!({ "type": "note", "data": "x" }));
        // Asked before the signal or right after it: it must not keep the program.
        let posting = tokio::spawn(request.send());
        let mut come = Reader::after(&server, "1-1").await;
        let start = Instant::now();
        server.signal(Signal::SIGTERM);
        assert_eq!(server.exit_code().await, Some(0));
        let took = start.elapsed();
        assert!(took < SOON, "{took:?}");
        for reader in readers.iter_mut().chain([&mut come]) {
            // What they had not yet read comes first.
            let end = async {
                while let Some(_more) = reader.stream.chunk().await? {}
                reqwest::Result::Ok(())
            };
            within("an end", end).await.expect("a clean one");
        }
        drop(within("an answer, or none", posting).await);
    }
}
