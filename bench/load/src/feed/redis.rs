//! A Redis of its own, in a folder of its own, and what it can do without a feed.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::time::sleep;

use super::client::data;
use crate::server::Running;

/// How many entries the feed asks for at a time.
const PAGE: &str = "256";
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
            if self.connect().and_then(|mut raw| raw.ask(&["PING"])).is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!("redis-server does not answer at {}", self.0)
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.0)
    }

    pub fn connect(&self) -> Result<Raw> {
        let stream = TcpStream::connect(self.0)?;
        stream.set_nodelay(true)?;
        Ok(Raw(BufReader::with_capacity(64 << 10, stream)))
    }

    /// Adds entries by 64 connections. Returns how many in a second.
    pub fn benchmark(&self, entries: usize) -> Result<f64> {
        let output = Command::new("redis-benchmark")
            .args(["-p", &self.0.port().to_string(), "-c", "64", "--csv"])
            .args(["-n", &entries.to_string()])
            .args(["XADD", "floor", "MAXLEN", "~", KEEP, "*", "type", "note"])
            .args(["data", &data(0, Duration::from_secs(1))])
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

pub struct Raw(BufReader<TcpStream>);

#[derive(Debug, PartialEq)]
enum Reply {
    Text(Vec<u8>),
    Array(Vec<Reply>),
}

impl Raw {
    /// Adds entries one by one, and returns how long each takes.
    pub fn add(&mut self, entries: usize, pause: Duration) -> Result<Vec<Duration>> {
        let mut times = Vec::new();
        for number in 0..entries {
            let data = data(number, Duration::from_secs(1));
            let start = Instant::now();
            self.ask(&[
                "XADD", "floor", "MAXLEN", "~", KEEP, "*", "type", "note", "data",
                &data,
            ])?;
            times.push(start.elapsed());
            std::thread::sleep(pause);
        }
        Ok(times)
    }

    /// Reads entries from the start of the feed, in pages. Returns how many in a second.
    pub fn read(&mut self, entries: usize) -> Result<f64> {
        let start = Instant::now();
        let mut from = "-".to_string();
        let mut read = 0;
        while read < entries {
            let page =
                self.ask(&["XRANGE", "{feed}:events", &from, "+", "COUNT", PAGE])?;
            let Reply::Array(page) = page else { bail!("XRANGE replies {page:?}") };
            let Some(Reply::Array(last)) = page.last() else {
                bail!("{read} of {entries} entries are there")
            };
            let Some(Reply::Text(id)) = last.first() else { bail!("{last:?}") };
            from = format!("({}", str::from_utf8(id)?);
            read += page.len();
        }
        Ok(read as f64 / start.elapsed().as_secs_f64())
    }

    fn ask(&mut self, words: &[&str]) -> Result<Reply> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.0.get_mut().write_all(command.as_bytes())?;
        reply(&mut self.0)
    }
}

fn reply(stream: &mut impl BufRead) -> Result<Reply> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    ensure!(line.ends_with(b"\r\n"), "Redis has closed the connection");
    let line = str::from_utf8(&line)?.trim_end();
    let (kind, rest) = line.split_at_checked(1).context("an empty reply")?;
    Ok(match kind {
        "$" => {
            let mut text = vec![0; rest.parse::<usize>()? + 2];
            stream.read_exact(&mut text)?;
            text.truncate(text.len() - 2);
            Reply::Text(text)
        }
        "*" => {
            let length = rest.parse::<usize>()?;
            Reply::Array((0..length).map(|_| reply(stream)).collect::<Result<_>>()?)
        }
        "+" | ":" => Reply::Text(rest.into()),
        _ => bail!("Redis says {line:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_to_its_end() {
        let mut stream: &[u8] =
            b"*2\r\n$3\r\n1-0\r\n*2\r\n$4\r\ndata\r\n$2\r\n\r\n\r\n+PONG\r\n-ERR no\r\n";
        let text = |text: &str| Reply::Text(text.into());
        let fields = Reply::Array(vec![text("data"), text("\r\n")]);
        let entry = Reply::Array(vec![text("1-0"), fields]);
        assert_eq!(reply(&mut stream).unwrap(), entry);
        assert_eq!(reply(&mut stream).unwrap(), text("PONG"));
        assert!(reply(&mut stream).is_err());
        assert!(reply(&mut stream).is_err(), "closed");
    }

    #[test]
    fn the_rate_stands_in_the_last_line() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\"\n\
                   \"XADD floor MAXLEN ~ 1 * data a,b\",\"21141.65\",\"2.9\"\n";
        assert_eq!(rate(csv), Some(21_141.65));
        assert_eq!(rate(""), None);
    }
}
