//! Proxies before a program, with the configurations of `examples/boxes`.

use std::env::consts::ARCH;
use std::fs::{self, File};
use std::os::unix::{fs::FileExt, process::CommandExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::UNIX_EPOCH;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use crate::binaries::root;
use crate::wait::until;

/// A proxy that runs. Dropping it ends it.
pub struct Middlebox {
    process: Child,
    /// Its words on stderr, which a failing test prints.
    said: File,
    name: &'static str,
    /// As in `http://127.0.0.1:40123`.
    pub url: String,
    /// Its working folder, in which it keeps all that it writes.
    pub folder: TempDir,
    configuration: PathBuf,
}

/// A proxy's program, the ending of its configuration's name, and how it is started.
struct Kind {
    name: &'static str,
    program: &'static str,
    ending: &'static str,
    arguments: fn(&Path, &str) -> Vec<String>,
    /// The arguments that make it read a configuration and start nothing, if it has any.
    check: &'static [&'static str],
    /// How many files its service may have open at first (`LimitNOFILE`, or systemd's own).
    files: &'static str,
    version: &'static str,
    reload: Reload,
}

/// How an administrator makes a proxy read its configuration again.
enum Reload {
    Signal(Signal),
    /// Commands of these programs, one after the other, with the configuration's file.
    Commands(&'static str, fn(&Path) -> Vec<Vec<String>>),
}

const KINDS: [Kind; 8] = [
    Kind {
        name: "nginx",
        program: "sbin/nginx",
        ending: "conf",
        arguments: |file, _| {
            words(&["-p", &folder(file), "-e", "stderr", "-c", &text(file)])
        },
        check: &["-p", ".", "-e", "stderr", "-t", "-c"],
        files: "1024",
        version: "-v",
        reload: Reload::Signal(Signal::SIGHUP),
    },
    Kind {
        name: "haproxy",
        program: "sbin/haproxy",
        ending: "cfg",
        arguments: |file, _| words(&["-W", "-f", &text(file)]),
        check: &["-c", "-f"],
        files: "1024",
        version: "-v",
        reload: Reload::Signal(Signal::SIGUSR2),
    },
    Kind {
        name: "caddy",
        program: "bin/caddy",
        ending: "caddyfile",
        arguments: |file, _| {
            words(&["run", "--adapter", "caddyfile", "--config", &text(file)])
        },
        check: &["validate", "--adapter", "caddyfile", "--config"],
        files: "$(ulimit -Hn)",
        version: "version",
        reload: Reload::Commands("bin/caddy", |file| {
            let adapter =
                ["reload", "--force", "--adapter", "caddyfile", "--config"];
            vec![[words(&adapter), vec![text(file)]].concat()]
        }),
    },
    Kind {
        name: "varnish",
        program: "sbin/varnishd",
        ending: "vcl",
        arguments: |file, addr| {
            let working = format!("{}/varnish", folder(file));
            words(&[
                "-F",
                "-j",
                "none",
                "-n",
                &working,
                "-a",
                addr,
                "-f",
                &text(file),
            ])
        },
        check: &["-C", "-f"],
        files: "$(ulimit -Hn)",
        version: "-V",
        reload: Reload::Commands("bin/varnishadm", |file| {
            let working = format!("{}/varnish", folder(file));
            let name = format!("at{}", UNIX_EPOCH.elapsed().unwrap().as_micros());
            let load = words(&["-n", &working, "vcl.load", &name, &text(file)]);
            vec![load, words(&["-n", &working, "vcl.use", &name])]
        }),
    },
    Kind {
        name: "apache",
        program: "sbin/apache2",
        ending: "conf",
        arguments: |file, _| {
            words(&["-D", "FOREGROUND", "-d", &folder(file), "-f", &text(file)])
        },
        check: &["-d", ".", "-t", "-f"],
        files: "1024",
        version: "-v",
        reload: Reload::Signal(Signal::SIGUSR1),
    },
    Kind {
        name: "lighttpd",
        program: "sbin/lighttpd",
        ending: "conf",
        arguments: |file, _| {
            let modules = installed("lib/lighttpd").unwrap();
            words(&["-D", "-m", &text(&modules), "-f", &text(file)])
        },
        check: &["-tt", "-f"],
        files: "1024",
        version: "-v",
        reload: Reload::Signal(Signal::SIGUSR1),
    },
    Kind {
        name: "h2o",
        program: "bin/h2o",
        ending: "conf",
        arguments: |file, _| words(&["-m", "master", "-c", &text(file)]),
        check: &["-t", "-c"],
        files: "$(ulimit -Hn)",
        version: "-v",
        reload: Reload::Signal(Signal::SIGHUP),
    },
    Kind {
        name: "nghttpx",
        program: "sbin/nghttpx",
        ending: "conf",
        arguments: |file, _| words(&[&format!("--conf={}", text(file))]),
        check: &[],
        files: "1024",
        version: "-v",
        reload: Reload::Signal(Signal::SIGHUP),
    },
];

impl Middlebox {
    /// The names of all, as in `examples/boxes/NAME/`.
    pub const ALL: [&str; 8] = [
        "nginx", "haproxy", "caddy", "varnish", "apache", "lighttpd", "h2o",
        "nghttpx",
    ];

