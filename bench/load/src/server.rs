//! The servers: how they are built, started, and what the kernel says about them.

use std::fs::File;
use std::io::{Read, Seek};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use procfs::ProcError;
use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, copy, sink};
use tokio::process::{Child, ChildStdout};
use tokio::time::{sleep, timeout};

/// A program that is measured.
#[derive(Debug)]
pub struct Program {
    pub home: Home,
    pub name: &'static str,
    /// The crate whose version the table shows.
    pub made_with: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub enum Home {
    /// It is a package of this workspace.
    Bench,
    /// It is an example of the book.
    Book,
}

impl Program {
    fn workspace(&self) -> PathBuf {
        match self.home {
            Home::Bench => record::root().join("bench"),
            Home::Book => record::root(),
        }
    }

    /// The framework and its version, from the lock file that it is built with.
    pub fn framework(&self) -> Result<String> {
        let version = record::version(&self.workspace(), self.made_with)?;
        Ok(format!("{} {version}", self.made_with))
    }

    /// Builds it by itself, so that it has its own features and nobody else's. It is
    /// optimised if this tool is: the tests only ask whether all this works.
    pub fn build(&self) -> Result<Binary> {
        eprintln!("building {}", self.name);
        let workspace = self.workspace();
        let target = workspace.join("target");
        let (profile, folder) = match cfg!(debug_assertions) {
            true => ("dev", "debug"),
            false => ("release", "release"),
        };
        let (kind, folder) = match self.home {
            Home::Bench => ("--bin", target.join(folder)),
            Home::Book => ("--example", target.join(folder).join("examples")),
        };
        // The stand-in stands beside the program that asks it.
        let package = if self.name == "model" { "llm" } else { self.name };
        let status = Command::new("cargo")
            .args(["build", "--profile", profile, "-p", package, kind, self.name])
            .arg("--manifest-path")
            .arg(workspace.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "cargo cannot build {}", self.name);
        Ok(Binary(folder.join(self.name)))
    }
}

/// A server that is built.
pub struct Binary(pub PathBuf);

/// A server that runs. Dropping it ends the process.
pub struct Running {
    pub addr: SocketAddr,
    pub pid: u32,
    child: Child,
    stderr: File,
}

impl Binary {
    /// Starts it on these CPUs, as taskset names them, and with these variables in its
    /// environment.
    pub async fn start(
        &self,
        cpus: &str,
        variables: &[(&str, &str)],
    ) -> Result<Running> {
        let mut command = tokio::process::Command::new("taskset");
        command
            .args(["-c", cpus])
            .arg(&self.0)
            .env("ADDR", "127.0.0.1:0")
            .env("TOKIO_WORKER_THREADS", "1")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped());
        let mut running = Running::new(command, ([0; 4], 0).into())
            .context("taskset is in util-linux on Debian and Fedora")?;
        let stdout = running.child.stdout.take().context("no stdout")?;
        let mut stdout = BufReader::new(stdout);
        running.addr = running.during(address(&mut stdout)).await?;
        // A server that prints to a closed pipe would die of it.
        tokio::spawn(async move { copy(&mut stdout, &mut sink()).await });
        Ok(running)
    }
}

async fn address(stdout: &mut BufReader<ChildStdout>) -> Result<SocketAddr> {
    let mut line = String::new();
    let first = timeout(Duration::from_secs(10), stdout.read_line(&mut line)).await;
    first.context("it said nothing for 10 s")??;
    let addr = line.trim().strip_prefix("listening on http://");
    addr.and_then(|addr| addr.parse().ok())
        .with_context(|| format!("its first line is {line:?}, no `listening on`"))
}

impl Running {
    /// Starts a server at this address.
    pub fn new(
        mut command: tokio::process::Command,
        addr: SocketAddr,
    ) -> Result<Self> {
        let stderr = tempfile::tempfile()?;
        command.stdin(Stdio::null()).stderr(stderr.try_clone()?).kill_on_drop(true);
        let child = command.spawn().context("cannot start a server")?;
        let pid = child.id().context("the server has no process id")?;
        Ok(Self { addr, pid, child, stderr })
    }

