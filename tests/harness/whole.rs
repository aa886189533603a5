//! Runs that are too large for every day: a small part of each in all tests, with another
//! seed each time, and the whole of it where `WHOLE=1` asks for that.

use std::env;
use std::fs;
use std::process::Command;
use std::time::{Instant, UNIX_EPOCH};

use crate::binaries::root;

/// Whether the whole of a large run is asked for.
pub fn is_whole() -> bool {
    env::var("WHOLE").is_ok_and(|whole| whole == "1")
}

/// A run with random numbers. `SEED=…` in the environment repeats one.
pub struct Run {
    pub seed: u64,
    is_whole: bool,
    start: Instant,
}

impl Run {
    pub fn start() -> Self {
        let seed = match env::var("SEED") {
            Ok(seed) => seed.parse().expect("SEED is a number"),
            Err(_) => UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
        };
        eprintln!("SEED={seed}"); // shown where the test fails
        Self { seed, is_whole: is_whole(), start: Instant::now() }
    }

    /// The size of something in the whole run, or in the part of it that is for every day.
    pub fn size(&self, whole: usize, part: usize) -> usize {
        if self.is_whole { whole } else { part }
    }

    /// Writes down what a whole run has done, into `tests/recorded/NAME.txt`, with the versions
    /// that these commands print.
    pub fn done(self, name: &str, what: &str, versions: &[&str]) {
        if !self.is_whole {
            return;
        }
        let seconds = self.start.elapsed().as_secs();
        let mut record = format!("{what}\nSEED={}, {seconds} s\n", self.seed);
        for command in
            ["date -u +%F", "uname -sr", "rustc --version"].iter().chain(versions)
        {
            let output = Command::new("sh").args(["-c", command]).output().unwrap();
            record += str::from_utf8(&output.stdout).unwrap();
        }
        let folder = root().join("tests/recorded");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.txt")), record).unwrap();
    }
}
