//! What the tables have in common.

use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

use crate::root;

/// A parser as the tables name it: a crate with its version in the lock file.
pub fn name(name: &str) -> Result<String> {
    if name == "client" {
        return Ok("`client`, this book's".into());
    }
    let lock = fs::read_to_string(root().join("bench/Cargo.lock"))?;
    let lock: toml::Table = lock.parse()?;
    let packages = lock["package"].as_array().context("packages")?.iter();
    let mut versions =
        packages.filter(|package| package["name"].as_str() == Some(name));
    let version = versions.next().and_then(|package| package["version"].as_str());
    let version = version.with_context(|| format!("no version of {name}"))?;
    Ok(format!("{name} {version}"))
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The table below what one has to know to compare it with another one.
pub fn with_circumstances(table: &str) -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let args: Vec<_> = env::args().skip(1).collect();
    let args =
        if args.is_empty() { args } else { [vec!["--".into()], args].concat() };
    let command =
        ["cargo run --release -p parsers".into(), args.join(" ")].join(" ");
    Ok(format!(
        "{}, Linux {}, {} ({cores} cores), {}\n\n    {}\n\n{table}",
        output("date", &["-u", "+%F"])?,
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        model.map_or("unknown CPU", |(_, model)| model),
        output("rustc", &["--version"])?,
        command.trim_end(),
    ))
}

fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_string())
}