    /// Starts the proxy NAME with `examples/boxes/NAME/CONFIGURATION` before a server, as
    /// in `http://127.0.0.1:40122`. The configuration stays as it stands, but for the
    /// ports 8698 (the server) and 8690 (the proxy), and for its folder, `/tmp/boxes`.
    pub async fn start(name: &str, configuration: &str, server: &str) -> Self {
        Self::start_changed(name, configuration, server, |text| text).await
    }

    /// The same, with a change of the configuration's text.
    pub async fn start_changed(
        name: &str,
        configuration: &str,
        server: &str,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let kind = kind(name);
        let text = kind.text(configuration);
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin_port = admin.local_addr().unwrap().port();
        drop((free, admin));
        let server_port = server.rsplit(':').next().expect("a port");
        let folder = tempfile::tempdir().unwrap();
        // Marks first: a port may have another one's digits in it.
        let text = change(text)
            .replace("8698", "@server")
            .replace("8690", "@box")
            .replace("2019", "@admin")
            .replace("@server", server_port)
            .replace("@box", &port.to_string())
            .replace("@admin", &admin_port.to_string())
            .replace("/tmp/boxes", folder.path().to_str().unwrap());
        let text = unpacked(text);
        let path = folder.path().join(format!("box.{}", kind.ending));
        fs::write(&path, text).unwrap();
        let addr = format!("127.0.0.1:{port}");
        let mut command = command(kind.program, kind.files);
        command.args((kind.arguments)(&path, &addr)).current_dir(folder.path());
        command.env("HOME", folder.path()).env("XDG_DATA_HOME", folder.path());
        command.env("XDG_CONFIG_HOME", folder.path());
        let said = tempfile::tempfile().unwrap();
        command.stdout(Stdio::null()).stderr(said.try_clone().unwrap());
        let process = command.process_group(0).spawn().expect(name);
        let url = format!("http://{addr}");
        let name = kind.name;
        let configuration = path;
        let middlebox = Self { process, said, name, url, folder, configuration };
        let listens = async || TcpStream::connect(&addr).await.is_ok();
        until(&format!("{name} listens"), listens).await;
        // Its worker listens before its first process takes signals.
        let takes_signals = || middlebox.stderr().contains("Loading success");
        if name == "haproxy" {
            until("haproxy is ready", async || takes_signals()).await;
        }
        middlebox
    }

