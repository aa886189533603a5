//! `slow.md`: the limits of connections, heads, bodies and readers, and those who come late.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tests::{Program, until, until_at_most, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::user::User;

/// Bytes of a body that are read, as in `examples/chat/edge.rs`.
const MAX_DRAINED: usize = 2 << 20;

/// Sends bytes, and returns what comes back until the server closes. The sending side stays
/// open, as with any client that waits.
pub async fn ask(chat: &Program, request: &[u8]) -> String {
    let mut socket = chat.socket().await;
    socket.write_all(request).await.unwrap();
    let mut answer = String::new();
    let end = socket.read_to_string(&mut answer);
    within("the end of the connection", end).await.unwrap();
    answer
}

/// A connection that has sent this, and the head of its answer.
pub async fn asked(chat: &Program, request: &str) -> (TcpStream, String) {
    let mut socket = chat.socket().await;
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    within("a head", async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
    })
    .await;
    (socket, String::from_utf8(head).unwrap())
}

const LISTEN: &str = "GET /chat HTTP/1.1\r\nhost: test\r\n\r\n";

#[tokio::test]
async fn where_few_files_may_be_open_a_full_room_says_so() {
    const FILES: usize = 1_024;
    let mut chat = Program::start_with_open_files("chat", FILES).await;
    let said = async || chat.stderr().contains("720 streams at once, not 16384");
    until("it says how many fit", said).await;
    let mut readers = Vec::new();
    for _ in 0..720 {
        let (socket, head) = asked(&chat, LISTEN).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        readers.push(socket);
    }
    // Two hundred more do not fit, and never hang up.
    let mut refused = Vec::new();
    for _ in 0..200 {
        let (socket, head) = asked(&chat, LISTEN).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert!(head.contains("connection: close"), "{head}");
        refused.push(socket);
    }
    assert_eq!(chat.get("/").await.status(), 200, "others are still answered");
    // Some say nothing, more than there are connections: they wait, and break nothing.
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(chat.socket().await);
    }
    drop(silent);
    assert_eq!(chat.get("/").await.status(), 200, "others are answered again");
    assert!(!chat.stderr().contains("accept connection failed"));
    readers.pop();
    until("there is room", async || chat.get("/chat").await.status() == 200).await;
    chat.signal(Signal::SIGTERM);
    assert_eq!(chat.exit_code().await, Some(0));
}

#[test]
fn a_program_that_may_open_hardly_any_file_says_so_and_ends() {
    let ended = tests::run_with_open_files("chat", 40);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("ulimit -Hn has to be 18496"), "{}", ended.stderr);
}

#[tokio::test]
async fn an_endless_body_gets_an_answer_and_an_end() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let socket = chat.socket().await;
    let (mut from, mut to) = socket.into_split();
    let path = format!("/chat/{}", ann.id);
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked");
    let start = Instant::now();
    let flood = tokio::spawn(async move {
        to.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
        let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
        let mut sent = 0;
        while to.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
        sent
    });
    let mut answer = Vec::new();
    within("an answer", async {
        while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
            from.read_buf(&mut answer).await.unwrap();
        }
    })
    .await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let sent = within("the end of the connection", flood).await.unwrap();
    assert!(sent < 100 << 20, "{sent} bytes were taken");
    let lingered = start.elapsed();
    assert!(lingered > Duration::from_secs(4), "it was read on for {lingered:?}");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_read_up_to_a_bound_and_kept_nowhere() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let path = format!("/chat/{}", ann.id);
    let post = |length: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    // The answer to a body of this length comes when all of it has been read.
    let mut socket = chat.socket().await;
    socket.write_all(post(MAX_DRAINED).as_bytes()).await.unwrap();
    socket.write_all(&vec![b'x'; MAX_DRAINED - 1]).await.unwrap();
    let early = timeout(Duration::from_millis(300), socket.readable()).await;
    assert!(early.is_err(), "an answer came before the last byte");
    socket.write_all(b"x").await.unwrap();
    let mut answer = [0; 12];
    within("an answer", socket.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    // The rest of a longer one is read, too, as long as the client sends.
    let before = chat.peak_memory();
    let request = chat.request("POST", &path).body(vec![b'x'; 20 << 20]);
    assert_eq!(chat.send(request).await.status(), 413);
    let grown = chat.peak_memory() - before;
    assert!(grown < 4 << 20, "{grown} bytes more for a body of 20 MiB");
}

