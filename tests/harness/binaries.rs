//! The programs of this repository: they are built, and started with a clean environment.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, OnceLock};

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

/// Programs that tests build with a feature and without it.
const IN_TWO_WAYS: [&str; 1] = ["boxes"];

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

/// Builds a program, and returns its path. Cargo does nothing where nothing changed. A test
/// of a program that is built does not wait for the build of another one.
///
/// A name such as `boxes+tls` asks for a feature of the program. Each build of a program takes
/// the place of the one before, so one that is built in two ways gets a second name.
pub(crate) fn binary(target: &str, name: &str) -> PathBuf {
    static ONE_BY_ONE: Mutex<()> = Mutex::new(());
    static BUILT: Mutex<BTreeMap<String, Arc<OnceLock<PathBuf>>>> =
        Mutex::new(BTreeMap::new());
    let built = Arc::clone(BUILT.lock().unwrap().entry(name.into()).or_default());
    let build = || {
        let cargo =
            escargot::CargoBuild::new().manifest_path(root().join("Cargo.toml"));
        let (name, feature) = name.split_once('+').unwrap_or((name, ""));
        let cargo = match target {
            "--bin" => cargo.bin(name),
            _ => cargo.example(name),
        };
        let cargo = match feature {
            "" => cargo,
            _ => cargo.features(format!("{name}/{feature}")),
        };
        // With the features of crates that `cargo test --workspace` has just built them
        // with, or else with those that `cargo run --example NAME` has.
        let cargo = match target {
            _ if cfg!(feature = "workspace") => cargo.arg("--workspace"),
            "--bin" => cargo.package("site"),
            _ => cargo,
        };
        if !IN_TWO_WAYS.contains(&name) {
            return cargo.run().expect("the program builds").path().to_path_buf();
        }
        let _alone = ONE_BY_ONE.lock().unwrap();
        let built = cargo.run().expect("the program builds").path().to_path_buf();
        let own = built.with_file_name(format!("{name}-as-tested-{feature}"));
        drop(fs::remove_file(&own)); // another process may run it, and keeps it
        fs::hard_link(&built, &own).unwrap();
        own
    };
    built.get_or_init(build).clone()
}

/// The command that starts an example, which is built by now.
pub fn example(name: &str) -> Command {
    let mut command = Command::new(binary("--example", name));
    let inherited =
        INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?)));
    command.env_clear().envs(inherited);
    command
}

/// Runs an example to its end, with these variables in its environment.
pub fn run(name: &str, variables: &[(&str, &str)]) -> Ended {
    example(name).envs(variables.iter().copied()).output().unwrap().into()
}

/// The command that starts an example that may have no more than this many files open.
#[cfg(unix)]
pub(crate) fn with_open_files(name: &str, count: usize) -> Command {
    let example = example(name);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {count} && exec \"$0\"")]);
    command.arg(example.get_program()).env_clear();
    let variables = example.get_envs();
    command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    command.env("ADDR", "127.0.0.1:0");
    command
}

/// Runs an example that may have no more than this many files open to its end.
#[cfg(unix)]
pub fn run_with_open_files(name: &str, count: usize) -> Ended {
    with_open_files(name, count).output().unwrap().into()
}

/// Lets this process, and those that it starts from now on, have this many files open.
#[cfg(unix)]
pub fn allow_open_files(count: u64) {
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(most >= count, "`ulimit -Hn` is {most}, and this needs {count}");
    setrlimit(Resource::RLIMIT_NOFILE, now.max(count), most).unwrap();
}
