//! A disk that is full.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::engines::{ALL, Check, Engine, Found, Store, events, look, says_full};
use crate::report::row;
use crate::worker::Worker;

const BALLAST: usize = 512 << 10;
const GROUP: u64 = 16;
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Way {
    /// Another file is deleted.
    Room,
    /// The oldest half is deleted.
    Oldest,
    /// The process starts again.
    Reopen,
}

/// Appends until it fails: the last id that was acknowledged, and the error.
fn append(store: &dyn Store, mut last: u64) -> (u64, anyhow::Error) {
    loop {
        let next = last + 1 + GROUP;
        match store.commit(last + 1, &events(last + 1..next), 0) {
            Ok(()) => last = next - 1,
            Err(error) => return (last, error),
        }
    }
}

fn kind(error: &anyhow::Error) -> String {
    if says_full(error) { "full".into() } else { short(error) }
}

fn short(error: &anyhow::Error) -> String {
    let error = format!("{error:#}");
    format!("`{}`", error.split(['.', '\n']).next().unwrap_or_default())
}

fn readable(store: &dyn Store, last: u64) -> Result<String> {
    let mut reader = store.reader()?;
    Ok(match look(&mut *reader, last) {
        Ok(Found::Whole) => "all".into(),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("`{error:#}`"),
    })
}

/// How many events the room of the older half is good for.
fn replace(store: &dyn Store, last: u64) -> String {
    for keep in (GROUP..last / 2).step_by(GROUP as usize) {
        if let Err(error) = store.commit(last + 1, &[], keep) {
            return format!("no: {}", kind(&error));
        }
    }
    let (more, _) = append(store, last);
    format!("{} more", more - last)
}

/// Says a cell of the table a line.
pub fn fill(engine: Engine, folder: &Path, way: Way) -> Result<()> {
    let ballast = folder.join("ballast");
    fs::write(&ballast, vec![1; BALLAST])?;
    let home = folder.join("store");
    let store = match engine.open(&home, Check::None) {
        Ok(store) => store,
        Err(error) => {
            println!("does not open: {}", kind(&error));
            return Ok(());
        }
    };
    let (last, error) = append(&*store, 0);
    match way {
        Way::Room => {
            println!("{last}");
            println!("{}", kind(&error));
            println!("{}", readable(&*store, last)?);
            fs::remove_file(&ballast)?;
            let (more, error) = append(&*store, last);
            if more == last {
                drop(store.close());
                let store = engine.open(&home, Check::None)?;
                let (more, again) = append(&*store, last);
                let again = if more > last { "yes".into() } else { kind(&again) };
                println!("no: {}; after a restart: {again}", kind(&error));
                return Ok(());
            }
            println!("yes");
            ensure!(readable(&*store, more)? == "all", "not all is there");
        }
        Way::Oldest => println!("{}", replace(&*store, last)),
        Way::Reopen => {
            // Which fails as the commit did.
            drop(store.close());
            let store = match engine.open(&home, Check::None) {
                Ok(store) => store,
                Err(error) => {
                    println!("does not open: {}", kind(&error));
                    fs::remove_file(&ballast)?;
                    let store = engine.open(&home, Check::None)?;
                    println!("with room: {}", readable(&*store, last)?);
                    return Ok(());
                }
            };
            println!("{}", readable(&*store, last)?);
            println!("{}", replace(&*store, last));
        }
    }
    Ok(())
}

fn run(engine: Engine, folder: &Path, way: Way) -> Result<Vec<String>> {
    fs::create_dir_all(folder)?;
    let path = folder.to_str().context("a path")?;
    let mount = ["-t", "tmpfs", "-o", "size=4m", "stores", path];
    ensure!(Command::new("mount").args(mount).status()?.success(), "needs root");
    let way = format!("{way:?}").to_lowercase();
    let ended = Worker::start(&["full", &engine.word(), path, &way])
        .and_then(|worker| worker.end(DEADLINE));
    ensure!(Command::new("umount").arg(path).status()?.success(), "cannot unmount");
    Ok(match ended? {
        None => vec!["hangs".into()],
        Some((said, true)) => said,
        Some((mut said, false)) => {
            said.push("panics or fails".into());
            said
        }
    })
}

/// The table in Markdown.
pub fn table(dir: &Path) -> Result<String> {
    let mut table = "| disk of 4 MB | events until full | the error says | then readable \
         | writes again when another file is deleted | room by deleting the older \
         half | there after a restart | room then |\n| --- | --: | --- | --- | --- | --- \
         | --- | --- |\n"
        .to_string();
    let folder = dir.join("full");
    for engine in ALL {
        eprintln!("{engine}: full disk");
        let mut cells = vec![engine.to_string()];
        cells.extend(run(engine, &folder, Way::Room)?);
        cells.resize(5, "–".into());
        cells.extend(run(engine, &folder, Way::Oldest)?);
        cells.resize(6, "–".into());
        cells.extend(run(engine, &folder, Way::Reopen)?);
        table += &row(cells);
    }
    Ok(table)
}
