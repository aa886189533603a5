//! What commits and reads cost.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::crash::killed;
use crate::engines::{ALL, Check, Engine, PAGE, Random, Store, event, events};
use crate::report::{median, percentile, row};

const ROUNDS: usize = 5;
const SINGLES: u64 = 300;
const WRITERS: usize = 64;
const WRITING: Duration = Duration::from_secs(1);
const KEPT: u64 = 250_000;
const GROUP: u64 = 64;
const RETAINED: u64 = 1_000_000;
const READERS: usize = 4;

/// Every measure by its name, a value an engine and round.
type Measured = BTreeMap<&'static str, Vec<Vec<f64>>>;

/// Name, unit, and how many decimals it has.
const MEASURES: [(&str, &str, usize); 16] = [
    ("one event a commit, median", "ms", 3),
    ("one event a commit, p99", "ms", 3),
    ("64 writers, each waits for its event", "events/s", 0),
    ("250,000 events in pages of 400", "million events/s", 2),
    ("a page while nobody writes, median of 4 readers", "µs", 0),
    ("a page while groups of 64 are committed, median", "µs", 0),
    ("a page while groups of 64 are committed, p99", "µs", 0),
    ("size with 250,000 events", "MB", 1),
    ("open after a close", "ms", 1),
    ("open after `kill -9`", "ms", 1),
    ("append 64 and delete the oldest 64, median", "ms", 3),
    ("append 64 and delete the oldest 64, p99", "ms", 3),
    ("size after 500,000 of them", "MB", 1),
    ("size after 1,000,000 of them", "MB", 1),
    ("open with `check_integrity` or `integrity_check`", "ms", 1),
    ("open with `quick_check`", "ms", 1),
];

/// Whose names say how many a second; of the others, less is better.
const RATES: [&str; 2] =
    ["64 writers, each waits for its event", "250,000 events in pages of 400"];

struct Notes {
    measured: Measured,
    engine: usize,
}

impl Notes {
    fn note(&mut self, measure: usize, value: f64) {
        let values = self.measured.entry(MEASURES[measure].0).or_default();
        values.resize(ALL.len(), Vec::new());
        values[self.engine].push(value);
    }
}

fn ms(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// The size of its files as far as the disk holds them.
fn megabytes(folder: &Path) -> Result<f64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0.0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            megabytes(&entry.path())? * 1e6
        } else {
            metadata.blocks() as f64 * 512.0
        };
    }
    Ok(bytes / 1e6)
}

fn singles(store: &dyn Store, mut next: u64, notes: &mut Notes) -> Result<u64> {
    let mut times = Vec::new();
    for _ in 0..SINGLES {
        let events = [event(next)];
        let start = Instant::now();
        store.commit(next, &events, 0)?;
        times.push(ms(start));
        next += 1;
    }
    notes.note(0, median(&mut times));
    notes.note(1, percentile(&mut times, 99));
    Ok(next)
}

/// Writers that wait, and one thread that commits all that has come in the meantime.
fn grouped(store: &dyn Store, mut next: u64, notes: &mut Notes) -> Result<u64> {
    let (to, queue) = sync_channel::<SyncSender<()>>(WRITERS);
    let stop = AtomicBool::new(false);
    let first = next;
    let start = Instant::now();
    thread::scope(|scope| -> Result<()> {
        for _ in 0..WRITERS {
            let to = to.clone();
            let stop = &stop;
            scope.spawn(move || {
                let (done, wait) = sync_channel(1);
                while !stop.load(Relaxed)
                    && to.send(done.clone()).is_ok()
                    && wait.recv().is_ok()
                {}
            });
        }
        drop(to);
        while let Ok(writer) = queue.recv() {
            let mut group = vec![writer];
            group.extend(queue.try_iter().take(WRITERS - 1));
            let after = next + group.len() as u64;
            store.commit(next, &events(next..after), 0)?;
            next = after;
            for writer in group {
                writer.send(())?;
            }
            if start.elapsed() > WRITING {
                stop.store(true, Relaxed);
            }
        }
        Ok(())
    })?;
    notes.note(2, (next - first) as f64 / start.elapsed().as_secs_f64());
    Ok(next)
}

fn scan(store: &dyn Store, notes: &mut Notes) -> Result<()> {
    let mut reader = store.reader()?;
    let (mut from, mut bytes) = (1, 0);
    let start = Instant::now();
    while from <= KEPT {
        reader.page(from, &mut |id, event| {
            bytes += event.len();
            from = id + 1;
        })?;
    }
    ensure!(bytes > KEPT as usize * 80 && from == KEPT + 1);
    notes.note(3, KEPT as f64 / start.elapsed().as_secs_f64() / 1e6);
    Ok(())
}

/// Readers of pages at random, while groups are committed or not: each page's microseconds.
fn pages(
    store: &dyn Store,
    mut write: Option<&mut dyn FnMut() -> Result<()>>,
    oldest: &AtomicU64,
) -> Result<Vec<f64>> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for seed in 0..READERS as u64 {
            let mut reader = store.reader()?;
            let stop = &stop;
            threads.push(scope.spawn(move || -> Result<Vec<f64>> {
                let mut random = Random(seed);
                let mut times = Vec::new();
                while !stop.load(Relaxed) {
                    let from = oldest.load(Relaxed)
                        + KEPT / 10
                        + random.below(KEPT * 8 / 10);
                    let mut count = 0;
                    let start = Instant::now();
                    reader.page(from, &mut |_, _| count += 1)?;
                    times.push(ms(start) * 1e3);
                    ensure!(count == PAGE, "a page of {count}");
                }
                Ok(times)
            }));
        }
        let start = Instant::now();
        let mut written = Ok(());
        while start.elapsed() < WRITING && written.is_ok() {
            match &mut write {
                Some(write) => written = write(),
                None => thread::sleep(WRITING),
            }
        }
        stop.store(true, Relaxed);
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().ok().context("a reader panicked")??);
        }
        written?;
        Ok(all)
    })
}

