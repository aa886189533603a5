//! A WebSocket beside EventSources, as `choosing.md` says, in both browsers.

use std::time::Duration;

use tests::Browser;
use tests::scripted::HEAD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_tungstenite::accept_async;

/// How long a WebSocket that must wait is watched.
const WATCH: Duration = Duration::from_millis(1500);

/// A page, a stream that stays open, and a WebSocket, all of one origin.
async fn answer(mut socket: TcpStream) -> Option<()> {
    let mut head = [0; 8_192];
    let count = socket.peek(&mut head).await.ok()?;
    let asked = String::from_utf8_lossy(&head[..count]).to_lowercase();
    if asked.contains("\r\nupgrade: websocket\r\n") {
        let mut socket = accept_async(socket).await.ok()?;
        while socket.next().await.is_some() {}
        return Some(());
    }
    socket.read_exact(&mut head[..count]).await.ok()?;
    if asked.starts_with("get /stream ") {
        socket.write_all(format!("{HEAD}\r\n:").as_bytes()).await.ok()?;
        drop(socket.read(&mut head).await); // until the browser closes it
    } else {
        let page =
            "content-type: text/html\r\ncontent-length: 15\r\n\r\n<!doctype html>";
        let page = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{page}");
        socket.write_all(page.as_bytes()).await.ok()?;
    }
    Some(())
}

async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut open = JoinSet::new();
        loop {
            open.spawn(answer(listener.accept().await.unwrap().0));
        }
    });
    url
}

/// An open WebSocket is no connection of the six. To open one takes a place in Firefox.
#[tokio::test]
#[ignore = "needs chromedriver and firefox-esr"]
async fn a_websocket_is_none_of_the_six_connections_once_it_is_open() {
    let url = start().await;
    for browser in Browser::both().await {
        browser.open(&url).await;
        let connect =
            "window.socket = new WebSocket(location.href.replace('http', 'ws'))";
        let connect = format!("({connect}, 0)");
        let opens = "socket.readyState === WebSocket.OPEN";
        browser.eval(&connect).await;
        browser.until(opens).await;
        let streams = "(window.all = Array.from({ length: 7 }, \
            () => new EventSource('stream')), 0)";
        browser.eval(streams).await;
        let open = "all.filter((one) => one.readyState === EventSource.OPEN).length";
        browser.until(&format!("{open} == 6")).await;
        browser.eval(&connect).await;
        if browser.name() == "Chromium" {
            browser.until(opens).await;
            continue;
        }
        browser.never(opens, WATCH).await;
        let close = "all.filter((one) => one.readyState === EventSource.CONNECTING \
            || one === all[0]).forEach((one) => one.close())";
        browser.eval(&format!("({close}, 0)")).await;
        browser.until(opens).await;
    }
}
