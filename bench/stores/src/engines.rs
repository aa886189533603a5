//! What a store has to do, and who does it.

mod file;
mod fjall;
mod redb;
mod sqlite;

use std::fmt;
use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;

/// As a UUID, which is what most clients send in `Idempotency-Key`.
pub type Key = [u8; 16];

/// How many events a reader takes at a time.
pub const PAGE: usize = 400;

/// An event before it has an id.
pub struct Event {
    pub key: Key,
    pub bytes: Vec<u8>,
}

pub trait Store: Send + Sync {
    /// Appends the events with dense ids from `first` on and deletes those below `keep`, both
    /// or nothing. On disk when it returns.
    fn commit(&self, first: u64, events: &[Event], keep: u64) -> Result<()>;

    /// For one thread.
    fn reader(&self) -> Result<Box<dyn Reader>>;

    fn close(self: Box<Self>) -> Result<()>;
}

pub trait Reader: Send {
    /// The oldest and the newest id.
    fn bounds(&mut self) -> Result<Option<(u64, u64)>>;

    /// Up to `PAGE` events from the id `from` on.
    fn page(&mut self, from: u64, each: &mut dyn FnMut(u64, &[u8])) -> Result<()>;

    /// The id that an earlier request with this key got.
    fn id(&mut self, key: &Key) -> Result<Option<u64>>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    File,
    Redb,
    RedbQuick,
    Fjall,
    Sqlite,
}

pub const ALL: [Engine; 5] =
    [Engine::File, Engine::Redb, Engine::RedbQuick, Engine::Fjall, Engine::Sqlite];

/// How much of the store is looked at before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// What the engine does anyway.
    None,
    /// SQLite's `quick_check`.
    Quick,
    /// redb's `check_integrity`, SQLite's `integrity_check`.
    Full,
}

impl Engine {
    /// The store in this folder, which is made if it is not there.
    pub fn open(self, folder: &Path, check: Check) -> Result<Box<dyn Store>> {
        std::fs::create_dir_all(folder)?;
        Ok(match self {
            Engine::File => Box::new(file::File::open(folder)?),
            Engine::Redb => Box::new(redb::Redb::open(folder, check, false)?),
            Engine::RedbQuick => Box::new(redb::Redb::open(folder, check, true)?),
            Engine::Fjall => Box::new(fjall::Fjall::open(folder)?),
            Engine::Sqlite => Box::new(sqlite::Sqlite::open(folder, check)?),
        })
    }

    pub fn checks(self) -> &'static [Check] {
        match self {
            Engine::File | Engine::Fjall => &[Check::None],
            Engine::Redb | Engine::RedbQuick => &[Check::None, Check::Full],
            Engine::Sqlite => &[Check::None, Check::Quick, Check::Full],
        }
    }

    /// As clap knows it.
    pub fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |v| v.get_name().into())
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Engine::File => "file",
            Engine::Redb => "redb",
            Engine::RedbQuick => "redb, quick repair",
            Engine::Fjall => "fjall",
            Engine::Sqlite => "SQLite",
        })
    }
}

/// Whether it says that the disk is full, and not only that something failed.
pub fn says_full(error: &anyhow::Error) -> bool {
    let full =
        |error: &std::io::Error| error.kind() == std::io::ErrorKind::StorageFull;
    error.chain().any(|cause| {
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            full(error)
        } else if let Some(::redb::Error::Io(error)) = cause.downcast_ref() {
            full(error)
        } else if let Some(error) = cause.downcast_ref::<rusqlite::Error>() {
            error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
        } else {
            matches!(
                cause.downcast_ref(),
                Some(::fjall::Error::Io(error)) if full(error)
            )
        }
    })
}

/// The event that has this id in every store: from 80 to 200 bytes as they go to a reader.
pub fn event(id: u64) -> Event {
    let mut random = Random(id);
    let mut key = Key::default();
    key[..8].copy_from_slice(&random.next().to_be_bytes());
    key[8..].copy_from_slice(&random.next().to_be_bytes());
    let mut bytes = format!("id: {id}\nevent: message\ndata: {{\"text\":\"");
    let length = 80 + random.below(121) as usize;
    while bytes.len() + 4 < length {
        bytes.push(char::from(b'a' + random.below(26) as u8));
    }
    bytes += "\"}\n\n";
    Event { key, bytes: bytes.into_bytes() }
}

pub fn events(ids: std::ops::Range<u64>) -> Vec<Event> {
    ids.map(event).collect()
}

/// SplitMix64, seeded so that each run does the same.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What was found in a store that should hold the events 1 to `n`.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Whole,
    /// The first so many and nothing else, as if the others had never been.
    Fewer(u64),
    /// A checksum in each record or the dense ids would tell.
    Changed,
    /// The events are there, but not each key leads to its own.
    KeyLost,
}

pub fn look(reader: &mut dyn Reader, n: u64) -> Result<Found> {
    let mut next = 1;
    let mut changed = false;
    loop {
        let from = next;
        reader.page(from, &mut |id, bytes| {
            changed |= id != next || bytes != event(id).bytes;
            next += 1;
        })?;
        if changed || next > n + 1 {
            return Ok(Found::Changed);
        }
        if next == from {
            break;
        }
    }
    if next != n + 1 {
        return Ok(Found::Fewer(next - 1));
    }
    for id in 1..=n {
        if reader.id(&event(id).key)? != Some(id) {
            return Ok(Found::KeyLost);
        }
    }
    Ok(Found::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_returns_what_it_was_given_also_after_a_restart() {
        for engine in ALL {
            let folder = tempfile::tempdir().unwrap();
            let store = engine.open(folder.path(), Check::None).unwrap();
            for first in (1..2000).step_by(100) {
                store.commit(first, &events(first..first + 100), 0).unwrap();
            }
            let mut reader = store.reader().unwrap();
            assert_eq!(look(&mut *reader, 2000).unwrap(), Found::Whole, "{engine}");
            drop(reader);
            store.close().unwrap();
            for check in engine.checks() {
                let store = engine.open(folder.path(), *check).unwrap();
                let mut reader = store.reader().unwrap();
                assert_eq!(
                    look(&mut *reader, 2000).unwrap(),
                    Found::Whole,
                    "{engine}"
                );
                drop(reader);
                store.close().unwrap();
            }
        }
    }

    #[test]
    fn every_engine_deletes_the_oldest_with_their_keys() {
        for engine in ALL {
            let folder = tempfile::tempdir().unwrap();
            let store = engine.open(folder.path(), Check::None).unwrap();
            store.commit(1, &events(1..501), 0).unwrap();
            store.commit(501, &events(501..601), 101).unwrap();
            let mut reader = store.reader().unwrap();
            assert_eq!(reader.bounds().unwrap(), Some((101, 600)), "{engine}");
            assert_eq!(reader.id(&event(100).key).unwrap(), None, "{engine}");
            assert_eq!(reader.id(&event(101).key).unwrap(), Some(101), "{engine}");
            let mut ids = Vec::new();
            reader.page(1, &mut |id, _| ids.push(id)).unwrap();
            assert_eq!(ids, (101..501).collect::<Vec<_>>(), "{engine}");
            drop(reader);
            store.close().unwrap();
        }
    }
}
