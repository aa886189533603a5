//! The parts that all benches share: where they are, the median, and what a recorded table
//! was measured with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};

/// The repository's folder.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).expect("bench is in the repository").to_path_buf()
}

/// The middle one of these values, or the mean of the middle two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(values[half - 1], values[half]),
        _ => values[half],
    }
}

/// The version of a crate in the lock file of this workspace.
pub fn version(workspace: &Path, name: &str) -> Result<String> {
    let lock = fs::read_to_string(workspace.join("Cargo.lock"))?;
    let version = lock
        .split_once(&format!("name = \"{name}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split('"').next());
    Ok(version.with_context(|| format!("no {name} in Cargo.lock"))?.into())
}

/// Prints the table with what it was measured with, and writes it where --save says.
pub fn publish(command: &str, table: &str, save: Option<&Path>) -> Result<()> {
    let table = with_circumstances(command, table)?;
    print!("{table}");
    if let Some(file) = save {
        let written = fs::write(file, &table);
        written.with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Sets an anchor around lines of a table, so that a page can include them alone.
pub fn anchored(name: &str, lines: &str) -> String {
    let lines = lines.trim_end();
    format!("<!-- ANCHOR: {name} -->\n{lines}\n<!-- ANCHOR_END: {name} -->\n")
}

/// The table below what one has to know to compare it with another one: the day, the
/// machine, the compiler, and the command as it was typed in `bench/`.
fn with_circumstances(command: &str, table: &str) -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown CPU", |(_, model)| model);
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let day = output("date", &["-u", "+%F"])?;
    let rustc = output("rustc", &["--version"])?;
    let mut command = command.to_string();
    let args: Vec<_> = env::args().skip(1).collect();
    if !args.is_empty() {
        command += &format!(" -- {}", args.join(" "));
    }
    Ok(format!(
        "{day}, Linux {}, {model} ({cores} cores), {rustc}\n\n    {command}\n\n{table}",
        kernel.trim()
    ))
}

/// Returns what a command prints, without white space around it.
fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_values_is_between_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }
}
