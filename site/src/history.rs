//! The state of the book that is shown, and when its pages changed, as far as git knows:
//! without a history, the version alone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct History {
    /// As in `0.1.0 (1120aae, 2026-11-27)`.
    pub version: String,
    /// The day of each source's last change, by its path from the root.
    changed: HashMap<PathBuf, String>,
}

impl History {
    pub fn read(root: &Path) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let version = match git(root, &["log", "-1", "--format=%h, %cs"]) {
            Some(commit) => format!("{version} ({})", commit.trim()),
            None => version.to_string(),
        };
        // The newest change comes first: below its day, the files.
        let log = ["log", "--relative", "--name-only", "--format=:%cs", "--", "src"];
        let log = git(root, &log).unwrap_or_default();
        let mut changed = HashMap::new();
        let mut day = "";
        for line in log.lines() {
            match line.strip_prefix(':') {
                Some(next) => day = next,
                None => {
                    changed.entry(line.into()).or_insert_with(|| day.to_string());
                }
            }
        }
        Self { version, changed }
    }

    /// The day, as in `2026-11-27`, on which this source changed last.
    pub fn changed(&self, file: &Path) -> Option<&str> {
        self.changed.get(file).map(String::as_str)
    }
}

/// The output of git, where it is installed and this is a repository with a history.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").current_dir(root).args(arguments).output().ok()?;
    if !output.status.success() {
        return None;
    }
    String::from_utf8(output.stdout).ok().filter(|text| !text.is_empty())
}
