//! What the tables have in common.

use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

use crate::root;

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

/// The value that so many of a hundred are not above.
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

pub fn median(values: &mut [f64]) -> f64 {
    percentile(values, 50)
}

pub fn row(cells: impl IntoIterator<Item = String>) -> String {
    format!("| {} |\n", cells.into_iter().collect::<Vec<_>>().join(" | "))
}

/// What chapter 8 shows of the tables: a few measures of four stores.
pub fn short(tables: &str) -> Result<String> {
    let rows: Vec<Vec<&str>> = tables
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let row = |start: &str| {
        let row = rows.iter().find(|row| row[0].starts_with(start));
        row.with_context(|| format!("no row {start}"))
    };
    let mut short = "| | file | redb | fjall | SQLite |\n".to_string();
    short += "| --- | --: | --: | --: | --: |\n";
    for measure in ["one event a commit, median", "64 writers", "250,000 events in"]
    {
        let row = row(measure)?;
        short += &self::row([0, 1, 2, 6, 8].map(|column| row[column].into()));
    }
    let row_after = row("size after 1,000,000")?;
    let mut size = [0, 1, 2, 6, 8].map(|column| row_after[column].to_string());
    size[0] = "250,000 events after 1,000,000 more, MB".into();
    short += &self::row(size);
    // "silently changed" and what stands to the right of it, of both stores.
    let silent = |label: &str| {
        let flips = rows.iter().filter(|row| row.len() == 10 && row[0] == label);
        let wrong = flips
            .flat_map(|row| row[6..].iter().flat_map(|cell| cell.parse::<u64>()));
        wrong.sum::<u64>().to_string()
    };
    let labels =
        ["file", "redb, checked at open", "fjall", "SQLite, `integrity_check`"];
    let name = "of 400 flipped bits, events silently changed or lost".to_string();
    short += &self::row([name].into_iter().chain(labels.map(silent)));
    let seconds = |name| Ok(row(name)?[1].to_string());
    let builds: Result<Vec<String>> =
        ["redb 4", "fjall 3", "rusqlite 0"].into_iter().map(seconds).collect();
    let cells = ["cold debug build on 2 cores, s".into(), "–".into()];
    Ok(short + &self::row(cells.into_iter().chain(builds?)))
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
    let command = ["cargo run --release -p stores".into(), args.join(" ")].join(" ");
    Ok(format!(
        "{}, Linux {}, {} ({cores} cores), {}, redb {}, fjall {}, rusqlite {} with SQLite {}\
         \n\n    {}\n\n{table}",
        output("date", &["-u", "+%F"])?,
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        model.map_or("unknown CPU", |(_, model)| model),
        output("rustc", &["--version"])?,
        version("redb")?,
        version("fjall")?,
        version("rusqlite")?,
        rusqlite::version(),
        command.trim_end(),
    ))
}

pub fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_string())
}
