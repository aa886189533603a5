//! A headless Firefox, driven through WebDriver BiDi: commands and answers in JSON, over a
//! WebSocket.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, oneshot};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::wait::{started, within};

/// Leaves out pages, updates and reports that no test looks at: a start takes a quarter less work.
const PREFERENCES: &str = r#"
user_pref("browser.startup.page", 0);
user_pref("browser.newtabpage.enabled", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.server", "");
user_pref("app.normandy.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("extensions.systemAddon.update.enabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("services.settings.server", "data:,#remote-settings-dummy/v1");
user_pref("browser.topsites.contile.enabled", false);
"#;

/// A Firefox, and the tab that is in front. Dropping it ends the browser.
pub struct Firefox {
    process: Child,
    _profile: TempDir,
    connection: Mutex<Connection>,
    tab: Mutex<String>,
    pub version: String,
}

struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    commands: u64,
}

impl Firefox {
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        fs::write(profile.path().join("user.js"), PREFERENCES).unwrap();
        // A group of its own, so that its processes end with it.
        let mut process = Command::new("firefox-esr")
            .args(["--headless", "--no-remote", "--remote-debugging-port=0"])
            .arg("--profile")
            .arg(profile.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("firefox-esr (Debian: firefox-esr) is installed");
        let (said, url) = oneshot::channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        // The pipe is read to its end, or Firefox would wait for a reader.
        thread::spawn(move || {
            let mut said = Some(said);
            for line in stderr.lines().map_while(Result::ok) {
                let url = line.strip_prefix("WebDriver BiDi listening on ");
                if let (Some(url), Some(said)) =
                    (url, said.take_if(|_| url.is_some()))
                {
                    drop(said.send(format!("{url}/session")));
                }
            }
        });
        let url = started("Firefox says where it listens", url).await;
        let url = url.expect("Firefox starts");
        let (socket, _) = started("Firefox", connect_async(url)).await.unwrap();
        let mut connection = Connection { socket, commands: 0 };
        // A test signs its own certificate.
        let wishes = json!({ "alwaysMatch": { "acceptInsecureCerts": true } });
        let session = json!({ "capabilities": wishes });
        let session = connection.send("session.new", session);
        let session = session.await;
        let version = session["capabilities"]["browserVersion"].as_str().unwrap();
        let version = version.to_string();
        let tabs = connection.send("browsingContext.getTree", json!({})).await;
        let tab = tabs["contexts"][0]["context"].as_str().unwrap().to_string();
        let tab = Mutex::new(tab);
        let connection = Mutex::new(connection);
        Self { process, _profile: profile, connection, tab, version }
    }

    async fn send(&self, method: &str, params: Value) -> Value {
        self.connection.lock().await.send(method, params).await
    }

    pub async fn open(&self, url: &str) {
        let page =
            json!({ "context": self.tab().await, "url": url, "wait": "complete" });
        self.send("browsingContext.navigate", page).await;
    }

    pub async fn tab(&self) -> String {
        self.tab.lock().await.clone()
    }

    /// Opens a tab in front of the others.
    pub async fn new_tab(&self) -> String {
        let tab =
            self.send("browsingContext.create", json!({ "type": "tab" })).await;
        let tab = tab["context"].as_str().unwrap().to_string();
        self.to_tab(&tab).await;
        tab
    }

    pub async fn to_tab(&self, tab: &str) {
        self.send("browsingContext.activate", json!({ "context": tab })).await;
        *self.tab.lock().await = tab.to_string();
    }

    pub async fn close_tab(&self) {
        let tab = json!({ "context": self.tab().await });
        self.send("browsingContext.close", tab).await;
    }

    pub async fn back(&self) {
        let back = json!({ "context": self.tab().await, "delta": -1 });
        self.send("browsingContext.traverseHistory", back).await;
    }

    /// The value of a JavaScript expression in the page, as far as JSON can say it.
    pub async fn eval(&self, expression: &str) -> Value {
        let script = json!({
            "expression": format!("(async () => JSON.stringify(await ({expression})))()"),
            "target": { "context": self.tab().await },
            "awaitPromise": true,
        });
        let answer = self.send("script.evaluate", script).await;
        assert_eq!(answer["type"], "success", "{expression}: {answer}");
        match answer["result"]["value"].as_str() {
            Some(value) => serde_json::from_str(value).unwrap(),
            None => Value::Null,
        }
    }
}

impl Connection {
    /// Sends a command, and returns its result.
    async fn send(&mut self, method: &str, params: Value) -> Value {
        self.commands += 1;
        let id = self.commands;
        let command = json!({ "id": id, "method": method, "params": params });
        within(method, async {
            let command = Message::text(command.to_string());
            self.socket.send(command).await.unwrap();
            loop {
                let message = self.socket.next().await.expect("Firefox runs");
                let Message::Text(text) = message.unwrap() else { continue };
                let answer: Value = serde_json::from_str(&text).unwrap();
                if answer["id"] == id {
                    assert_eq!(answer["type"], "success", "{method}: {answer}");
                    return answer["result"].clone();
                }
            }
        })
        .await
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        drop(Command::new("kill").args(["-9", "--", &group]).status());
        drop(self.process.wait());
    }
}
