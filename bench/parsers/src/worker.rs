//! Parsers at work in a process of their own, because one that hangs or takes all memory
//! cannot be stopped otherwise.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use anyhow::{Context, Result};

pub struct Worker {
    child: Child,
    /// Its answers, a line each. They end when it does.
    pub lines: Receiver<String>,
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
            let mut lines = stdout.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        Ok(Self { child, lines })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
