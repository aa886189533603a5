//! The programs of this repository: they are built, and started with a clean environment.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

#[cfg(unix)]
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The variables that an example gets from the tests' own environment. A program's own
/// variables are not among them, so that a developer who has set `REDIS_URL` or `ADDR`
/// sees the same results as everybody else.
const INHERITED: [&str; 4] = [
    "PATH",
    "HOME",
    "TMPDIR", // macOS names a folder for temporary files for each user
    "RUST_BACKTRACE",
];

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// How a process ended by itself.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Builds a program, and returns its path. Cargo does nothing where nothing changed, and
/// has built the program already where a test is one of its own package.
pub(crate) fn binary(package: &str, kind: &str, name: &str) -> PathBuf {
    if let Some(built) = env::var_os(format!("CARGO_BIN_EXE_{name}")) {
        return built.into();
    }
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap();
    let built = built.get_or_insert_default();
    let build = || {
        let cargo = escargot::CargoBuild::new()
            .manifest_path(root().join("Cargo.toml"))
            .package(package);
        let cargo =
            if kind == "example" { cargo.example(name) } else { cargo.bin(name) };
        cargo.run().expect("the program builds").path().to_path_buf()
    };
    built.entry(name.to_string()).or_insert_with(build).clone()
}

/// The command that starts an example, which is built by now. `model` is one of the package
/// `llm`.
pub fn example(name: &str) -> Command {
    let package = if name == "model" { "llm" } else { name };
    let mut command = Command::new(binary(package, "example", name));
    let inherited =
        INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?)));
    command.env_clear().envs(inherited);
    command
}

/// Runs an example to its end, with these variables in its environment.
pub fn run(name: &str, variables: &[(&str, &str)]) -> Ended {
    example(name).envs(variables.iter().copied()).output().unwrap().into()
}

/// Lets this process, and those that it starts from now on, have this many files open.
#[cfg(unix)]
pub fn allow_open_files(count: u64) {
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(most >= count, "`ulimit -Hn` is {most}, and this needs {count}");
    setrlimit(Resource::RLIMIT_NOFILE, now.max(count), most).unwrap();
}
