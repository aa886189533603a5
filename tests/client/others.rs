//! Clients of other makes: those of `client.md` in Python and for Node, curl, and `fetch` in a
//! page.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::cases::cases;
use tests::scripted::{Server, stream};
use tests::{Process, Program, root, within};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::answers::{NO_STREAMS, STREAMS, response};
use crate::client::{Client, no_content};

/// The end of a head after which the server closes the connection.
const NO_BODY: &str = "content-length: 0\r\nconnection: close\r\n\r\n";

/// A client of the chapter.
struct Maker {
    program: String,
    /// The scripts, as a reader saves them.
    folder: TempDir,
    script: &'static str,
    cases: &'static str,
}

impl Maker {
    fn new(program: String, files: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        for file in files {
            let from = root().join("tests").join(file);
            fs::copy(&from, folder.path().join(from.file_name().unwrap())).unwrap();
        }
        let is_python = files[0].ends_with("py");
        let (script, cases) = match is_python {
            true => ("client.py", "cases.py"),
            false => ("client.mjs", "cases.mjs"),
        };
        Self { program, folder, script, cases }
    }

    fn python() -> Self {
        let program = root().join("target/sdk/python/bin/python");
        let files = ["sdk/client.py", "sdk/cases.py"];
        Self::new(program.to_str().unwrap().into(), &files)
    }

    fn node() -> Self {
        let files = ["sdk/client.mjs", "sdk/cases.mjs", "pages/read.js"];
        let maker = Self::new("node".into(), &files);
        let package = r#"{ "type": "module" }"#;
        fs::write(maker.folder.path().join("package.json"), package).unwrap();
        maker
    }

    fn both() -> [Self; 2] {
        [Self::python(), Self::node()]
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.folder.path()).arg(script).env("NO_PROXY", "*");
        command.stdout(Stdio::piped());
        command
    }

    /// Starts the client of a stream.
    fn start(&self, url: &str) -> Client {
        let mut command = self.command(self.script);
        command.arg(url);
        Client::from(Process::spawn(command))
    }
}

fn event(kind: &str, data: &str, id: &str) -> Value {
    json!({ "type": kind, "data": data, "lastEventId": id })
}

#[tokio::test]
#[ignore = "needs its package: tests/sdk/install"]
async fn the_python_and_node_clients_come_back_and_continue() {
    for maker in Maker::both() {
        let faults = Program::start("faults").await;
        let put =
            faults.request("PUT", "/streams/a").body("cut-between-events good");
        assert!(faults.send(put).await.status().is_success());
        let mut client = maker.start(&format!("{}/streams/a", faults.url));
        let mut said = Vec::new();
        while said.len() < 5 {
            said.push(client.json().await);
        }
        let attempt = |n: u64, id: Value| {
            let data = json!({ "attempt": n, "lastEventId": id });
            event("attempt", &data.to_string(), id.as_str().unwrap_or_default())
        };
        let all = [
            attempt(1, json!(null)),
            event("message", "event 1", "1"),
            attempt(2, json!("1")),
            event("message", "event 2", "2"),
            event("message", "event 3", "3"),
        ];
        assert_eq!(said, all, "{}", maker.script);
    }
}

