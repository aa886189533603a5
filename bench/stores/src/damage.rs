//! What each engine makes of files that are not as it left them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::crash::killed;
use crate::engines::{ALL, Check, Engine, Found, Random, events, look};
use crate::report::row;
use crate::worker::Worker;

const EVENTS: u64 = 5_000;
/// Longer, and it counts as one that hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// Opens the store, reads all of it, appends an event and closes it; says what it found.
pub fn examine(engine: Engine, check: Check, folder: &Path, n: u64) -> Result<()> {
    let store = match engine.open(folder, check) {
        Ok(store) => store,
        Err(error) => {
            println!("refused {error:#}");
            return Ok(());
        }
    };
    let found = store.reader().and_then(|mut reader| {
        let found = look(&mut *reader, n)?;
        let last = reader.bounds()?.map_or(0, |(_, last)| last);
        Ok((found, last))
    });
    match found {
        Ok((found, last)) => {
            if let Err(error) =
                store.commit(last + 1, &events(last + 1..last + 2), 0)
            {
                println!("error {error:#}");
                return Ok(());
            }
            match found {
                Found::Whole => println!("whole"),
                Found::Fewer(0) => println!("empty"),
                Found::Fewer(_) => println!("fewer"),
                Found::Changed => println!("changed"),
                Found::KeyLost => println!("key"),
            }
        }
        Err(error) => println!("error {error:#}"),
    }
    // A panic when it is closed is one, too.
    store.close()?;
    Ok(())
}

/// One word, and what it said.
fn outcome(engine: Engine, check: Check, folder: &Path) -> Result<(String, String)> {
    let check = format!("{check:?}").to_lowercase();
    let path = folder.to_str().context("a path")?;
    let args = ["examine", &engine.word(), &check, path, &EVENTS.to_string()];
    Ok(match Worker::start(&args)?.end(DEADLINE)? {
        None => ("hangs".into(), String::new()),
        Some((_, false)) => ("panic".into(), String::new()),
        Some((said, true)) => {
            let said = said.concat();
            let (word, why) = said.split_once(' ').unwrap_or((&said, ""));
            (word.into(), why.into())
        }
    })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Each file and how much of it is used: fjall allocates its journal in advance.
fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        // It is no part of the data: SQLite makes it anew.
        } else if !path.to_string_lossy().ends_with("-shm") {
            let bytes = fs::read(&path)?;
            let used =
                bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            files.push((path, used as u64));
        }
    }
    files.sort();
    Ok(files)
}

fn largest(folder: &Path) -> Result<(PathBuf, u64)> {
    files(folder)?.into_iter().max_by_key(|(_, used)| *used).context("a file")
}

fn cut(path: &Path, length: u64) -> Result<()> {
    Ok(fs::OpenOptions::new().write(true).open(path)?.set_len(length)?)
}

fn flip(folder: &Path, random: &mut Random) -> Result<()> {
    let files = files(folder)?;
    let mut at = random.below(files.iter().map(|(_, used)| used).sum());
    for (path, used) in files {
        if at < used {
            let mut bytes = fs::read(&path)?;
            bytes[at as usize] ^= 1 << random.below(8);
            fs::write(&path, bytes)?;
            break;
        }
        at -= used;
    }
    Ok(())
}

const WORDS: [&str; 9] = [
    "refused", "error", "panic", "hangs", "whole", "changed", "key", "fewer",
    "empty",
];

