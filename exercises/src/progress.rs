//! The exercises that a reader has tried and done: `try/progress.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The exercises that have been tried, by name.
pub struct Progress {
    file: PathBuf,
    exercises: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// How often it has been checked.
    pub checks: u32,
    /// The day on which the check first found nothing wrong, as in `2026-05-31`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
}

impl Progress {
    pub fn read(root: &Path) -> Result<Self> {
        let file = root.join("try/progress.json");
        let exercises = match fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            text => text
                .map_err(anyhow::Error::from)
                .and_then(|text| Ok(serde_json::from_str(&text)?))
                .with_context(|| file.display().to_string())?,
        };
        Ok(Self { file, exercises })
    }

    /// The entry of an exercise; none where it has not been checked.
    pub fn of(&self, name: &str) -> Option<&Entry> {
        self.exercises.get(name)
    }

    pub fn is_done(&self, name: &str) -> bool {
        self.of(name).is_some_and(|entry| entry.done.is_some())
    }

    /// Enters the result of a check. What is done stays done.
    pub fn enter(&mut self, name: &str, passed: bool) -> Result<()> {
        let entry = self.exercises.entry(name.into()).or_default();
        entry.checks += 1;
        if passed && entry.done.is_none() {
            entry.done = Some(today()?);
        }
        self.write()
    }

    /// Forgets an exercise, or all of them.
    pub fn forget(&mut self, name: Option<&str>) -> Result<()> {
        match name {
            Some(name) => drop(self.exercises.remove(name)),
            None => self.exercises.clear(),
        }
        self.write()
    }

    /// Writes a whole new file in the place of the old one, so that no half of one is left.
    fn write(&self) -> Result<()> {
        let folder = self.file.parent().context("it is in a folder")?;
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec_pretty(&self.exercises)?)?;
        file.persist(&self.file)?;
        Ok(())
    }
}

/// The date, in UTC.
fn today() -> Result<String> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(date(seconds / 86_400))
}

/// The date of a day, counted from 1 January 1970.
fn date(mut day: u64) -> String {
    let is_leap = |year: u64| {
        year.is_multiple_of(4)
            && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_its_date() {
        for (day, expected) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_453, "2025-12-31"),
            (20_454, "2026-01-01"),
        ] {
            assert_eq!(date(day), expected);
        }
    }
}