/// Heartbeats and the like make no event, and odd lines do no harm.
#[tokio::test]
#[ignore = "needs its package: tests/sdk/install"]
async fn the_python_and_node_clients_survive_odd_streams_and_invent_no_event() {
    for maker in Maker::both() {
        let server = Server::start().await;
        let mut client = maker.start(&server.url("/events"));
        // Heartbeats of both kinds, an ID alone, a reconnection time alone, a type alone.
        let odd = ":\n\nretry: 100\n\nid: 1\n\n:\n\nevent: begin\ndata:\nid: 2\n\n:\n\n:\n\
                   event: x\n\nretry: -5000\nretry: 5e3\nretry: 1.5\nretry:\n\n\
                   retry: 99999999999999999999999\n\nevent: note\ndata: a\n\n:\n\n";
        let asked = server.answer(stream(odd)).await;
        assert_eq!(asked.header("last-event-id"), None);
        let mut ids = Vec::new();
        for bytes in [
            "id: é€🙂\ndata: b\n\n", // beyond ASCII, and beyond Latin-1
            "id: 9\n\n",             // alone
            "\u{feff}data: c\n\nid: 10", // cut before its end
            "id\n\n",                // taken back
            "id: \u{1b}[1m\ndata: d\n\n", // in no header
            "id: e\ndata: e\r\r",
        ] {
            let asked = server.answer(stream(bytes)).await;
            ids.push(asked.header("last-event-id").map(str::to_string));
        }
        let asked = server.asked().await;
        assert_eq!(asked.header("last-event-id"), Some("e"));
        let sent = [Some("2"), Some("é€🙂"), Some("9"), Some("9"), None, None];
        assert_eq!(ids, sent.map(|id| id.map(str::to_string)), "{}", maker.script);
        drop(asked);
        no_content(&server).await;
        let ended = client.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let said =
            ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
        let all = [
            event("begin", "", "2"),
            event("note", "a", "2"),
            event("message", "b", "é€🙂"),
            event("message", "c", "9"),
            event("message", "d", "\u{1b}[1m"),
            event("message", "e", "e"),
        ];
        assert_eq!(said.collect::<Vec<Value>>(), all, "{}", maker.script);

        // A reconnection time that no timer can have is not a short one.
        for retry in ["7200000", "9999999999999999"] {
            client = maker.start(&server.url("/events"));
            server.answer(stream(&format!("retry: {retry}\ndata: a\n\n"))).await;
            assert_eq!(client.json().await["data"], "a");
            asks_nothing_for_a_while(&server).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs its package: tests/sdk/install"]
async fn the_python_and_node_clients_try_again_what_may_pass_and_nothing_else() {
    for maker in Maker::both() {
        let name = maker.script;
        let server = Server::start().await;
        let _client = maker.start(&server.url("/events"));
        let statuses =
            [408, 425, 429, 500, 501, 502, 503, 504, 507, 520, 522, 524, 599];
        for status in statuses {
            server.answer(stream("retry: 0\nid: 7\ndata: a\n\n")).await;
            let asked = server.answer(format!("HTTP/1.1 {status} No\r\n\r\n")).await;
            assert_eq!(asked.header("last-event-id"), Some("7"), "{name}");
        }
        // Without `close`, a client may follow on a connection that is about to be closed.
        let location = format!("location: /moved\r\n{NO_BODY}");
        server.answer(format!("HTTP/1.1 307 Elsewhere\r\n{location}")).await;
        let asked = server.answer(stream("data: a\n\n")).await;
        assert!(asked.head.starts_with("GET /moved "), "{name}: {}", asked.head);

        let responses = [201, 300, 304, 400, 401, 403, 404, 410, 431]
            .map(|status| format!("HTTP/1.1 {status} No\r\n{NO_BODY}"));
        let wrong = NO_STREAMS.map(response);
        for response in responses.iter().chain(&wrong) {
            let server = Server::start().await;
            let client = maker.start(&server.url("/events"));
            server.answer(response).await;
            let ended = client.ended().await;
            assert!(ended.code != Some(0), "{name}: {response}");
            assert_eq!(ended.stdout, "", "{name}: {response}");
        }
        let server = Server::start().await;
        let mut client = maker.start(&server.url("/events"));
        for headers in STREAMS {
            server.answer(response(&format!("{headers}x-a: b\r\n"))).await;
            assert_eq!(client.json().await["data"], "é", "{name}: {headers}");
            server.answer(stream("retry: 0\ndata: again\n\n")).await;
            assert_eq!(client.json().await["data"], "again", "{name}: {headers}");
        }
    }
}

#[tokio::test]
#[ignore = "needs its package: tests/sdk/install"]
async fn the_python_and_node_clients_wait_as_long_as_they_should() {
    for maker in Maker::both() {
        let name = maker.script;
        let server = Server::start().await;
        let _client = maker.start(&server.url("/events"));
        let mut before = answer(&server, stream("retry: 200\ndata: a\n\n")).await;
        // The least wait in milliseconds: after an event, and after attempts without one.
        for least in [200, 200, 400, 800] {
            let asked =
                answer(&server, format!("HTTP/1.1 503 Busy\r\n{NO_BODY}")).await;
            let waited = (asked - before).as_millis();
            assert!(waited >= least, "{name}: {waited} < {least}");
            before = asked;
        }
        // Chance makes some waits longer than others.
        let mut waits = Vec::new();
        for _ in 0..9 {
            let asked = answer(&server, stream("retry: 400\ndata: a\n\n")).await;
            waits.push((asked - before).as_millis());
            before = asked;
        }
        assert!(waits[0] >= 1_600, "{name}: {waits:?}");
        assert!(waits[1..].iter().all(|&wait| wait >= 400), "{name}: {waits:?}");
        assert!(waits[1..].iter().any(|&wait| wait >= 450), "{name}: {waits:?}");

        let date =
            httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(5));
        for (value, least) in
            [(date.as_str(), 1_000), ("2", 2_000), ("soon", 0), ("-9", 0)]
        {
            let response =
                format!("HTTP/1.1 429 Busy\r\nretry-after: {value}\r\n{NO_BODY}");
            let refused = answer(&server, response).await;
            let asked = answer(&server, stream("retry: 0\ndata: a\n\n")).await;
            let waited = (asked - refused).as_millis();
            assert!(waited >= least, "{name}: {value}: {waited} ms");
        }
        answer(
            &server,
            format!("HTTP/1.1 503 Busy\r\nretry-after: 7200\r\n{NO_BODY}"),
        )
        .await;
        asks_nothing_for_a_while(&server).await;
    }
}

/// Answers the next request, and returns when it came. (Node connects before it asks.)
async fn answer(server: &Server, bytes: impl AsRef<[u8]>) -> Instant {
    let mut asked = server.asked().await;
    let at = Instant::now();
    asked.write(bytes).await;
    asked.socket.shutdown().await.unwrap();
    at
}

async fn asks_nothing_for_a_while(server: &Server) {
    let asked = timeout(Duration::from_secs(2), server.asked()).await;
    assert!(asked.is_err(), "{}", asked.unwrap().head);
}

#[tokio::test]
#[ignore = "needs its package: tests/sdk/install"]
async fn the_python_and_node_clients_read_every_case_as_the_standard_says() {
    /// The longest reconnection time that they believe, in milliseconds.
    const DAY: u64 = 86_400_000;
    let cases = cases();
    for maker in Maker::both() {
        for pieces in [1, 5_000] {
            let mut command = maker.command(maker.cases);
            let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
            let streams = cases.iter().map(|case| {
                let size = case.bytes.len() / pieces + 1; // most go byte by byte
                json!({ "bytes": case.bytes, "size": size })
            });
            let input = Value::from_iter(streams).to_string();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let wait = tokio::task::spawn_blocking(|| child.wait_with_output());
            let output = within("all cases", wait).await.unwrap().unwrap();
            let output = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.lines().count(), cases.len());
            for (case, line) in cases.iter().zip(output.lines()) {
                let name = format!("{}, {}, in {pieces}", maker.script, case.name);
                let made: Value = serde_json::from_str(line).unwrap();
                assert_eq!(
                    made["events"],
                    Value::from(case.events.clone()),
                    "{name}"
                );
                assert_eq!(made["last"], case.last, "{name}");
                let retry = case.retry.map(|retry| retry.min(DAY));
                assert_eq!(made["retry"].as_u64(), retry, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn curl_ends_where_the_connection_does() {
    let faults = Program::start("faults").await;
    let url = format!("{}/faults/cut-between-events", faults.url);
    let output = tokio::process::Command::new("curl").args(["-sN", &url]).output();
    let output = within("curl ends", output).await.unwrap();
    assert_eq!(output.status.code(), Some(18), "a partial file");
    let body = String::from_utf8(output.stdout).unwrap();
    assert!(body.ends_with("id: 1\ndata: event 1\n\n"), "{body}");
}
