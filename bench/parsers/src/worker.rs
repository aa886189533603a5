//! Parsers at work in a process of their own, because one that hangs or takes all memory
//! cannot be stopped otherwise.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

pub struct Worker {
    child: Child,
    lines: Receiver<String>,
}

/// The next answer of a worker.
pub enum Said {
    Line(String),
    /// It has said nothing for too long.
    Nothing,
    /// It has ended.
    End,
}

impl Worker {
    /// Starts this program with these arguments.
    pub fn start(args: &[&str]) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = BufReader::new(child.stdout.take().context("its stdout")?);
        let (sender, lines) = mpsc::sync_channel(64);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    pub fn next(&self, deadline: Duration) -> Said {
        match self.lines.recv_timeout(deadline) {
            Ok(line) => Said::Line(line),
            Err(RecvTimeoutError::Timeout) => Said::Nothing,
            Err(RecvTimeoutError::Disconnected) => Said::End,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
