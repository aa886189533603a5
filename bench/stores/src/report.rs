//! What the tables have in common.

use anyhow::{Context, Result};

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
