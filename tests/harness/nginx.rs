//! nginx before a program.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use crate::wait::until;

/// An nginx that runs. Dropping it ends it.
pub struct Nginx {
    process: Child,
    /// As in `http://127.0.0.1:40123`.
    pub url: String,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it with the configuration that is made for its own address, and returns when
    /// it accepts connections.
    pub async fn start(configuration: impl FnOnce(&str) -> String) -> Self {
        Self::start_with(configuration, |_| ()).await
    }

    /// The same, with more files in its folder.
    pub async fn start_with(
        configuration: impl FnOnce(&str) -> String,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = free.local_addr().unwrap().to_string();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("nginx.conf"), configuration(&addr)).unwrap();
        prepare(folder.path());
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(folder.path());
        nginx.args(["-e", "stderr", "-c", "nginx.conf"]);
        let process = nginx.spawn().expect("`nginx` is installed");
        let url = format!("http://{addr}");
        let listens = async || TcpStream::connect(&addr).await.is_ok();
        until("nginx listens", listens).await;
        Self { process, url, _folder: folder }
    }

    /// Starts it before one server, with these lines for its requests.
    pub async fn before(server: &str, lines: &str) -> Self {
        let configuration = |addr: &str| {
            format!(
                "daemon off; pid nginx.pid; events {{}}
                http {{
                    access_log off;
                    server {{
                        listen {addr};
                        location / {{ proxy_pass {server}; {lines} }}
                    }}
                }}"
            )
        };
        Self::start(configuration).await
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // If it were killed, it could not end its worker.
        let _ = kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM);
        drop(self.process.wait());
    }
}
