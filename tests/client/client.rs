//! The client as a process, as the tests of this folder see it.

use std::ops::{Deref, DerefMut};

use serde_json::Value;
use tests::scripted::Server;
use tests::{Ended, Process, until};

/// Waits are longer by chance, up to this times as long. As in `examples/client/main.rs`.
pub const JITTER: f64 = 1.5;

pub struct Client(Process);

impl Client {
    pub fn start(arguments: &[&str]) -> Self {
        Self(Process::start("client", arguments))
    }

    /// Starts a client of this server.
    pub fn of(server: &Server, arguments: &[&str]) -> Self {
        Self::start(&[arguments, &[&*server.url("/events")]].concat())
    }

    /// The next event, of a client that prints JSON.
    pub async fn json(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    /// The waits that the client has announced so far, in seconds.
    pub fn waits(&self) -> Vec<f64> {
        let stderr = self.stderr();
        let after = stderr.split("trying again in ").skip(1);
        after.filter_map(|text| text.split_once(" s")?.0.parse().ok()).collect()
    }

    /// Waits until the client has announced more than `count` waits, and returns the first
    /// of those.
    pub async fn wait_after(&self, count: usize) -> f64 {
        let says_more = async || self.waits().len() > count;
        until("the client says when it tries again", says_more).await;
        self.waits()[count]
    }

    /// Reads all that the client writes until it ends by itself.
    pub async fn ended(self) -> Ended {
        self.0.ended().await
    }
}

impl From<Process> for Client {
    fn from(process: Process) -> Self {
        Self(process)
    }
}

impl Deref for Client {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}

/// Answers the next request with 204, which ends the client.
pub async fn no_content(server: &Server) {
    server.answer("HTTP/1.1 204 No Content\r\n\r\n").await;
}
