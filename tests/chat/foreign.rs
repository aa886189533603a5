//! `chat.md`: which pages may send requests to `chat`, and what a proxy has to do with it.

use std::net::{IpAddr, UdpSocket};

use salvo::Router;
use salvo::prelude::*;
use serde_json::Value;
use tests::{Browser, Nginx, Program, serve, within};

use crate::edge::{ask, asked};
use crate::user::User;

#[tokio::test]
async fn a_page_of_another_origin_can_neither_listen_nor_write() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let site = |site| (Some(site), None, "chat.test");
    let origin = |origin, host| (None, Some(origin), host);
    let cases = [
        ((None, None, "chat.test"), true),
        (site("same-origin"), true),
        (site("none"), true),
        (site("same-site"), false),
        (site("cross-site"), false),
        (site("Same-Origin"), false),
        (site(""), false),
        // Where a browser sends it, the rest does not count.
        ((Some("same-origin"), Some("https://other.test"), "chat.test"), true),
        ((Some("cross-site"), Some("http://chat.test"), "chat.test"), false),
        (origin("http://chat.test", "chat.test"), true),
        (origin("http://chat.test:8698", "chat.test:8698"), true),
        (origin("http://CHAT.test", "chat.TEST"), true),
        (origin("http://chat.test", "chat.test:80"), true),
        (origin("https://chat.test", "chat.test:443"), true),
        (origin("https://chat.test:443", "chat.test"), true),
        (origin("http://[::1]:8698", "[::1]:8698"), true),
        (origin("http://[::1]", "[::1]:80"), true),
        (origin("https://chat.test", "chat.test:80"), false),
        (origin("http://chat.test", "chat.test:443"), false),
        (origin("http://chat.test:8698", "chat.test"), false),
        (origin("http://chat.test", "chat.test:8698"), false),
        (origin("http://evil.test", "chat.test"), false),
        (origin("http://chat.test.evil.test", "chat.test"), false),
        (origin("http://chat.test", ""), false),
        (origin("null", "chat.test"), false),
        (origin("", ""), false),
        (origin("file://", ""), false),
        (origin("chat.test", "chat.test"), false),
    ];
    for ((site, origin, host), is_ours) in cases {
        let mut headers = format!("host: {host}\r\nconnection: close\r\n");
        let mut add = |name, value: Option<&str>| {
            headers += &value.map_or(String::new(), |v| format!("{name}: {v}\r\n"));
        };
        add("sec-fetch-site", site);
        add("origin", origin);
        let post = format!("POST /chat/{} HTTP/1.1\r\n{headers}", ann.id);
        let post = format!("{post}content-length: 2\r\n\r\nhi");
        let answer = ask(&chat, post.as_bytes()).await;
        let status = if is_ours { "HTTP/1.1 204" } else { "HTTP/1.1 403" };
        assert!(answer.starts_with(status), "{headers}{answer}");
        assert!(is_ours || answer.contains("does not pass on the Host"), "{answer}");
        let status = status.replace("204", "200");
        for method in ["GET", "HEAD"] {
            let listen = format!("{method} /chat HTTP/1.1\r\n{headers}\r\n");
            let head = asked(&chat, &listen).await.1;
            assert!(head.starts_with(&status), "{method} {headers}{head}");
        }
    }
}

/// An address of this machine that other machines could have for it. Nothing is sent.
fn outside() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").expect("this machine has a network");
    socket.local_addr().unwrap().ip()
}

#[handler]
async fn foreign() -> Text<&'static str> {
    Text::Html("<!doctype html><title>a page of another origin</title>")
}

/// Tries from a page of another origin to join as a user, to say something, and to listen.
/// Returns what its EventSource makes of it: 2 is CLOSED.
async fn attack(browser: &Browser, chat: &str) -> Value {
    browser.open(&serve(Router::new().get(foreign)).await).await;
    let attack = "(async () => {
        const id = 'e'.repeat(32);
        const mode = 'no-cors';
        await fetch(`${chat}/chat?as=${id}`, { mode }).then((answer) => answer.body?.cancel());
        const body = 'written by another page';
        await fetch(`${chat}/chat/${id}`, { method: 'POST', mode, body });
        const stream = new EventSource(`${chat}/chat`);
        await new Promise((next) => stream.onerror = next);
        return stream.readyState;
    })()";
    browser.eval(&attack.replace("${chat}", chat)).await
}

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn a_page_of_another_origin_can_do_nothing() {
    let chat = Program::start("chat").await;
    let mut ann = User::join(&chat).await;
    let browser = Browser::start().await;
    assert_eq!(attack(&browser, &chat.url).await, 2);
    let _bob = User::join(&chat).await;
    assert_eq!(ann.hears().await, "joined User#2", "Bob, and nobody before");
}

/// Browsers send `Sec-Fetch-Site` to https and to loopback only.
#[tokio::test]
#[ignore = "needs chromedriver"]
async fn on_a_local_network_it_cannot_write_or_listen_either() {
    let mut chat = Program::start_at("chat", "0.0.0.0:0").await;
    let port = chat.url.rsplit_once(':').unwrap().1;
    chat.url = format!("http://{}:{port}", outside());
    let mut ann = User::join(&chat).await;
    let browser = Browser::start().await;
    assert_eq!(attack(&browser, &chat.url).await, 2);
    // A GET without CORS says nothing of the page that sends it: it joins, and is silent.
    assert_eq!(ann.hears().await, "joined User#2");
    // The program's own page may write.
    browser.open(&chat.url).await;
    browser
        .until("document.querySelector('#state').textContent == 'connected'")
        .await;
    browser.type_into("#text", "I may\u{e007}").await;
    assert_eq!(ann.message().await, "<User#3>: I may");
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn behind_nginx_with_proxy_pass_alone_the_refusal_names_host() {
    let chat = Program::start("chat").await;
    let ann = User::join(&chat).await;
    let post = async |nginx: &Nginx, headers: &[(&str, &str)]| {
        let url = format!("{}/chat/{}", nginx.url, ann.id);
        let mut request = reqwest::Client::new().post(url).body("hi");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = within("an answer", request.send()).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let page = [("host", "book.example"), ("origin", "http://book.example")];
    let alone = Nginx::before(&chat.url, "").await;
    let (status, reason) = post(&alone, &page).await;
    assert_eq!(status, 403);
    assert!(reason.contains("does not pass on the Host of the page"), "{reason}");
    // On https and on loopback, the browser says more.
    let says = [page[0], page[1], ("sec-fetch-site", "same-origin")];
    assert_eq!(post(&alone, &says).await.0, 204);
    let cured = "proxy_set_header Host $http_host;";
    let cured = Nginx::before(&chat.url, cured).await;
    assert_eq!(post(&cured, &page).await.0, 204);
    let other = [("host", "book.example"), ("origin", "http://other.example")];
    assert_eq!(post(&cured, &other).await.0, 403);
}
