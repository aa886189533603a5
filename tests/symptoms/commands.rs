//! Cures for the shell, and for readers of a stream in Python.

use std::process::{Command, Output};
use std::time::Duration;

use futures_util::StreamExt;
use salvo::prelude::*;
use salvo::sse::{self, SseEvent};
use tests::redis::Redis;
use tests::scripted::Server;
use tests::{Nginx, serve, within};
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::IntervalStream;

use crate::code;
use crate::server::{Item, quiet};

/// Runs a script with these variables.
async fn shell(script: String, variables: &[(&str, &str)]) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).envs(variables.iter().copied());
    let output = spawn_blocking(move || shell.output());
    within("the end of a script", output).await.unwrap().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).replace('\r', "")
}

/// A stream that ends.
#[handler]
async fn finite(res: &mut Response) {
    let events = ["1", "2"].map(|text| Item::Ok(SseEvent::default().text(text)));
    sse::stream(res, futures_util::stream::iter(events));
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn three_commands_show_which_part_of_the_way_is_to_blame() {
    let app = serve(Router::new().get(finite)).await;
    let gzip = "gzip on; gzip_types text/event-stream; gzip_min_length 0; \
        gzip_proxied any;";
    let nginx = Nginx::before(&app, gzip).await;
    let places = [("APP", &*app), ("SITE", &*nginx.url)];
    let shown = stdout(&shell(code("compare.sh"), &places).await);
    let answers: Vec<_> = shown.split("HTTP/1.1 200 OK\n").skip(1).collect();
    assert_eq!(answers.len(), 3, "{shown}");
    for (n, answer) in answers.iter().enumerate() {
        let answer = answer.to_lowercase();
        assert!(answer.ends_with("\n\ndata: 1\n\ndata: 2\n\n"), "{answer}");
        assert_eq!(answer.contains("server: nginx"), n > 0, "{answer}");
        assert_eq!(answer.contains("content-encoding: gzip"), n == 2, "{answer}");
    }
}

#[tokio::test]
async fn a_post_that_is_repeated_has_the_same_key() {
    let server = Server::start().await;
    let url = server.url("/events");
    let variables = [("URL", &*url), ("EVENT", r#"{"type": "note", "data": "a"}"#)];
    let script = shell(code("key.sh"), &variables);
    let asked = async {
        let end = "content-length: 0\r\nconnection: close\r\n\r\n";
        let busy = format!("HTTP/1.1 503 Service Unavailable\r\n{end}");
        let stored = format!("HTTP/1.1 201 Created\r\n{end}");
        [server.answer(busy).await, server.answer(stored).await]
    };
    let (output, [first, second]) = tokio::join!(script, asked);
    assert!(output.status.success());
    let key = first.header("idempotency-key");
    assert!(key.is_some_and(|key| !key.is_empty()));
    assert_eq!(key, second.header("idempotency-key"));
    assert_eq!(first.json(), second.json());
    assert_eq!(output.stdout, b"201\n");
}

#[tokio::test]
async fn a_post_that_is_refused_is_not_repeated() {
    let server = Server::start().await;
    let url = server.url("/events");
    let variables = [("URL", &*url), ("EVENT", "{}")];
    let script = shell(code("key.sh"), &variables);
    let refused = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
    let (output, _) = tokio::join!(script, server.answer(refused));
    assert_eq!(output.stdout, b"400\n");
}

#[tokio::test]
async fn a_server_on_this_machine_is_asked_without_the_proxy() {
    let url = serve(Router::new().get(finite)).await;
    let dead = "http://127.0.0.1:9";
    let variables = [("URL", &*url), ("http_proxy", dead), ("NO_PROXY", "")];
    let curl = "curl -sf \"$URL\"".to_string();
    let through = shell(curl.clone(), &variables).await;
    assert_eq!(through.status.code(), Some(7), "the proxy is not there");
    let beside = shell(code("no-proxy.sh") + &*curl, &variables).await;
    assert_eq!(stdout(&beside), "data: 1\n\ndata: 2\n\n");
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_as_far_as_it_goes() {
    let script =
        format!("ulimit -Sn 100\n{}ulimit -n; ulimit -Hn", code("files.sh"));
    let shown = stdout(&shell(script, &[]).await);
    let limits: Vec<_> = shown.lines().collect();
    assert!(matches!(limits[..], [soft, hard] if soft == hard), "{shown}");
}

#[tokio::test]
async fn three_lines_of_shell_test_an_endpoint() {
    #[handler]
    async fn login() -> Text<&'static str> {
        Text::Html("<p>Who are you?")
    }
    for (endpoint, status, says) in [
        (Router::new().get(finite), 0, ""),
        (Router::new().get(login), 1, "no stream of events\n"),
        (Router::new().get(quiet), 1, "no event within three seconds\n"),
    ] {
        let url = serve(endpoint).await;
        let output = shell(code("endpoint.sh"), &[("URL", &url)]).await;
        assert_eq!(stdout(&output), says);
        assert_eq!(output.status.code(), Some(status), "{says}");
    }
}

/// Runs lines of Python between others.
async fn python(before: &str, lines: &str, after: &str) -> String {
    let script = format!("{before}\n{lines}\n{after}");
    let output =
        shell("python3 -c \"$SCRIPT\"".into(), &[("SCRIPT", &script)]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stdout(&output)
}

#[tokio::test]
#[ignore = "needs python3"]
async fn python_decodes_a_letter_that_two_chunks_share() {
    let before = "import codecs\ntext = ''\n\
        chunks = [bytes([byte]) for byte in 'é👩‍👩‍👧'.encode()]";
    let text = python(before, &code("decode.py"), "print(ascii(text))").await;
    let whole = python("", "print(ascii('é👩‍👩‍👧'))", "").await;
    assert_eq!(text, whole);
}

#[tokio::test]
#[ignore = "needs python3"]
async fn python_cuts_lines_at_cr_and_lf_alone() {
    let before = r"import re; text = 'a\r\nb\rc\nd\u2028e\x85f'";
    let lines = python(before, &code("lines.py"), "print(ascii(lines))").await;
    assert_eq!(lines, "['a', 'b', 'c', 'd\\u2028e\\x85f']\n");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn each_of_several_servers_appends_to_one_log_and_reads_after_an_id() {
    let redis = Redis::start().await;
    let addr = redis.addr();
    let (_, port) = addr.rsplit_once(':').unwrap();
    let first = "LAST=$(redis-cli XADD log '*' data first)\n";
    let script = format!("{first}{}", code("log.sh"));
    let script = script.replace("redis-cli", "redis-cli -p $PORT");
    let shown = stdout(&shell(script, &[("PORT", port)]).await);
    assert_eq!(shown.matches("hello").count(), 2, "{shown}");
    assert_eq!(shown.matches("first").count(), 1, "{shown}");
}

/// Events that are a tenth of a second apart.
#[handler]
async fn slow(res: &mut Response) {
    let every = tokio::time::interval(Duration::from_millis(100));
    let ticks = IntervalStream::new(every).take(8);
    sse::stream(res, ticks.map(|_| Item::Ok(SseEvent::default().text("1"))));
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn three_commands_show_when_bytes_come_over_http_1_and_2() {
    let app = serve(Router::new().get(slow)).await;
    let gzip = "gzip on; gzip_types text/event-stream; gzip_min_length 0; \
        gzip_proxied any; proxy_http_version 1.1;";
    let nginx = |version: &'static str| {
        let app = app.clone();
        Nginx::start(move |addr| {
            format!(
                "daemon off; pid nginx.pid; events {{}}
                http {{
                    access_log off;
                    server {{
                        listen {addr} {version};
                        location / {{ proxy_pass {app}; {gzip} }}
                    }}
                }}"
            )
        })
    };
    for (version, option) in [("", ""), ("http2", "--http2-prior-knowledge ")] {
        let nginx = nginx(version).await;
        let places = [("APP", &*app), ("SITE", &*nginx.url)];
        let script =
            code("arrivals.sh").replace("\"$SITE\"", &format!("{option}\"$SITE\""));
        // After the first and the second command.
        let script = script.replace("# 1", "; echo").replace("# 2", "; echo");
        let shown = stdout(&shell(script, &places).await);
        let counts: Vec<_> = shown
            .split("\n\n")
            .map(|part| part.matches("Recv data").count())
            .collect();
        assert_eq!(counts.len(), 3, "{shown}");
        assert!(counts[0] > 4 && counts[1] > 4 && counts[2] < 4, "{shown}");
    }
}
