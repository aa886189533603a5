//! A process with arguments, whose output is read while it runs.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

#[cfg(unix)]
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout};

use crate::binaries::{Ended, example};
use crate::wait::{until, within};

/// A process with arguments, whose output is read while it runs. Dropping it ends the
/// process. (A server of the book, which says where it listens, is a
/// [`Program`](crate::Program).)
pub struct Process {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Process {
    /// Starts an example with these arguments.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = example(name);
        command.args(arguments).stdout(Stdio::piped());
        Self::spawn(command)
    }

    /// Starts a command. Its stdout goes where the command says: it can be read here if it
    /// is piped.
    pub fn spawn(command: Command) -> Self {
        let mut command = tokio::process::Command::from(command);
        command.stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let stderr = Arc::<Mutex<Vec<u8>>>::default();
        let into = Arc::clone(&stderr);
        let mut pipe = child.stderr.take().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
                into.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout, stderr }
    }

    /// The next line on stdout, without its end.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().expect("stdout is piped and open");
        within("a line", stdout.read_line(&mut line)).await.unwrap();
        line.strip_suffix('\n').expect("a whole line").to_string()
    }

    /// Closes the reading end of its stdout, as a pager does that the user has left.
    pub fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// Sends it a signal, as `kill` does.
    #[cfg(unix)]
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it runs") as i32;
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Waits until it has ended by itself, and returns its exit code. Nobody reads its
    /// stdout meanwhile.
    pub async fn exit_code(&mut self) -> Option<i32> {
        within("the process ends", self.child.wait()).await.unwrap().code()
    }

    /// Reads all that it writes until it ends by itself.
    pub async fn ended(mut self) -> Ended {
        let mut stdout = String::new();
        if let Some(pipe) = &mut self.stdout {
            let read = pipe.read_to_string(&mut stdout);
            within("the end of stdout", read).await.unwrap();
        }
        let code = self.exit_code().await;
        // The task that reads stderr holds the other reference until it has read all.
        let is_read = || std::future::ready(Arc::strong_count(&self.stderr) == 1);
        until("the end of stderr", is_read).await;
        Ended { code, stdout, stderr: self.stderr() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- what the process wrote to stderr:\n{}---", self.stderr());
        }
    }
}

/// Collects the bytes of a pipe, so that the process never waits for a reader.
pub(crate) fn collect(
    mut pipe: impl Read + Send + 'static,
    into: Arc<Mutex<String>>,
) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            into.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
}
