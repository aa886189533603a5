//! A Redis of a check's own, for programs that keep their log there.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::fault::Fault;

/// How long it may take to answer after its start.
const START: Duration = Duration::from_secs(10);
/// The pause between two looks whether it answers.
const LOOK: Duration = Duration::from_millis(20);

/// A `redis-server` with a port and a folder of its own. Dropping it ends the process.
pub struct Redis {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Redis {
    /// Starts one that keeps on disk what it acknowledges.
    pub async fn start() -> Result<Self, Fault> {
        let folder = tempfile::tempdir().map_err(Fault::unable)?;
        let free = TcpListener::bind("127.0.0.1:0").map_err(Fault::unable)?;
        let port = free.local_addr().map_err(Fault::unable)?.port();
        drop(free);
        let child = spawn(port, &folder)?;
        let redis = Self { child, port, folder };
        redis.answers().await?;
        Ok(redis)
    }

    /// As in `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The answer to a command, as `redis-cli` prints it.
    pub async fn ask(&self, command: &[&str]) -> Result<String, Fault> {
        let mut client = Command::new("redis-cli");
        client.args(["-p", &self.port.to_string()]).args(command);
        let output = client.stdin(Stdio::null()).output().await;
        let output = output.map_err(missing)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
    }

    /// Kills it, as a crash would.
    pub async fn kill(&mut self) -> Result<(), Fault> {
        self.child.kill().await.map_err(Fault::unable)
    }

    /// Starts it again, on the same port and with what it has kept.
    pub async fn start_again(&mut self) -> Result<(), Fault> {
        self.child = spawn(self.port, &self.folder)?;
        self.answers().await
    }

    async fn answers(&self) -> Result<(), Fault> {
        let until = Instant::now() + START;
        while self.ask(&["PING"]).await? != "PONG" {
            if Instant::now() > until {
                return Err(Fault::unable("redis-server does not answer"));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

fn spawn(port: u16, folder: &TempDir) -> Result<Child, Fault> {
    let mut server = Command::new("redis-server");
    server
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
        .arg("--dir")
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    server.spawn().map_err(missing)
}

fn missing(error: std::io::Error) -> Fault {
    Fault::new(
        "no-redis",
        "redis-server 7 and redis-cli (Debian: apt-get install redis-server)",
        error,
    )
}
