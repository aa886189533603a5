//! This program again, as a process that may be killed or panic.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;
use std::{env, thread};

use anyhow::{Context, Result};

/// More lines than any worker says before somebody reads them.
const LINES: usize = 1 << 20;

pub struct Worker {
    child: Child,
    pub lines: Receiver<String>,
}

impl Worker {
    pub fn start(args: &[&str]) -> Result<Worker> {
        let mut child = Command::new(env::current_exe()?)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = BufReader::new(child.stdout.take().context("its output")?).lines();
        let (to, lines) = sync_channel(LINES);
        thread::spawn(move || {
            let out: Lines<BufReader<ChildStdout>> = out;
            for line in out.map_while(Result::ok) {
                if to.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Worker { child, lines })
    }

    /// With SIGKILL; then what it had still said.
    pub fn kill(mut self) -> Result<Vec<String>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.lines.iter().collect())
    }

    /// Its lines and whether it ended well; nothing if it had to be ended.
    pub fn end(mut self, deadline: Duration) -> Result<Option<(Vec<String>, bool)>> {
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline) {
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Some((said, self.child.wait()?.success())));
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.child.kill()?;
                    self.child.wait()?;
                    return Ok(None);
                }
            }
        }
    }
}
