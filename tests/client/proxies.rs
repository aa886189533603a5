//! The proxies that the environment names.

use tests::scripted::{Server, stream};
use tests::{Ended, Process, example, until};

use crate::client::{Client, no_content};

/// Starts a client with these variables.
fn client(url: &str, variables: &[(&str, &str)]) -> Client {
    let mut command = example("client");
    command.args(["--max-attempts", "1", url]).envs(variables.iter().copied());
    command.stdout(std::process::Stdio::piped());
    Client::from(Process::spawn(command))
}

#[tokio::test]
async fn the_client_goes_through_the_proxy_and_says_so() {
    let proxy = Server::start().await;
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        let client = client("http://book.test/events", &[(name, &proxy.url("/"))]);
        let asked = proxy.asked().await;
        assert!(asked.head.starts_with("GET http://book.test/events HTTP/1.1\r\n"));
        drop(asked);
        let ended = client.ended().await;
        assert_eq!(ended.code, Some(3), "{ended:?}");
        let named = format!("through the proxy {}", proxy.url("/"));
        assert!(ended.stderr.contains(&named), "{}", ended.stderr);
    }
    let mut client = client("http://book.test/", &[("http_proxy", &proxy.url("/"))]);
    let mut asked = proxy.asked().await;
    asked.stream("data: a\n\n").await;
    assert_eq!(client.line().await, "message: a");
    let said = format!("client: connected, through the proxy {}\n", proxy.url("/"));
    until("the client says so", async || client.stderr() == said).await;
}

#[tokio::test]
async fn each_failure_behind_a_proxy_names_the_proxy_and_no_password() {
    let url = "http://ann:secret@book.test/";
    // A proxy that is not there, and answers of one that is.
    let gone = "http://bob:secret@127.0.0.1:1/";
    for scheme in ["http", "https"] {
        let url = url.replace("http", scheme);
        let ended =
            client(&url, &[(&format!("{scheme}_proxy"), gone)]).ended().await;
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.stderr.contains("http://127.0.0.1:1/"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    }
    for (answer, code) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", 2),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", 3),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n", 2),
        ("", 3),
    ] {
        let proxy = Server::start().await;
        let with_password = proxy.url("/").replace("http://", "http://bob:secret@");
        let client = client(url, &[("http_proxy", &with_password)]);
        let asked = proxy.answer(answer).await;
        let credentials = asked.header("proxy-authorization");
        assert_eq!(credentials, Some("Basic Ym9iOnNlY3JldA=="));
        let Ended { code: ended, stderr, .. } = client.ended().await;
        assert_eq!(ended, Some(code), "{answer}: {stderr}");
        let named =
            stderr.contains(&format!("through the proxy {}", proxy.url("/")));
        assert!(named, "{answer}: {stderr}");
        assert!(!stderr.contains("secret"), "{answer}: {stderr}");
    }
}

#[tokio::test]
async fn hosts_of_no_proxy_are_reached_directly() {
    let gone = "http://127.0.0.1:1/";
    for (name, hosts) in [
        ("NO_PROXY", "*"),
        ("no_proxy", "*"),
        ("NO_PROXY", " * "),
        ("NO_PROXY", "book.test, *"),
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.0/8"),
    ] {
        let server = Server::start().await;
        let url = server.url("/events");
        let mut direct = client(&url, &[("http_proxy", gone), (name, hosts)]);
        server.answer(stream("retry: 0\ndata: a\n\n")).await;
        assert_eq!(direct.line().await, "message: a", "{name}={hosts}");
        no_content(&server).await;
        let ended = direct.ended().await;
        assert!(!ended.stderr.contains("proxy"), "{ended:?}");
    }
    let server = Server::start().await;
    let others = [("http_proxy", gone), ("NO_PROXY", "book.test,128.0.0.0/8")];
    let ended = client(&server.url("/"), &others).ended().await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
}