    /// The words of the proxy about a configuration, if it can read one without starting: whether
    /// it takes it, and its words on stderr.
    pub fn check(
        name: &str,
        configuration: &str,
        change: impl FnOnce(String) -> String,
    ) -> Option<(bool, String)> {
        let kind = kind(name);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("box.{}", kind.ending));
        fs::write(&path, unpacked(change(kind.text(configuration)))).unwrap();
        let mut command = command(kind.program, kind.files);
        command.args(kind.check).arg(&path).current_dir(folder.path());
        command.env("HOME", folder.path());
        if kind.name == "lighttpd" {
            command.arg("-m").arg(installed("lib/lighttpd").unwrap());
        }
        (!kind.check.is_empty()).then(|| {
            let output = command.output().expect(name);
            let mut said = String::from_utf8(output.stderr).unwrap();
            if kind.name == "varnish" && output.status.success() {
                said.clear(); // the whole of it in C
            }
            (output.status.success(), said)
        })
    }

    /// The text of `examples/boxes/NAME/CONFIGURATION.*`.
    pub fn text(name: &str, configuration: &str) -> String {
        kind(name).text(configuration)
    }

    /// Whether this machine has the proxy: on its own, or unpacked by `tests/boxes/install`.
    pub fn is_installed(name: &str) -> bool {
        installed(kind(name).program).is_some()
    }

    /// The first line that the proxy says about its version.
    pub fn version(name: &str) -> String {
        let kind = kind(name);
        let output = command(kind.program, kind.files)
            .arg(kind.version)
            .output()
            .expect(name);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        said.lines().next().unwrap_or_default().to_string()
    }

    /// All that it has written to stderr so far.
    pub fn stderr(&self) -> String {
        let mut bytes = vec![0; self.said.metadata().unwrap().len() as usize];
        self.said.read_exact_at(&mut bytes, 0).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Makes the proxy read its configuration again.
    pub fn reload(&self) {
        let (program, commands) = match &kind(self.name).reload {
            Reload::Signal(signal) => return kill(self.id(), *signal).unwrap(),
            Reload::Commands(program, commands) => (program, commands),
        };
        for arguments in commands(&self.configuration) {
            let output = command(program, "1024").args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }

    /// The id of the process that was started; others may be its children.
    pub fn id(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    /// The name of the proxy.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl Kind {
    fn text(&self, configuration: &str) -> String {
        let Self { name, ending, .. } = self;
        let file = format!("examples/boxes/{name}/{configuration}.{ending}");
        fs::read_to_string(root().join(&file)).expect(&file)
    }
}

impl Drop for Middlebox {
    fn drop(&mut self) {
        // All of its processes, and at once: several wait for open streams otherwise.
        let _ = killpg(self.id(), Signal::SIGKILL);
        drop(self.process.wait());
        if thread::panicking() {
            eprintln!(
                "--- what {} wrote to stderr:\n{}---",
                self.name,
                self.stderr()
            );
        }
    }
}

fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == name).expect("a proxy of examples/boxes")
}

/// A path below `/usr`, of the machine or of what was unpacked.
fn installed(path: &str) -> Option<PathBuf> {
    let unpacked = root().join("target/boxes/usr").join(path);
    [unpacked, Path::new("/usr").join(path)].into_iter().find(|path| path.exists())
}

/// A program below `/usr`, with so many open files.
fn command(program: &str, files: &str) -> Command {
    let path = installed(program);
    let path = path
        .unwrap_or_else(|| panic!("{program} is not there: tests/boxes/install"));
    let mut command = Command::new("sh");
    let limited = format!("ulimit -Sn {files} && exec \"$0\" \"$@\"");
    command.args(["-c", &limited]).arg(&path);
    let libraries = root().join(format!("target/boxes/usr/lib/{ARCH}-linux-gnu"));
    let varnish = libraries.join("varnish");
    command
        .env("LD_LIBRARY_PATH", format!("{}:{}", text(&libraries), text(&varnish)))
        .env("H2O_ROOT", path.parent().and_then(Path::parent).expect("below /usr"));
    command
}

/// The modules of a proxy lie where it was unpacked.
fn unpacked(text: String) -> String {
    let Some(modules) = installed("lib/apache2/modules") else { return text };
    text.replace("/usr/lib/apache2/modules", modules.to_str().unwrap())
}

fn folder(file: &Path) -> String {
    text(file.parent().expect("a folder"))
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_string()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}
