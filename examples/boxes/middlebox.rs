//! A box before a server, where this machine has its program.

use std::env::{self, consts::ARCH};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Duration, sleep, timeout};

use super::kinds::{Kind, Wish};

/// How long a box may take to listen. Varnish compiles its configuration first.
const START: Duration = Duration::from_secs(10);
/// The pause between two looks at whether it listens.
const LOOK: Duration = Duration::from_millis(10);

/// A box that runs. Dropping it ends it.
pub struct Middlebox {
    process: Child,
    _folder: TempDir,
    pub addr: String,
}

impl Middlebox {
    /// Ends the box, and waits until it is gone: its folder goes with it.
    pub async fn end(mut self) {
        drop(self.process.stdin.take());
        timeout(START, self.process.wait()).await.ok();
    }
}

/// The place where boxes are looked for.
#[derive(Clone, Default)]
pub struct Place {
    /// A folder into which Debian's packages were unpacked, besides the machine's own; if
    /// its name is empty, no box is there.
    pub unpacked: Option<PathBuf>,
}

impl Place {
    /// The program of a box, if this machine has it. There is no shell to start it with on
    /// Windows.
    pub fn find(&self, kind: &Kind) -> Option<PathBuf> {
        let no_folder = Path::new("");
        if !cfg!(unix) || self.unpacked.as_deref() == Some(no_folder) {
            return None;
        }
        let unpacked = self.unpacked.iter().flat_map(|folder| {
            ["usr/sbin", "usr/bin"].map(|below| folder.join(below))
        });
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = unpacked
            .chain(env::split_paths(&path).collect::<Vec<_>>())
            // Not every user's PATH has the programs of the system.
            .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
        folders.map(|folder| folder.join(kind.program)).find(|path| path.is_file())
    }

    /// The first line that a box says about its version.
    pub async fn version(&self, kind: &Kind) -> Option<String> {
        let output = self.command(&self.find(kind)?).arg(kind.version).output();
        let output = timeout(START, output).await.ok()?.ok()?;
        let said = [output.stdout, output.stderr].concat();
        Some(String::from_utf8_lossy(&said).lines().next()?.to_string())
    }

    /// Starts a box before the server on this port.
    pub async fn start(
        &self,
        kind: &Kind,
        wish: &Wish,
        server: u16,
    ) -> Result<Middlebox, String> {
        let program = self.find(kind).ok_or("it is not installed")?;
        let failed = |why: io::Error| why.to_string();
        let folder = tempfile::tempdir().map_err(failed)?;
        let (port, admin) = free_ports().await.map_err(failed)?;
        let text = kind.configuration(wish, server, port, admin);
        let text =
            self.with_modules(text).replace("/tmp/boxes", &show(folder.path()));
        let path = folder.path().join("configuration");
        fs::write(&path, text).map_err(failed)?;
        let addr = format!("127.0.0.1:{port}");
        // The shell ends the box and all of its processes when this program does, however
        // it ends: then nobody holds the other end of its input any more.
        let mut command = self.command(Path::new("sh"));
        command.args(["-c", "(\"$@\"; kill -9 0) & read _; kill -9 0", "sh"]);
        let short = if wish.is_silent { kind.short } else { &[] };
        let arguments = kind.arguments.iter().chain(short);
        command.arg(program).args(arguments.map(|argument| {
            argument
                .replace("FILE", &show(&path))
                .replace("FOLDER", &show(folder.path()))
                .replace("MODULES", &show(&self.modules("lighttpd")))
                .replace("ADDR", &addr)
        }));
        #[cfg(unix)]
        command.process_group(0);
        command.current_dir(folder.path()).stdin(Stdio::piped());
        let said = folder.path().join("said");
        command.stdout(Stdio::null());
        command.stderr(File::create(&said).map_err(failed)?);
        for name in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(name, folder.path());
        }
        let mut process = command.spawn().map_err(failed)?;
        let listens = async {
            loop {
                if TcpStream::connect(&addr).await.is_ok() {
                    return true;
                }
                if !matches!(process.try_wait(), Ok(None)) {
                    return false;
                }
                sleep(LOOK).await;
            }
        };
        if timeout(START, listens).await == Ok(true) {
            return Ok(Middlebox { process, _folder: folder, addr });
        }
        let text = fs::read_to_string(said).unwrap_or_default();
        Err(text.lines().last().unwrap_or("it does not listen").to_string())
    }

    /// A command that finds the libraries beside a program that was unpacked.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(folder) = &self.unpacked {
            let libraries = folder.join(format!("usr/lib/{ARCH}-linux-gnu"));
            let varnish = libraries.join("varnish");
            command.env(
                "LD_LIBRARY_PATH",
                format!("{}:{}", show(&libraries), show(&varnish)),
            );
        }
        command
    }

    /// The modules of a box that was unpacked lie there.
    fn with_modules(&self, text: String) -> String {
        text.replace(
            "/usr/lib/apache2/modules",
            &show(&self.modules("apache2/modules")),
        )
    }

    fn modules(&self, of: &str) -> PathBuf {
        let below = Path::new("usr/lib").join(of);
        let unpacked = self.unpacked.as_ref().map(|folder| folder.join(&below));
        let unpacked = unpacked.filter(|path| path.exists());
        unpacked.unwrap_or_else(|| Path::new("/").join(below))
    }
}

/// Two ports that nobody listens on.
async fn free_ports() -> io::Result<(u16, u16)> {
    let first = TcpListener::bind("127.0.0.1:0").await?;
    let second = TcpListener::bind("127.0.0.1:0").await?;
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
