//! The servers that people develop pages with, in front of a program: what their proxies do
//! to a stream. Their configurations are in `devservers/`, as people write them and right.

use std::fs;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::scripted::{HEAD, Server};
use tests::{Browser, Process, Program, root, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{interval, timeout};

use crate::record;

/// How long a test watches that nothing comes.
const WATCH: Duration = Duration::from_millis(2_500);
/// How often a busy machine is looked at.
const LOOKS: usize = 5;
/// The codings that a browser accepts.
const BROWSER: &str = "Accept-Encoding: gzip, deflate, br\r\n";

/// A package of npm with a proxy for developers.
struct Package {
    name: &'static str,
    /// The folder of `node_modules` that has it.
    folder: &'static str,
    /// How its configurations are called.
    files: [&'static str; 2],
    /// Its name on the page.
    title: &'static str,
}

const PACKAGES: [Package; 4] = [
    Package {
        name: "vite",
        folder: "page/frameworks",
        files: ["vite.default.js", "vite.right.js"],
        title: "Vite",
    },
    Package {
        name: "webpack-dev-server",
        folder: "node",
        files: ["webpack.default.js", "webpack.right.js"],
        title: "webpack-dev-server",
    },
    Package {
        name: "webpack-dev-server-6",
        folder: "node",
        files: ["webpack.default.js", "webpack6.right.js"],
        title: "webpack-dev-server",
    },
    Package {
        name: "http-proxy-middleware",
        folder: "node",
        files: ["express.default.js", "express.right.js"],
        title: "http-proxy-middleware",
    },
];

impl Package {
    fn modules(&self) -> PathBuf {
        root().join("target/sdk").join(self.folder)
    }

    /// As in `Vite 8.3.8`.
    fn title(&self) -> String {
        let file = self.modules().join("node_modules").join(self.name);
        let text = fs::read_to_string(file.join("package.json")).unwrap();
        let package: Value = serde_json::from_str(&text).unwrap();
        format!("{} {}", self.title, package["version"].as_str().unwrap())
    }
}

/// A development server that runs. Dropping it ends it.
struct DevServer {
    _process: Process,
    addr: String,
    _folder: TempDir,
}

impl DevServer {
    async fn start(package: &Package, file: &str, server: &str) -> Self {
        let port = &*free_port().await.to_string();
        let addr = format!("127.0.0.1:{port}");
        let (_, behind) = server.rsplit_once(':').unwrap();
        let folder = tempfile::tempdir().unwrap();
        let text = |name: &str| {
            let file = root().join("tests/boxes/devservers").join(name);
            let text = fs::read_to_string(file).unwrap();
            text.replace("8698", behind)
                .replace("3000", port)
                .replace("PACKAGE", package.name)
                .replace("FOLDER", folder.path().to_str().unwrap())
        };
        let script = folder.path().join("script.mjs");
        let configuration = folder.path().join("configuration.mjs");
        let mut node = Command::new("node");
        node.current_dir(package.modules()).stdout(Stdio::null());
        if package.name == "vite" {
            fs::write(&configuration, text(file)).unwrap();
            fs::write(folder.path().join("index.html"), "<!doctype html>").unwrap();
            node.arg("node_modules/vite/bin/vite.js").arg(folder.path());
            node.arg("--config").arg(&configuration);
            node.args(["--host", "127.0.0.1", "--port", port, "--strictPort"]);
        } else {
            let is_webpack = package.name.starts_with("webpack");
            fs::write(&configuration, text(file)).unwrap();
            let name = if is_webpack { "webpack.mjs" } else { file };
            fs::write(&script, text(name)).unwrap();
            let script = fs::File::open(&script).unwrap();
            node.args(["--input-type=module", "-"]).stdin(script);
        }
        let process = Process::spawn(node);
        // Vite tries its port before it listens, so a connection alone means nothing.
        let url = format!("http://{addr}/nothing");
        let answers = async || reqwest::get(&url).await.is_ok();
        until(&format!("{file} answers"), answers).await;
        Self { _process: process, addr, _folder: folder }
    }

    /// Asks for the stream with this line in the head, and reads nothing.
    async fn ask(&self, line: &str) -> TcpStream {
        let mut reader = TcpStream::connect(&self.addr).await.unwrap();
        let head = format!(
            "GET /ticks HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{line}\r\n",
            self.addr
        );
        within("a request", reader.write_all(head.as_bytes())).await.unwrap();
        reader
    }
}

/// A port that no connection goes out from by chance: a test that tries to connect to it
/// while nobody listens could take it itself.
async fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + (process::id() % 10_000) as u16;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("0.0.0.0", port)).await.is_ok() {
            return port;
        }
    }
}

/// Reads until these bytes have come, or in vain.
async fn comes(reader: &mut TcpStream, text: &str) -> bool {
    let mut bytes = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&bytes).contains(text) {
            assert!(reader.read_buf(&mut bytes).await.unwrap() > 0, "it goes on");
        }
    };
    timeout(WATCH, read).await.is_ok()
}

/// How a stream ends for its reader, after it has ended for the development server.
async fn end(mut reader: TcpStream) -> &'static str {
    let mut bytes = Vec::new();
    match timeout(WATCH, reader.read_to_end(&mut bytes)).await {
        Err(_) if bytes.ends_with(b"\r\n0\r\n\r\n") => "end",
        Err(_) => "open",
        Ok(_) => "cut",
    }
}