/// The table in Markdown.
pub fn table(dir: &Path, flips: u64) -> Result<String> {
    let mut flipped = format!(
        "| {flips} single bits flipped | of a store | refuses to open | error when used | \
         panics or hangs | no difference | silently changed | key lost | newest lost | \
         empty |\n| --- | --- |{}\n",
        " --: |".repeat(8)
    );
    let mut other =
        "| files | half | -1 byte | -4096 bytes | text | another engine's \
         | nothing in it |\n| --- | --- | --- | --- | --- | --- | --- |\n"
            .to_string();
    let foreign = dir.join("foreign");
    for engine in ALL {
        let orderly = dir.join("orderly");
        {
            let store = engine.open(&orderly, Check::None)?;
            for first in (1..EVENTS).step_by(50) {
                store.commit(first, &events(first..first + 50), 0)?;
            }
            store.close()?;
        }
        let torn = dir.join("torn");
        killed(engine, &torn, EVENTS)?;
        let damaged = dir.join("damaged");
        for &check in engine.checks() {
            let name = match check {
                Check::None => engine.to_string(),
                Check::Quick => format!("{engine}, `quick_check`"),
                Check::Full if engine == Engine::Sqlite => {
                    format!("{engine}, `integrity_check`")
                }
                Check::Full => format!("{engine}, checked at open"),
            };
            eprintln!("{name}: damage");
            for (state, store) in [("closed", &orderly), ("killed", &torn)] {
                let mut random = Random(146);
                let mut counts = BTreeMap::new();
                for _ in 0..flips {
                    copy(store, &damaged)?;
                    flip(&damaged, &mut random)?;
                    let (word, _) = outcome(engine, check, &damaged)?;
                    *counts.entry(word).or_insert(0) += 1;
                }
                let count = |word: &str| counts.get(word).copied().unwrap_or(0);
                let unknown =
                    counts.keys().find(|word| !WORDS.contains(&word.as_str()));
                anyhow::ensure!(unknown.is_none(), "{unknown:?}");
                let counts = [
                    count("refused"),
                    count("error"),
                    count("panic") + count("hangs"),
                    count("whole"),
                    count("changed"),
                    count("key"),
                    count("fewer"),
                    count("empty"),
                ];
                let head = [name.clone(), state.into()];
                flipped += &row(head
                    .into_iter()
                    .chain(counts.map(|count| count.to_string())));
            }
            let mut cells = vec![name];
            for length in
                [|used: u64| used / 2, |used: u64| used - 1, |used: u64| used - 4096]
            {
                copy(&orderly, &damaged)?;
                let (path, used) = largest(&damaged)?;
                cut(&path, length(used))?;
                cells.push(said(outcome(engine, check, &damaged)?));
            }
            let text = "These are notes.\n".repeat(1000).into_bytes();
            for content in [text, another(engine, &foreign)?, vec![]] {
                copy(&orderly, &damaged)?;
                let (path, _) = largest(&damaged)?;
                fs::write(&path, &content)?;
                let outcome = said(outcome(engine, check, &damaged)?);
                let overwritten = match fs::read(&path) {
                    Ok(now) if now.starts_with(&content) => "",
                    _ => ", overwritten",
                };
                cells.push(format!("{outcome}{overwritten}"));
            }
            other += &row(cells);
        }
        fs::remove_dir_all(&orderly)?;
        fs::remove_dir_all(&torn)?;
    }
    Ok(format!("{flipped}{FLIPPED}\n{other}{OTHER}"))
}

fn said((word, why): (String, String)) -> String {
    if !why.is_empty() {
        eprintln!("    {word}: {why}");
    }
    word
}

/// The main file of another engine.
fn another(engine: Engine, folder: &Path) -> Result<Vec<u8>> {
    let engine =
        if engine == Engine::Sqlite { Engine::Redb } else { Engine::Sqlite };
    let folder = folder.join(engine.word());
    if !folder.exists() {
        let store = engine.open(&folder, Check::None)?;
        store.commit(1, &events(1..101), 0)?;
        store.close()?;
    }
    Ok(fs::read(largest(&folder)?.0)?)
}

const FLIPPED: &str = "
Of 5,000 events, one bit of one byte at a time, of what is used of the files. \"Silently changed\" \
is what a checksum in each record, or ids without a gap, would tell; \"key lost\" and \"newest lost\" \
are not to be seen in any record.
";

const OTHER: &str = "
The largest file of a closed store, cut, or with other content. \"empty\" and \"fewer\" opened \
without an error and have none, or only the older ones, of 5,000 events. `file` is cut in a file \
that newer ones follow; cut in the newest, it opens with fewer, as after a crash.
";
