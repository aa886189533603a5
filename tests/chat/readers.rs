//! `slow.md`: readers that are slow, that vanish, and that fill the room.

use std::process::Stdio;
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use nix::sys::socket::{setsockopt, sockopt};
#[cfg(target_os = "linux")]
use socket2::{SockFilter, SockRef};
use tests::{Program, pause, until, within};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::user::{HEARTBEAT, HISTORY, MAX_USERS, User};

#[cfg(target_os = "linux")]
#[tokio::test]
async fn readers_that_never_read_cost_a_constant_and_the_others_nothing() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let bob = User::join(&chat).await;
    assert_eq!(ann.hears().await, "joined User#2");
    let mut poster = chat.poster(&format!("/chat/{}", bob.id)).await;
    // The log is full of long messages before the measurement begins.
    let mut batch = async |count: usize| {
        let text = "x".repeat(4_000);
        poster.post(&text, count).await;
        for _ in 0..count {
            assert_eq!(ann.message().await, format!("<User#2>: {text}"));
        }
    };
    batch(HISTORY).await;
    batch(HISTORY).await;
    let before = chat.memory();
    let mut stuck = Vec::new();
    for _ in 0..50 {
        stuck.push(chat.reader_that_never_reads("/chat").await);
    }
    // More than the kernels of both sides take for a reader.
    batch(HISTORY).await;
    batch(HISTORY).await;
    let grown = chat.memory().saturating_sub(before);
    assert!(grown <= 8 << 20, "50 readers do not read, and {grown} bytes more");
}

#[tokio::test]
async fn the_kernel_takes_thousands_of_messages_for_a_reader_that_reads_nothing() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let bob = User::join(&chat).await;
    assert_eq!(ann.hears().await, "joined User#2");
    let mut late = chat.reader_that_never_reads("/chat").await;
    assert_eq!(ann.hears().await, "joined User#3");
    let mut poster = chat.poster(&format!("/chat/{}", bob.id)).await;
    for _ in 0..10 {
        poster.post("hello?", HISTORY / 2).await;
        for _ in 0..HISTORY / 2 {
            assert_eq!(ann.hears().await, "message <User#2>: hello?");
        }
    }
    // This is five times the length of the log, and nothing is lost.
    let mut bytes = Vec::new();
    within("everything", async {
        while bytes.windows(6).filter(|window| window == b"hello?").count()
            < 5 * HISTORY
        {
            late.read_buf(&mut bytes).await.unwrap();
        }
    })
    .await;
    assert!(!String::from_utf8(bytes).unwrap().contains("event: missed"));
}

#[tokio::test]
async fn a_slow_curl_misses_events_and_is_told_how_many() {
    const MESSAGES: usize = 20_000;
    let chat = Program::start("chat").await;
    let mut curl = tokio::process::Command::new("curl")
        .args(["-sN", "--limit-rate", "1M", &format!("{}/chat", chat.url)])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    let mut line =
        async || within("a line", lines.next_line()).await.unwrap().unwrap();
    assert_eq!(line().await, "event: user");

    let ann = User::join(&chat).await;
    let mut poster = chat.poster(&format!("/chat/{}", ann.id)).await;
    let write = async {
        for _ in 0..MESSAGES / 100 {
            poster.post(&"x".repeat(4_000), 100).await;
        }
        ann.say("the end").await;
    };
    let mut heard = 0;
    let mut missed = 0;
    let mut first = None;
    let read = async {
        loop {
            match line().await {
                end if end == "data: <User#2>: the end" => break,
                event if event == "event: missed" => {
                    let count = line().await;
                    first.get_or_insert_with(|| format!("{event}\n{count}\n"));
                    missed += count
                        .strip_prefix("data: ")
                        .unwrap()
                        .parse::<usize>()
                        .unwrap();
                }
                message if message.starts_with("data: <User#2>: x") => heard += 1,
                _ => {}
            }
        }
    };
    tokio::join!(write, read);
    assert!(missed > 0, "all {heard} were heard");
    tests::assert_text_but_numbers("chat/recorded/missed.txt", &first.unwrap());
    assert_eq!(heard + missed, MESSAGES, "each message is heard or counted");
}

/// Ends a connection without a word to the server, as a machine does that loses its power and
/// starts again: asked later, its kernel says that it knows nothing of it. (Linux calls it
/// "repair", and lets root do it.)
#[cfg(target_os = "linux")]
fn vanish(socket: tokio::net::TcpStream) {
    setsockopt(&socket, sockopt::TcpRepair, &1).expect("root may do this");
    drop(socket);
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "needs root"]
async fn a_reader_that_vanishes_is_found_by_the_heartbeat() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let bob = chat.reader_that_never_reads("/chat").await;
    assert_eq!(ann.hears().await, "joined User#2");
    let sockets = chat.sockets();
    vanish(bob);
    let start = Instant::now();
    // Nothing tells the server that the reader is gone until it writes.
    pause(Duration::from_secs(3)).await;
    assert_eq!(chat.sockets(), sockets);
    until("a write fails", async || chat.sockets() < sockets).await;
    assert!(start.elapsed() > HEARTBEAT - Duration::from_secs(1));
    assert_eq!(ann.hears().await, "left User#2");
}

/// Lets a connection fall silent, as a phone does that loses its network: it gets nothing any
/// more, and answers nothing, not even that bytes have come.
#[cfg(target_os = "linux")]
pub fn fall_silent(socket: &tokio::net::TcpStream) {
    const RETURN: u16 = 0x06; // so many bytes of each packet may pass: none
    let filter = SockFilter::new(RETURN, 0, 0, 0);
    SockRef::from(socket).attach_filter(&[filter]).unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "takes half a minute"]
async fn a_reader_whose_machine_answers_nothing_looks_present_after_the_heartbeat() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let bob = chat.reader_that_never_reads("/chat").await;
    assert_eq!(ann.hears().await, "joined User#2");
    let sockets = chat.sockets();
    fall_silent(&bob);
    pause(HEARTBEAT + Duration::from_secs(8)).await;
    assert_eq!(chat.sockets(), sockets);
}

#[tokio::test]
#[ignore = "needs 18,500 open files"]
async fn a_full_room_says_so_and_lets_its_users_back_in() {
    tests::allow_open_files(18_496); // the program asks for as many
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let mut others = Vec::new();
    let mut head = [0; 15];
    for _ in 1..MAX_USERS {
        let mut socket = chat.socket().await;
        socket.write_all(b"GET /chat HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        within("a head", socket.read_exact(&mut head)).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        others.push(socket);
    }
    let answer = chat.get("/chat").await;
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.unwrap().contains("the room is full"));
    ann = User::back(&chat, &ann.id, &ann.last).await;
    assert_eq!(ann.name, "User#1");
    // A user who leaves makes room for another one.
    others.truncate(MAX_USERS / 2);
    until("there is room", async || chat.get("/chat").await.status() == 200).await;
}
