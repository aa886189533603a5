//! Whether what was acknowledged survives `kill -9`.

use std::io::{Write, stdout};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::engines::{ALL, Check, Engine, Found, Random, events, look};
use crate::report::row;
use crate::worker::Worker;

/// From its start, so that some are killed while they open the store.
const LIFE_MS: u64 = 200;
const DEADLINE: Duration = Duration::from_secs(60);

/// Says how many events it found, if they are as they should be, then appends more in groups
/// and says the last id of each when it is on disk.
pub fn append(engine: Engine, folder: &Path, seed: u64) -> Result<()> {
    let store = engine.open(folder, Check::None)?;
    let mut reader = store.reader()?;
    let found = reader.bounds()?.map_or(0, |(_, last)| last);
    let look = look(&mut *reader, found)?;
    if look != Found::Whole {
        bail!("{look:?}");
    }
    let mut random = Random(seed);
    let mut out = stdout();
    writeln!(out, "{found}")?;
    let mut first = found + 1;
    loop {
        let next = first + 1 + random.below(16);
        store.commit(first, &events(first..next), 0)?;
        writeln!(out, "{}", next - 1)?;
        first = next;
    }
}

/// Brings the store to so many events, says so and waits to be killed.
pub fn hold(engine: Engine, folder: &Path, until: u64) -> Result<()> {
    let store = engine.open(folder, Check::None)?;
    let last = store.reader()?.bounds()?.map_or(0, |(_, last)| last);
    let mut first = last + 1;
    while first <= until {
        let next = (first + 64).min(until + 1);
        store.commit(first, &events(first..next), 0)?;
        first = next;
    }
    println!("ready");
    loop {
        thread::sleep(DEADLINE);
    }
}

pub fn killed(engine: Engine, folder: &Path, until: u64) -> Result<()> {
    let path = folder.to_str().context("a path")?;
    let worker = Worker::start(&["hold", &engine.word(), path, &until.to_string()])?;
    worker.lines.recv_timeout(DEADLINE).context("it is not ready")?;
    worker.kill()?;
    Ok(())
}

#[derive(Default)]
struct Kills {
    acknowledged: u64,
    lost: u64,
    /// Starts that found a gap or a changed event, or could not open the store.
    broken: u64,
    while_opening: u64,
}

fn kills(engine: Engine, folder: &Path, times: u64) -> Result<Kills> {
    let mut random = Random(2026);
    let mut kills = Kills::default();
    let path = folder.to_str().context("a path")?;
    for time in 0..=times {
        let args = ["append", &engine.word(), path, &time.to_string()];
        let worker = Worker::start(&args)?;
        let mut said = Vec::new();
        // The last one only looks.
        if time == times {
            said.extend(worker.lines.recv_timeout(DEADLINE));
        } else {
            thread::sleep(Duration::from_millis(1 + random.below(LIFE_MS)));
        }
        let mut before = worker.lines.try_iter().collect::<Vec<_>>();
        said.append(&mut before);
        said.extend(worker.kill()?);
        match said.split_first() {
            Some((found, acknowledged)) => {
                kills.lost += kills.acknowledged.saturating_sub(found.parse()?);
                let last = acknowledged.last().unwrap_or(found);
                kills.acknowledged = last.parse()?;
            }
            None if time == times => kills.broken += 1,
            None => kills.while_opening += 1,
        }
    }
    Ok(kills)
}

/// The table in Markdown.
pub fn table(dir: &Path, times: u64) -> Result<String> {
    let mut table = format!(
        "| killed {times} times | acknowledged | of those lost, doubled or changed | \
         killed before it had opened |\n| --- | --: | --: | --: |\n"
    );
    for engine in ALL {
        eprintln!("{engine}: kills");
        let folder = dir.join("kills");
        let kills = kills(engine, &folder, times)?;
        let lost = match kills.broken {
            0 => kills.lost.to_string(),
            _ => "does not open".into(),
        };
        table += &row([
            engine.to_string(),
            kills.acknowledged.to_string(),
            lost,
            kills.while_opening.to_string(),
        ]);
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(table)
}
