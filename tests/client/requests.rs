//! The requests of the client: their headers, and where redirects lead them.

use std::time::Duration;

use tests::scripted::{Server, stream};

use crate::client::Client;

#[tokio::test]
async fn the_request_is_that_of_eventsource_with_the_headers_of_the_user() {
    let server = Server::start().await;
    let _client =
        Client::of(&server, &["-H", "Authorization: Bearer k:1", "--header=X-A:b"]);
    let asked = server.asked().await;
    assert!(asked.head.starts_with("GET /events HTTP/1.1\r\n"), "{}", asked.head);
    assert_eq!(asked.header("accept"), Some("text/event-stream"));
    assert_eq!(asked.header("cache-control"), Some("no-cache"));
    assert_eq!(asked.header("last-event-id"), None);
    assert_eq!(asked.header("authorization"), Some("Bearer k:1"));
    assert_eq!(asked.header("x-a"), Some("b"));

    let _client =
        Client::of(&server, &["-H", "Accept: a/b", "-H", "x-a: 1", "-H", "x-a: 2"]);
    let asked = server.asked().await;
    assert_eq!(asked.header("accept"), Some("a/b"));
    assert_eq!(asked.head.matches("x-a: ").count(), 2, "{}", asked.head);
    assert_eq!(asked.head.matches("accept: ").count(), 1, "{}", asked.head);
}

#[tokio::test]
async fn redirects_are_followed_from_the_first_url_each_time() {
    for status in [301, 302, 303, 307, 308] {
        let server = Server::start().await;
        let mut client = Client::of(&server, &["-H", "x-key: k"]);
        let redirect = format!(
            "HTTP/1.1 {status} Elsewhere\r\nlocation: /moved?a=1\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n"
        );
        for _ in 0..2 {
            let asked = server.answer(&redirect).await;
            assert!(asked.head.starts_with("GET /events "), "{}", asked.head);
            let asked = server.answer(stream("retry: 0\ndata: a\n\n")).await;
            assert!(asked.head.starts_with("GET /moved?a=1 "), "{}", asked.head);
            assert_eq!(asked.header("x-key"), Some("k"));
            assert_eq!(asked.header("referer"), None);
            assert_eq!(asked.header("accept"), Some("text/event-stream"));
            assert_eq!(client.line().await, "message: a");
        }
    }
}

#[tokio::test]
async fn a_header_of_the_user_goes_to_no_other_origin() {
    let other = Server::start().await;
    let redirect = format!(
        "HTTP/1.1 307 Elsewhere\r\nlocation: {}\r\nconnection: close\r\n\r\n",
        other.url("/events")
    );
    let server = Server::start().await;
    let mut client = Client::of(&server, &[]);
    server.answer(&redirect).await;
    other.answer(stream("data: a\n\n")).await;
    assert_eq!(client.line().await, "message: a");

    let client = Client::of(&server, &["-H", "x-key: k"]);
    server.answer(&redirect).await;
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("another origin"), "{ended:?}");
    other.stays_alone_for(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn redirects_that_lead_nowhere_are_refused() {
    for (location, requests) in
        [("location: /events\r\n", 21), ("", 1), ("location: ftp://a/\r\n", 1)]
    {
        let server = Server::start().await;
        let client = Client::of(&server, &[]);
        for _ in 0..requests {
            let redirect = format!(
                "HTTP/1.1 301 Elsewhere\r\n{location}connection: close\r\n\r\n"
            );
            server.answer(redirect).await;
        }
        let ended = client.ended().await;
        assert_eq!(ended.code, Some(2), "{location}: {ended:?}");
    }
}

#[tokio::test]
async fn a_password_in_the_url_is_used_and_not_shown() {
    let server = Server::start().await;
    let url = server.url("/events").replace("http://", "http://ann:secret@");
    let client = Client::start(&["--max-attempts", "2", &url]);
    let asked = server.answer(stream("retry: 0\n\n")).await;
    assert_eq!(asked.header("authorization"), Some("Basic YW5uOnNlY3JldA=="));
    drop(server);
    let ended = client.ended().await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(!ended.stderr.contains("secret"), "{ended:?}");
    // Nor in the reason for a refusal, nor where a redirect leads to one with a password.
    let elsewhere = "location: http://ann:secret@[::1/\r\n";
    let nowhere = "location: ftp://ann:secret@127.0.0.1/\r\n";
    let gone = "location: http://ann:secret@127.0.0.1:1/\r\n";
    for (status, headers) in [
        (404, ""),
        (200, ""),
        (503, ""),
        (307, elsewhere),
        (307, nowhere),
        (307, gone),
    ] {
        let server = Server::start().await;
        let url = server.url("/events?key=secret").replace("//", "//ann:secret@");
        let client = Client::start(&["--max-attempts", "1", &url]);
        let end = "content-length: 0\r\nconnection: close\r\n\r\n";
        server.answer(format!("HTTP/1.1 {status} No\r\n{headers}{end}")).await;
        let ended = client.ended().await;
        assert!(matches!(ended.code, Some(2 | 3)), "{ended:?}");
        assert!(!ended.stderr.contains("secret"), "{ended:?}");
    }
}
