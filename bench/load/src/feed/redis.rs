//! A Redis of its own, in a folder of its own, and what it can do without a feed.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::{Client, Connection, RedisResult, cmd};
use tokio::time::sleep;

use super::client::data;
use super::floor::timed;
use crate::server::Running;

/// How many entries the feed asks for at a time.
const PAGE: usize = 256;
/// How many entries a stream has at most, as the feed says it by default.
const KEEP: &str = "1000000";

/// Its version; `None` if it is not installed.
pub fn version() -> Result<Option<String>> {
    match Command::new("redis-server").arg("--version").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        output => {
            let output = String::from_utf8(output?.stdout)?;
            let version = output.split(" v=").nth(1);
            let version = version.and_then(|rest| rest.split(' ').next());
            Ok(Some(version.context("redis-server --version says none")?.into()))
        }
    }
}

/// The Redis at this address.
pub struct Redis(SocketAddr);

impl Redis {
    pub async fn start(dir: &Path, fsync: &str) -> Result<(Running, Self)> {
        // Redis cannot say which free port it has: so it is given one that was.
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = tokio::process::Command::new("redis-server");
        command
            .args(["--port", &addr.port().to_string(), "--bind", "127.0.0.1"])
            .args(["--appendonly", "yes", "--appendfsync", fsync, "--save", ""])
            .args(["--logfile", "/dev/stderr", "--dir"])
            .arg(dir);
        let mut running = Running::new(command, addr)?;
        let redis = Self(addr);
        running.during(redis.answers()).await?;
        Ok((running, redis))
    }

    async fn answers(&self) -> Result<()> {
        for _ in 0..100 {
            if self
                .connect()
                .and_then(|mut redis| cmd("PING").exec(&mut redis))
                .is_ok()
            {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!("redis-server does not answer at {}", self.0)
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.0)
    }

    fn connect(&self) -> RedisResult<Connection> {
        Client::open(self.url())?.get_connection()
    }

    /// Adds entries one by one. Returns how many ms each takes.
    pub fn add(&self, entries: usize, pause: Duration) -> Result<Vec<f64>> {
        let mut connection = self.connect()?;
        let mut add = cmd("XADD");
        add.arg(&["floor", "MAXLEN", "~", KEEP, "*", "type", "note", "data"])
            .arg(data(0, Duration::from_secs(1)));
        timed(entries, pause, || Ok(add.exec(&mut connection)?))
    }

    /// Adds entries by so many connections. Returns how many in a second.
    pub fn write(&self, entries: usize, connections: usize) -> Result<f64> {
        let data = data(0, Duration::from_secs(1));
        let add = [
            "XADD", "floor", "MAXLEN", "~", KEEP, "*", "type", "note", "data", &data,
        ];
        self.benchmark(entries, connections, &add)
    }

    /// Reads as many entries as the feed has, in pages, by one connection: the first page
    /// each time. Returns how many in a second.
    pub fn read(&self, entries: usize) -> Result<f64> {
        let page = PAGE.to_string();
        let range = ["XRANGE", "{feed}:events", "-", "+", "COUNT", &page];
        Ok(self.benchmark(entries.div_ceil(PAGE), 1, &range)? * PAGE as f64)
    }

    /// Asks this so often. Returns how often in a second.
    fn benchmark(
        &self,
        times: usize,
        connections: usize,
        command: &[&str],
    ) -> Result<f64> {
        let output = Command::new("redis-benchmark")
            .args(["-p", &self.0.port().to_string(), "--csv"])
            .args(["-n", &times.to_string(), "-c", &connections.to_string()])
            .args(command)
            .output()
            .context("cannot run redis-benchmark (in Debian's redis-tools)")?;
        let output = String::from_utf8(output.stdout)?;
        rate(&output).with_context(|| format!("redis-benchmark said {output:?}"))
    }
}

/// The second cell of the last line.
fn rate(csv: &str) -> Option<f64> {
    // The command is the first cell, and may have a comma, but no `","`.
    csv.lines().last()?.split("\",\"").nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_stands_in_the_last_line() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\"\n\
                   \"XADD floor MAXLEN ~ 1 * data a,b\",\"21141.65\",\"2.9\"\n";
        assert_eq!(rate(csv), Some(21_141.65));
        assert_eq!(rate(""), None);
    }
}
