//! The table of a run.

use std::fmt::Write as _;

use anyhow::Result;

use super::Outcome;
use super::request::Kind;

/// Failures of one program that are listed.
const SHOWN: usize = 20;

/// A column for each program, and their failures below.
pub fn table(
    seed: u64,
    version: &str,
    outcomes: &[(&str, Outcome)],
) -> Result<String> {
    let names: Vec<_> = outcomes.iter().map(|(name, _)| *name).collect();
    let mut text = format!(
        "Seed {seed}, {version}\n\n| | {} |\n| --- |{}\n",
        names.join(" | "),
        " --: |".repeat(names.len())
    );
    let mut row = |name: &str, cell: &dyn Fn(&Outcome) -> String| {
        let cells: Vec<_> =
            outcomes.iter().map(|(_, outcome)| cell(outcome)).collect();
        writeln!(text, "| {name} | {} |", cells.join(" | "))
    };
    let count = |count: Option<&u64>| count.copied().unwrap_or_default().to_string();
    row("requests", &|outcome| outcome.requests.to_string())?;
    row("time", &|outcome| format!("{} s", outcome.time.as_secs()))?;
    for (kind, _) in Kind::ALL {
        let name = format!("odd: {kind:?}").to_lowercase();
        row(&name, &|outcome| count(outcome.kinds.get(&kind)))?;
    }
    for class in 2..=5 {
        let name = format!("answers {class}xx");
        row(&name, &|outcome| count(outcome.answers.get(&class)))?;
    }
    let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
    row("memory before", &|outcome| mib(outcome.before_kib))?;
    row("memory after", &|outcome| mib(outcome.after_kib))?;
    row("heard by the honest client", &|outcome| outcome.heard.to_string())?;
    row("failures", &|outcome| outcome.failures.len().to_string())?;
    for (name, outcome) in outcomes {
        for failure in outcome.failures.iter().take(SHOWN) {
            write!(text, "\n    {name}: {failure}")?;
        }
    }
    Ok(text)
}
