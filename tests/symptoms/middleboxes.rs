//! Cures for boxes other than nginx as it begins: HAProxy, lighttpd, Varnish and Caddy, and nginx
//! that is told to read its configuration again.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use tests::scripted::Server;
use tests::{Middlebox, serve, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::boxes::{WATCH, curl, is_held_back, passes, streams};
use crate::code;

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn haproxy_sends_an_event_a_fifth_of_a_second_late_unless_it_must_not_wait() {
    let server = serve(streams()).await;
    let start = |lines: String| {
        let told = move |text: String| {
            text.replace("mode http", &format!("mode http\n    {lines}"))
        };
        Middlebox::start_changed("haproxy", "default", &server, told)
    };
    let waiting = start(String::new()).await;
    let told = start(code("no-delay.cfg")).await;
    let delay = async |haproxy: &Middlebox| {
        let start = Instant::now();
        passes(&format!("{}/one", haproxy.url)).await;
        start.elapsed()
    };
    for _ in 0..5 {
        let delay = delay(&waiting).await;
        assert!(delay >= Duration::from_millis(150), "{delay:?}");
    }
    // A busy machine makes it late, too, but not each time.
    let is_quick = async || delay(&told).await < Duration::from_millis(150);
    until("an event at once", is_quick).await;
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn lighttpd_collects_a_stream_unless_it_must_not() {
    let server = serve(streams()).await;
    let collecting = Middlebox::start("lighttpd", "default", &server).await;
    is_held_back(&format!("{}/one-passed-on", collecting.url)).await;
    let told = |text: String| text + code("stream.lighttpd.conf").as_str();
    let told = Middlebox::start_changed("lighttpd", "default", &server, told).await;
    passes(&format!("{}/one", told.url)).await;
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn varnish_that_compresses_collects_a_stream_unless_it_must_not() {
    const GZIP: &str =
        "\nsub vcl_backend_response {\n    set beresp.do_gzip = true;\n}\n";
    let server = serve(streams()).await;
    let cure = code("varnish.vcl");
    let returning = GZIP.replace("true;", "true;\n    return (deliver);");
    for (configuration, lines, is_late) in [
        ("default", GZIP.to_string(), true),
        ("default", format!("{cure}{GZIP}"), true), // the last one counts
        ("default", format!("{returning}{cure}"), true), // that one is the last
        ("default", format!("{GZIP}{cure}"), false),
        ("right", GZIP.to_string(), false),
    ] {
        // Its own lines follow those that compress.
        let compressing = |text: String| match text.split_once("\nsub") {
            Some((head, subs)) => format!("{head}{lines}\nsub{subs}"),
            None => text + lines.as_str(),
        };
        let varnish =
            Middlebox::start_changed("varnish", configuration, &server, compressing);
        let varnish = varnish.await;
        let url = format!("{}/one", varnish.url);
        if is_late { is_held_back(&url).await } else { passes(&url).await }
    }
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn caddy_that_compresses_holds_large_events_back_unless_it_is_told_what_to_compress()
 {
    const GZIP: &str = "encode gzip";
    let server = serve(streams()).await;
    for (encode, flush, path, is_late) in [
        (GZIP, "", "one", false), // it is too small
        (GZIP, "", "small-first", false),
        (GZIP, "", "large-first", true),
        (GZIP, "flush_interval -1", "large-first", true),
        (&*code("encode.caddyfile"), "", "large-first", false),
    ] {
        let compressing = |text: String| {
            let proxy = format!("{encode}\nreverse_proxy");
            let text = text.replacen("reverse_proxy", &proxy, 1);
            text.replacen("transport", &format!("{flush}\ntransport"), 1)
        };
        let caddy =
            Middlebox::start_changed("caddy", "right", &server, compressing).await;
        let url = format!("{}/{path}", caddy.url);
        if is_late {
            is_held_back(&url).await
        } else {
            passes(&url).await
        }
        if path == "small-first" {
            // The first event decides: large ones behind it come, too.
            let mut curl = curl(&url);
            while curl.line().await != "data: 3" {}
        }
    }
}

/// Asserts that a stream is cut, or that it is not, for as long as the test looks.
async fn ends(mut stream: reqwest::Response, is_cut: bool) {
    let end = async { while let Ok(Some(_)) = stream.chunk().await {} };
    if is_cut {
        within("the end of a stream", end).await;
    } else {
        assert!(timeout(2 * WATCH, end).await.is_err(), "it goes on");
    }
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn a_reload_of_nginx_leaves_its_streams_alone_until_the_time_that_they_are_given()
 {
    let server = serve(streams()).await;
    let lines = code("shutdown.conf");
    assert!(lines.contains(" 10m;"), "{lines}");
    for (lines, is_cut) in [("", false), (&*lines.replace("10m", "1s"), true)] {
        let told = |text: String| {
            let unbuffered = "proxy_buffering off; proxy_pass";
            format!("{lines}\n{}", text.replace("proxy_pass", unbuffered))
        };
        let nginx =
            Middlebox::start_changed("nginx", "default", &server, told).await;
        let asked = reqwest::get(format!("{}/beating", nginx.url));
        let mut old = within("a head", asked).await.unwrap();
        assert!(within("a heartbeat", old.chunk()).await.unwrap().is_some());
        kill(nginx.id(), Signal::SIGHUP).unwrap();
        ends(old, is_cut).await;
    }
}

/// HAProxy that gives a server one second, and then this line.
async fn hasty(server: &str, line: &str) -> Middlebox {
    let told = |text: String| {
        let given = format!("timeout server 1s\n    {line} #");
        text.replacen("timeout server", &given, 1)
    };
    Middlebox::start_changed("haproxy", "default", server, told).await
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn haproxy_cuts_a_silent_stream_unless_its_server_has_more_time() {
    let server = serve(streams()).await;
    for (line, path, is_cut) in [
        ("timeout tunnel 1h", "quiet", true),
        ("timeout tunnel 1h", "beating", false),
        (&*code("timeout.cfg"), "quiet", false),
    ] {
        let haproxy = hasty(&server, line).await;
        let asked = reqwest::get(format!("{}/{path}", haproxy.url));
        let answer = within("a head", asked).await.unwrap();
        ends(answer, is_cut).await;
    }
}

#[tokio::test]
#[ignore = "needs proxies: tests/boxes/install"]
async fn behind_haproxy_a_server_learns_that_its_reader_left_when_it_writes() {
    let server = Server::start().await;
    let haproxy = Middlebox::start("haproxy", "default", &server.url("")).await;
    let reader = tokio::spawn(reqwest::get(haproxy.url.clone()));
    let mut asked = server.asked().await;
    asked.stream("data: 1\n\n").await;
    let mut answer = within("a head", reader).await.unwrap().unwrap();
    assert!(within("an event", answer.chunk()).await.unwrap().is_some());
    drop(answer);
    let learnt = timeout(WATCH, asked.socket.readable()).await;
    assert!(learnt.is_err(), "as long as the server is silent, it learns nothing");
    let beats = async {
        // The first one tells HAProxy, and a further one comes back.
        while asked.socket.write_all(b":\n").await.is_ok() {
            let byte = asked.socket.read_u8();
            if timeout(Duration::from_millis(100), byte).await.is_ok() {
                break;
            }
        }
    };
    within("the server learns it by a heartbeat", beats).await;
}
