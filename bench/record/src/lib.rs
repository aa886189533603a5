//! What the recorded tables of all benches have in common.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

/// The repository's folder.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).expect("bench is in the repository").to_path_buf()
}

/// The version of a crate in the lock file.
pub fn version(name: &str) -> Result<String> {
    let lock = fs::read_to_string(root().join("bench/Cargo.lock"))?;
    let lock: toml::Table = lock.parse()?;
    let packages = lock["package"].as_array().context("packages")?.iter();
    let mut versions =
        packages.filter(|package| package["name"].as_str() == Some(name));
    let version = versions.next().and_then(|package| package["version"].as_str());
    Ok(version.with_context(|| format!("no version of {name}"))?.into())
}

/// The table below what one has to know to compare it with another one: the day, the
/// machine, the compiler and `programs`, and the command as it was typed in `bench/`.
/// `package` is the one that runs, unless it is the default.
pub fn with_circumstances(
    package: Option<&str>,
    programs: &[String],
    table: &str,
) -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut circumstances = vec![
        output("date", &["-u", "+%F"])?,
        format!("Linux {}", kernel.trim()),
        format!(
            "{} ({cores} cores)",
            model.map_or("unknown CPU", |(_, model)| model)
        ),
        output("rustc", &["--version"])?,
    ];
    circumstances.extend_from_slice(programs);
    let mut command = "cargo run --release".to_string();
    if let Some(package) = package {
        command += &format!(" -p {package}");
    }
    let args: Vec<_> = env::args().skip(1).collect();
    if !args.is_empty() {
        command += &format!(" -- {}", args.join(" "));
    }
    Ok(format!("{}\n\n    {command}\n\n{table}", circumstances.join(", ")))
}

/// What a command prints, without white space around it.
pub fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_string())
}
