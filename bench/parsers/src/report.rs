//! How the tables name and count.

use anyhow::Result;

/// A parser as the tables name it: a crate with its version in the lock file.
pub fn name(name: &str) -> Result<String> {
    Ok(match name {
        "client" => "`client`, this book's".into(),
        _ => format!("{name} {}", record::version(name)?),
    })
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