/// Cookies belong to a host and not to a port: on `localhost`, those of all programs come.
#[tokio::test]
async fn a_head_with_too_many_cookies_is_refused_with_431() {
    let chat = Program::start("chat").await;
    let get = |cookie: usize| {
        let cookie = "c".repeat(cookie);
        format!(
            "GET / HTTP/1.1\r\nhost: a\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n"
        )
    };
    let answer = ask(&chat, get(7_000).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = ask(&chat, get(20_000).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let mut post = format!("POST /chat/{} HTTP/1.1\r\nhost: a\r\n", ann.id);
    post += "expect: 100-continue\r\ncontent-length: 5000\r\n\r\n";
    let answer = ask(&chat, post.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let short = post.replace("5000", "2");
    let (_socket, head) = asked(&chat, &short).await;
    assert!(head.starts_with("HTTP/1.1 100"), "{head}");
}

#[tokio::test]
#[ignore = "takes half a minute"]
async fn whatever_stops_halfway_ends_soon() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let mut bob = User::join(&chat).await;
    let post = format!("POST /chat/{} HTTP/1.1\r\nhost: a\r\n", ann.id);
    let half_body = format!("{post}content-length: 9\r\n\r\nx");
    let ends = async |request: &str, most: u64| {
        let start = Instant::now();
        let mut socket = chat.socket().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let end = socket.read_to_string(&mut answer);
        let most = Duration::from_secs(most);
        let ended = timeout(most, end).await;
        ended
            .unwrap_or_else(|_| panic!("open for {:?}: {request}", start.elapsed()))
            .unwrap();
        answer
    };
    // A body that comes byte by byte has no more time than one that does not come.
    let drip = async {
        let mut socket = chat.socket().await;
        let head = format!("{post}content-length: 100\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let (mut from, mut to) = socket.split();
        let mut answer = String::new();
        let mut every = tokio::time::interval(Duration::from_secs(1));
        let end = from.read_to_string(&mut answer);
        let drip = async {
            loop {
                every.tick().await;
                to.write_all(b"x").await.ok();
            }
        };
        tokio::select! {
            end = timeout(Duration::from_secs(45), end) => end.expect("it ends").unwrap(),
            () = drip => unreachable!(),
        };
        answer
    };
    // A reader who takes nothing is left when the kernels of both sides are full.
    let sockets = chat.sockets();
    let stuck = chat.reader_that_never_reads("/chat").await;
    let mut poster = chat.poster(&format!("/chat/{}", ann.id)).await;
    for _ in 0..20 {
        poster.post(&"x".repeat(4_000), 100).await;
        for _ in 0..100 {
            bob.message().await;
        }
    }
    let all = tokio::join!(
        ends(&half_body, 45),
        drip,
        ends("GET / HTTP/1.1\r\nhost: ", 25),
        ends("", 25),
        ends("GET / HTTP/1.1\r\nhost: a\r\n\r\n", 25),
        ends("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 1),
    );
    assert!(all.0.starts_with("HTTP/1.1 408"), "{}", all.0);
    assert!(all.0.contains("the body did not end in 30 s"), "{}", all.0);
    assert!(all.1.starts_with("HTTP/1.1 408"), "{}", all.1);
    drop(poster);
    let left = async { while bob.events.next().await.unwrap().event != "left" {} };
    timeout(Duration::from_secs(45), left).await.expect("the reader is left");
    until("its socket is closed", async || chat.sockets() <= sockets).await;
    drop(stuck);
}

#[tokio::test]
#[ignore = "takes half a minute"]
async fn streams_that_are_replaced_end_although_nobody_reads_them() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let mut bob = User::join(&chat).await;
    let sockets = chat.sockets();
    let mut poster = chat.poster(&format!("/chat/{}", ann.id)).await;
    let mut stuck = Vec::new();
    for _ in 0..20 {
        stuck.push(
            chat.reader_that_never_reads(&format!("/chat?as={:032x}", 7)).await,
        );
        poster.post(&"x".repeat(4_000), 1_000).await;
        for _ in 0..1_000 {
            bob.message().await;
        }
    }
    let time = Duration::from_secs(45);
    let few = async || chat.sockets() <= sockets + 2;
    until_at_most(time, "one stream of twenty is left, and the poster", few).await;
}

#[tokio::test]
async fn whoever_comes_while_it_stops_gets_a_whole_stream_or_none() {
    for _ in 0..3 {
        let mut chat = Program::start("chat").await;
        let readers: Vec<_> = (0..40)
            .map(|_| async {
                let mut whole = 0;
                loop {
                    let addr = chat.url.strip_prefix("http://").unwrap();
                    let Ok(mut socket) = TcpStream::connect(addr).await else {
                        return whole;
                    };
                    let asked = socket.write_all(LISTEN.as_bytes()).await;
                    let mut answer = Vec::new();
                    let end =
                        within("an end", socket.read_to_end(&mut answer)).await;
                    if answer.is_empty() {
                        continue; // nobody answered, so nothing was cut
                    }
                    let text = String::from_utf8_lossy(&answer);
                    assert!(asked.is_ok() && end.is_ok(), "{end:?} after {text}");
                    assert!(text.ends_with("\r\n0\r\n\r\n"), "cut: {text}");
                    whole += 1;
                }
            })
            .collect();
        let stop = async {
            let mut ann = User::join(&chat).await;
            ann.next().await; // others are there
            chat.signal(Signal::SIGTERM);
            Instant::now()
        };
        let all = futures_util::future::join_all(readers);
        let (whole, stopped) =
            within("the end", async { tokio::join!(all, stop) }).await;
        assert!(whole.iter().sum::<u32>() >= 1);
        assert_eq!(chat.exit_code().await, Some(0));
        assert!(
            stopped.elapsed() < Duration::from_secs(5),
            "{:?}",
            stopped.elapsed()
        );
    }
}

#[tokio::test]
async fn a_head_alone_is_answered_and_nobody_joins() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let head = chat.send(chat.request("HEAD", "/chat")).await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-type"], "text/event-stream");
    assert_eq!(head.headers()["cache-control"], "no-cache");
    assert!(!head.headers().contains_key("content-length"));
    assert_eq!(chat.send(chat.request("HEAD", "/chat?as=1")).await.status(), 400);
    let page = chat.send(chat.request("HEAD", "/")).await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    // The user who takes over Ann's stream, as a GET would, is not there.
    let as_ann = format!("/chat?as={}", ann.id);
    chat.send(chat.request("HEAD", &as_ann)).await;
    let bob = User::join(&chat).await;
    assert_eq!(bob.name, "User#2");
    assert_eq!(ann.hears().await, "joined User#2");
}

#[tokio::test]
async fn a_parameter_that_it_does_not_know_is_a_mistake() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let bob = User::join(&chat).await;
    bob.say("hi").await;
    for parameter in ["lastEventID", "last-event-id", "t", "As", "last_event_id"] {
        let answer = chat.get(&format!("/chat?{parameter}={}", ann.last)).await;
        assert_eq!(answer.status(), 400, "{parameter}");
        let why = format!("there is no parameter `{parameter}` here");
        assert!(answer.text().await.unwrap().contains(&why), "{parameter}");
    }
    // Two widespread libraries say it so, and say it in the URL.
    let path = format!("/chat?as={}&lastEventId={}", ann.id, ann.last);
    let mut again = User::join_at(&chat, &path).await;
    assert_eq!(again.hears().await, "joined User#2");
    assert_eq!(again.hears().await, "message <User#2>: hi");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_thousand_may_wait_while_the_program_does_not_run() {
    let chat = Program::start("chat").await;
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let count = limit.trim().parse::<usize>().unwrap().min(600);
    chat.signal(Signal::SIGSTOP);
    let mut waiting = Vec::new();
    for _ in 0..count {
        waiting.push(within("a place in the queue", chat.socket()).await);
    }
    chat.signal(Signal::SIGCONT);
    let last = waiting.last_mut().unwrap();
    last.write_all(LISTEN.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    within("a head", last.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
}
