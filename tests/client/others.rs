//! Clients of other makes, each with a stream that breaks: Python, Node, curl and `fetch`.

use std::fs::File;
use std::process::Stdio;

use salvo::prelude::*;
use salvo::serve_static::StaticDir;
use serde_json::json;
use tests::{Browser, Program, root, serve, within};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Starts `faults`, with a stream that breaks after its first event, and then is good.
async fn breaks_once() -> (Program, String) {
    let faults = Program::start("faults").await;
    let put = faults.request("PUT", "/streams/a").body("cut-between-events good");
    assert!(faults.send(put).await.status().is_success());
    let url = format!("{}/streams/a", faults.url);
    (faults, url)
}

/// Runs a client until it has printed this line, and returns its lines about events.
async fn lines_until(mut client: Command, last: &str) -> Vec<String> {
    let mut client =
        client.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    while said.last().is_none_or(|line: &String| line != last) {
        let line = within(last, lines.next_line()).await.unwrap();
        let line = line.expect("the client goes on");
        if line.contains("event") {
            said.push(line);
        }
    }
    said
}

const ALL: [&str; 3] = ["message event 1", "message event 2", "message event 3"];

#[tokio::test]
#[ignore = "needs its package: tests/sdk/install"]
async fn the_python_client_comes_back_and_continues() {
    let (_faults, url) = breaks_once().await;
    let mut python = Command::new(root().join("target/sdk/python/bin/python"));
    python
        .args(["-", &url])
        .stdin(File::open(root().join("tests/sdk/client.py")).unwrap());
    python.env("NO_PROXY", "*");
    assert_eq!(lines_until(python, ALL[2]).await, ALL);
}

#[tokio::test]
#[ignore = "needs its package: tests/sdk/install"]
async fn the_node_client_comes_back_and_continues() {
    let (_faults, url) = breaks_once().await;
    let mut node = Command::new("node");
    node.args(["--input-type=module", "-", &url])
        .current_dir(root().join("target/sdk/node"));
    node.stdin(File::open(root().join("tests/sdk/client.mjs")).unwrap());
    assert_eq!(lines_until(node, ALL[2]).await, ALL);
}

#[tokio::test]
async fn curl_ends_where_the_connection_does() {
    let (_faults, url) = breaks_once().await;
    let output = Command::new("curl").args(["-sN", &url]).output();
    let output = within("curl ends", output).await.unwrap();
    assert_eq!(output.status.code(), Some(18), "a partial file");
    let body = String::from_utf8(output.stdout).unwrap();
    assert!(body.ends_with("id: 1\ndata: event 1\n\n"), "{body}");
}

#[handler]
async fn page() -> Text<&'static str> {
    Text::Html("<!doctype html><title>read</title>")
}

#[handler]
async fn script(res: &mut Response) {
    res.headers_mut().insert("content-type", "text/javascript".parse().unwrap());
    res.body(include_str!("../pages/read.js"));
}

#[allow(dead_code)] // the test leaves out what the program needs to run by itself
#[path = "../../examples/faults/main.rs"]
mod faults;

#[tokio::test]
#[ignore = "needs chromedriver"]
async fn fetch_reads_until_the_connection_ends_and_brings_the_id_it_is_given() {
    let files = StaticDir::new(root().join("theme/vendor"));
    let router = Router::new()
        .push(Router::with_path("read.js").get(script))
        .push(Router::with_path("page").get(page))
        .push(Router::with_path("eventsource-parser.js").get(files))
        .push(faults::router(faults::MAX_OPEN));
    let url = serve(router).await;
    let put = reqwest::Client::new().put(format!("{url}/streams/a"));
    let put =
        put.body("no-final-blank-line cut-between-events").send().await.unwrap();
    assert!(put.status().is_success());
    let browser = Browser::start().await;
    browser.open(&format!("{url}/page")).await;
    let read = |last: &str| {
        format!(
            "(window.heard = [], window.end = '', import('/read.js').then(({{ read }}) => \
             read('/streams/a', (event) => {{ heard.push(event.data); }}, {}))\
             .then(() => {{ end = 'ended'; }}, (error) => {{ end = String(error); }}), 0)",
            json!(last)
        )
    };
    browser.eval(&read("")).await;
    browser.until("end == 'ended'").await;
    assert_eq!(browser.eval("heard.at(-1)").await, "event 1");
    // The last event may be lost: an error does not wait until all bytes have been read.
    browser.eval(&read("1")).await;
    browser.until("end.includes('network error')").await;
    assert_eq!(browser.eval("heard.includes('event 1')").await, false);
}
