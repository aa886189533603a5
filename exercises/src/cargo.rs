//! Compiling what a reader has written.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::process::Command;

use serde_json::Value;

use crate::fault::Fault;

/// Programs that Cargo has built, by the names of their packages.
pub type Built = BTreeMap<String, PathBuf>;

/// Builds the package in a folder, and returns its program.
pub async fn build(folder: &Path) -> Result<PathBuf, Fault> {
    let built = run(command(folder)).await?;
    let first = built.into_values().next();
    first.ok_or_else(|| Fault::new("compile", "", "Cargo has built no program"))
}

/// The command that builds the programs of a package or a workspace.
pub fn command(folder: &Path) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--bins", "--message-format=json"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // Cargo's words for the program that runs this are not for those that it builds.
    let own = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    for (name, _) in env::vars_os() {
        let is_own = |name: &str| own.iter().any(|own| name.starts_with(own));
        if name.to_str().is_some_and(is_own) {
            command.env_remove(name);
        }
    }
    command
}

/// Builds programs, or returns the first error of the compiler.
pub async fn run(mut command: Command) -> Result<Built, Fault> {
    let output = command.output().await.map_err(Fault::unable)?;
    let messages = messages(&output);
    if output.status.success() {
        return Ok(programs(&messages));
    }
    let error = messages.iter().find_map(first_error);
    let error = error
        .unwrap_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned());
    Err(Fault::new("compile", "", error.trim_end()))
}

fn messages(output: &Output) -> Vec<Value> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The error in a message of the compiler, as it shows it.
fn first_error(message: &Value) -> Option<String> {
    let message = message.get("message")?;
    let is_error = message.get("level")?.as_str()? == "error";
    let text = message.get("rendered")?.as_str()?;
    is_error.then(|| text.to_string())
}

/// The programs in the messages of a build.
fn programs(messages: &[Value]) -> Built {
    let program = |message: &Value| {
        let path = message.get("executable")?.as_str()?;
        let name = message.get("target")?.get("name")?.as_str()?;
        Some((name.to_string(), PathBuf::from(path)))
    };
    messages.iter().filter_map(program).collect()
}