    /// Does work on this server. If the server ends before, that is an error; and every
    /// error says what the server had to say.
    pub async fn during<T>(
        &mut self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let result = tokio::select! {
            result = work => result,
            _ = self.child.wait() => Err(anyhow!("there was still work to do")),
        };
        match result {
            Ok(value) => Ok(value),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Asks it to end, and returns how long that took.
    pub async fn stop(&mut self) -> Result<Duration> {
        let pid = Pid::from_raw(self.pid as i32).context("no process id")?;
        kill_process(pid, Signal::TERM)?;
        let start = Instant::now();
        let end = timeout(Duration::from_secs(30), self.child.wait()).await;
        let status = end.context("it has not ended for 30 s")??;
        let took = start.elapsed();
        if status.success() {
            return Ok(took);
        }
        Err(self.explain(anyhow!("a bad end")).await)
    }

    /// The lines that it has said of panics so far.
    pub fn panics(&mut self) -> Result<Vec<String>> {
        self.stderr.rewind()?;
        let lines =
            std::io::BufRead::split(std::io::BufReader::new(&self.stderr), b'\n');
        let mut panics = Vec::new();
        for line in lines {
            let line = String::from_utf8_lossy(&line?).into_owned();
            if line.contains("panicked") {
                panics.push(line);
            }
        }
        Ok(panics)
    }

    /// The error, and what became of the server, and what it had to say.
    async fn explain(&mut self, mut error: anyhow::Error) -> anyhow::Error {
        // Its sockets close a moment before a dying process is gone.
        let end = timeout(Duration::from_millis(500), self.child.wait()).await;
        if let Ok(Ok(status)) = end {
            error = error.context(format!("the server ended with {status}"));
        }
        let mut stderr = Vec::new();
        let read =
            self.stderr.rewind().and_then(|()| self.stderr.read_to_end(&mut stderr));
        let last = stderr.len().saturating_sub(4096);
        let said = String::from_utf8_lossy(&stderr[last..]);
        match read {
            Ok(0) | Err(_) => error,
            Ok(_) => error.context(format!("the server's stderr:\n{said}")),
        }
    }
}

/// Time on a CPU so far, over all threads of these processes.
pub fn cpu(pids: &[u32]) -> Result<Duration> {
    let mut sum = 0;
    for pid in pids {
        for task in Process::new(*pid as i32)?.tasks()? {
            match task.and_then(|task| task.schedstat()) {
                Ok(times) => sum += times.sum_exec_runtime,
                // A thread that ended since: a blocking one, with nothing to do for long.
                Err(ProcError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(Duration::from_nanos(sum))
}

/// In µs, what each of so many things took of a CPU since `before`.
pub fn cpu_us(pids: &[u32], before: Duration, things: usize) -> Result<f64> {
    let time = cpu(pids)?.checked_sub(before);
    let time = time.context("a thread ended, and its CPU time is gone")?;
    Ok(time.as_secs_f64() * 1e6 / things as f64)
}

/// Resident memory in KiB.
pub fn rss(pid: u32) -> Result<u64> {
    Process::new(pid as i32)?.status()?.vmrss.context("no VmRSS in /proc/PID/status")
}

/// How many files and sockets it has open.
pub fn files(pid: u32) -> Result<usize> {
    Ok(Process::new(pid as i32)?.fd_count()?)
}

/// Waits until these servers have nothing to do (at most 1 % of a core), so that what they
/// still had to do is not counted for what follows.
pub async fn settle(pids: &[u32]) -> Result<()> {
    const STEP: Duration = Duration::from_millis(100);
    let mut before = cpu(pids)?;
    for _ in 0..100 {
        sleep(STEP).await;
        let now = cpu(pids)?;
        if now.saturating_sub(before) < STEP / 100 {
            return Ok(());
        }
        before = now;
    }
    bail!("a server is still busy 10 s after the last request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_some_cpu_and_memory() {
        let pid = std::process::id();
        assert!(cpu(&[pid]).unwrap() > Duration::ZERO);
        assert!(rss(pid).unwrap() > 100);
    }
}