/// Whether the program has learnt, after its reader has left, that nobody reads. It is silent,
/// or writes on.
async fn is_told(dev: &DevServer, program: &Server, is_silent: bool) -> bool {
    let (mut reader, mut asked) = tokio::join!(dev.ask(""), program.asked());
    asked.write(format!("{HEAD}transfer-encoding: chunked\r\n\r\n")).await;
    asked.write("9\r\ndata: 1\n\n\r\n").await;
    assert!(comes(&mut reader, "data: 1").await);
    drop(reader);
    let mut socket = asked.socket;
    let mut pace = interval(Duration::from_millis(50));
    let told = async {
        loop {
            tokio::select! {
                read = socket.read_u8() => return drop(read),
                _ = pace.tick(), if !is_silent => {
                    if socket.write_all(b"9\r\ndata: 2\n\n\r\n").await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    timeout(WATCH, told).await.is_ok()
}

/// Whether a stream that must not be changed comes to a browser at once.
async fn passes_untransformed(dev: &DevServer, program: &Server) -> bool {
    let (mut reader, mut asked) = tokio::join!(dev.ask(BROWSER), program.asked());
    asked.write(format!("{HEAD}cache-control: no-cache, no-transform\r\n")).await;
    asked.write("transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n").await;
    comes(&mut reader, "data: 1").await
}

async fn row(package: &Package, number: usize) -> Value {
    let file = package.files[number];
    let configuration = ["default", "right"][number];
    // `tick`, which is killed in the middle of its streams.
    let tick = Program::start("tick").await;
    let dev = DevServer::start(package, file, &tick.url).await;
    let mut curl = dev.ask("").await;
    let mut browser = dev.ask(BROWSER).await;
    let (plain, compressed) =
        tokio::join!(comes(&mut curl, "data: 2"), comes(&mut browser, "data: 2"));
    let url = tick.url.clone();
    drop((tick, browser));
    let broken_off = end(curl).await;
    let program = Server::start_in_place_of(&url).await;
    json!({
        "box": package.title(),
        "configuration": configuration,
        "curl": plain,
        "browser": compressed,
        "no_transform": passes_untransformed(&dev, &program).await,
        "told_if_silent": is_told(&dev, &program, true).await,
        "told_if_busy": is_told(&dev, &program, false).await,
        "broken_off": broken_off,
    })
}

/// Looks again until one look was not disturbed: a busy machine makes late what comes at once.
async fn undisturbed(package: &Package, number: usize) -> Value {
    let recorded =
        if record::is_written() { Vec::new() } else { record::read("devservers").1 };
    let is_recorded =
        |row: &Value| recorded.iter().any(|was| record::is_alike(row, was));
    let mut looks = 0;
    loop {
        let row = row(package, number).await;
        looks += 1;
        if is_recorded(&row) || recorded.is_empty() || looks == LOOKS {
            return row;
        }
    }
}

/// Everything that a stream needs, in the order of the table's columns.
fn needs(row: &Value) -> [bool; 4] {
    let told = row["told_if_silent"] == true && row["told_if_busy"] == true;
    let is_noticed = row["broken_off"] == "cut";
    [row["browser"] == true, row["no_transform"] == true, told, is_noticed]
}

/// The right configurations have all of it, and no row.
fn cells(row: &Value) -> Option<Vec<String>> {
    let signs = needs(row).map(|sign| if sign { "✓" } else { "–" }.to_string());
    (row["configuration"] == "default").then(|| signs.to_vec())
}

#[tokio::test]
#[ignore = "needs its package: tests/sdk/install"]
async fn development_servers_do_to_a_stream_what_was_recorded() {
    let cases = PACKAGES.iter().flat_map(|package| [(package, 0), (package, 1)]);
    let rows = cases.map(|(package, number)| undisturbed(package, number));
    let rows = join_all(rows).await;
    for row in &rows {
        eprintln!("{row}");
        assert_eq!(row["curl"], true);
        assert!(row["configuration"] == "default" || needs(row) == [true; 4]);
    }
    record::assert_recorded("devservers", &rows, &[("rows", cells)]);
}

/// A page that listens, and counts.
const LISTEN: &str = "(window.opened = window.came = 0,
    window.source = new EventSource('/ticks'),
    source.onopen = () => opened += 1, source.onmessage = () => came += 1, 0)";
/// Longer than EventSource waits before it comes back, in both browsers.
const RETRY: Duration = Duration::from_secs(7);

#[tokio::test]
#[ignore = "needs chromedriver, firefox-esr and its package: tests/sdk/install"]
async fn behind_vite_a_page_comes_back_after_a_restart_only_if_it_is_told() {
    let vite = &PACKAGES[0];
    let runs = Browser::both().await.into_iter().map(async |browser| {
        for (file, comes_back) in vite.files.into_iter().zip([false, true]) {
            let tick = Program::start("tick").await;
            let addr = tick.url.strip_prefix("http://").unwrap().to_string();
            let dev = DevServer::start(vite, file, &tick.url).await;
            browser.open(&format!("http://{}/", dev.addr)).await;
            browser.eval(LISTEN).await;
            browser.until("came > 0").await;
            drop(tick);
            // An EventSource that comes back now gives up for good.
            let away = reqwest::get(format!("http://{}/ticks", dev.addr)).await;
            assert_eq!(away.unwrap().status(), 502);
            let _again = Program::start_at("tick", &addr).await;
            if comes_back {
                browser.until("opened === 2 && source.readyState === 1").await;
            } else {
                browser.never("opened > 1 || source.readyState !== 1", RETRY).await;
            }
        }
    });
    join_all(runs).await;
}