/// At 250,000 events: reading, opening, and retention.
fn large(engine: Engine, folder: &Path, notes: &mut Notes) -> Result<()> {
    let store = engine.open(folder, Check::None)?;
    let mut next = 1;
    while next <= KEPT {
        let after = (next + 1000).min(KEPT + 1);
        store.commit(next, &events(next..after), 0)?;
        next = after;
    }
    for _ in 0..ROUNDS {
        scan(&*store, notes)?;
    }
    let oldest = AtomicU64::new(1);
    for _ in 0..ROUNDS {
        notes.note(4, median(&mut pages(&*store, None, &oldest)?));
    }
    store.close()?;
    notes.note(7, megabytes(folder)?);
    for round in 0..ROUNDS as u64 {
        let start = Instant::now();
        let store = engine.open(folder, Check::None)?;
        notes.note(8, ms(start));
        store.close()?;
        killed(engine, folder, KEPT + round + 1)?;
        let start = Instant::now();
        let store = engine.open(folder, Check::None)?;
        notes.note(9, ms(start));
        store.close()?;
    }
    for &check in &engine.checks()[1..] {
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let store = engine.open(folder, check)?;
            notes.note(if check == Check::Full { 14 } else { 15 }, ms(start));
            store.close()?;
        }
    }
    let store = engine.open(folder, Check::None)?;
    let mut next = KEPT + ROUNDS as u64 + 1;
    let mut times = Vec::new();
    let mut replace = |times: &mut Vec<f64>| -> Result<()> {
        let events = events(next..next + GROUP);
        let start = Instant::now();
        store.commit(next, &events, next + GROUP - KEPT)?;
        times.push(ms(start));
        next += GROUP;
        oldest.store(next - KEPT, Relaxed);
        Ok(())
    };
    let commits = RETAINED / GROUP;
    for commit in 1..=commits {
        replace(&mut times)?;
        if commit == commits / 2 {
            notes.note(12, megabytes(folder)?);
        }
    }
    notes.note(13, megabytes(folder)?);
    for times in times.chunks_mut(commits as usize / ROUNDS) {
        notes.note(10, median(times));
        notes.note(11, percentile(times, 99));
    }
    for _ in 0..ROUNDS {
        let mut times = Vec::new();
        let mut write = || replace(&mut times);
        let mut times = pages(&*store, Some(&mut write), &oldest)?;
        notes.note(5, median(&mut times));
        notes.note(6, percentile(&mut times, 99));
    }
    store.close()
}

/// The table in Markdown.
pub fn table(dir: &Path) -> Result<String> {
    let mut notes = Notes { measured: BTreeMap::new(), engine: 0 };
    // In turn, so that what else the machine does meets all of them.
    let mut stores = Vec::new();
    for engine in ALL {
        let folder = dir.join(engine.word());
        let store = engine.open(&folder, Check::None)?;
        store.commit(1, &events(1..10_001), 0)?;
        stores.push((store, 10_001, folder));
    }
    for round in 0..=ROUNDS {
        eprintln!("commits, round {round}");
        for (engine, (store, next, _)) in stores.iter_mut().enumerate() {
            notes.engine = engine;
            *next = singles(&**store, *next, &mut notes)?;
            *next = grouped(&**store, *next, &mut notes)?;
        }
        if round == 0 {
            // It warmed up.
            notes.measured.clear();
        }
    }
    for (store, _, folder) in stores {
        store.close()?;
        fs::remove_dir_all(folder)?;
    }
    for (at, engine) in ALL.into_iter().enumerate() {
        eprintln!("{engine}: 250,000 events");
        notes.engine = at;
        let folder = dir.join("large");
        large(engine, &folder, &mut notes)?;
        fs::remove_dir_all(folder)?;
    }
    let head = ALL.map(|engine| match engine {
        Engine::File => "file".into(),
        other => format!("{other} | × file"),
    });
    let mut table = format!("| | {} |\n| --- |", head.join(" | "));
    table += &" --: |".repeat(2 * ALL.len() - 1);
    table.push('\n');
    for (name, unit, decimals) in MEASURES {
        let Some(values) = notes.measured.get_mut(name) else { continue };
        let values: Vec<_> = values
            .iter_mut()
            .map(|values| (!values.is_empty()).then(|| median(values)))
            .collect();
        let mut cells = vec![format!("{name}, {unit}")];
        for (at, value) in values.iter().enumerate() {
            cells.push(
                value.map_or("–".into(), |value| format!("{value:.decimals$}")),
            );
            let ratio = value.zip(values[0]).map(|(value, floor)| {
                if RATES.contains(&name) { floor / value } else { value / floor }
            });
            if at > 0 {
                cells.push(ratio.map_or("–".into(), |ratio| format!("{ratio:.2}")));
            }
        }
        table += &row(cells);
    }
    Ok(table + NOTES)
}

const NOTES: &str = "
Medians of 5 rounds. Each commit is on disk when it returns. `file` is the floor: records with a \
checksum appended to files of 4,096 events, `fdatasync`, and an index in memory. A ratio above 1 is slower, or larger. \
An event has 80 to 200 bytes and a key of 16 bytes, which is in an index of its own; a commit that deletes an event \
deletes its key.
";
