//! fjall: a log-structured merge tree in a folder.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use anyhow::{Context, Result};

use super::{Event, Key, PAGE, Reader, Store};

pub struct Fjall {
    database: Database,
    tables: Tables,
}

#[derive(Clone)]
struct Tables {
    /// A key and its event's bytes by id, big-endian because it sorts by bytes.
    events: Keyspace,
    keys: Keyspace,
    /// A reader that begins below it would step over each deleted one.
    oldest: Arc<AtomicU64>,
}

fn id(bytes: &[u8]) -> Result<u64> {
    Ok(u64::from_be_bytes(bytes.try_into().context("an id of 8 bytes")?))
}

impl Fjall {
    pub fn open(folder: &Path) -> Result<Fjall> {
        let database = Database::builder(folder).open()?;
        let events = database.keyspace("events", KeyspaceCreateOptions::default)?;
        let keys = database.keyspace("keys", KeyspaceCreateOptions::default)?;
        let oldest = match events.first_key_value() {
            Some(first) => id(&first.key()?)?,
            None => 1,
        };
        let oldest = Arc::new(AtomicU64::new(oldest));
        Ok(Fjall { database, tables: Tables { events, keys, oldest } })
    }
}

impl Store for Fjall {
    fn commit(&self, first: u64, events: &[Event], keep: u64) -> Result<()> {
        let tables = &self.tables;
        let mut batch =
            self.database.batch().durability(Some(PersistMode::SyncData));
        for (id, event) in (first..).zip(events) {
            let id = id.to_be_bytes();
            let value = [event.key.as_slice(), &event.bytes].concat();
            batch.insert(&tables.events, id, value);
            batch.insert(&tables.keys, event.key, id);
        }
        for id in tables.oldest.load(Relaxed)..keep {
            let id = id.to_be_bytes();
            if let Some(value) = tables.events.get(id)? {
                batch.remove(&tables.keys, value.get(..16).context("a key")?);
            }
            batch.remove(&tables.events, id);
        }
        batch.commit()?;
        tables.oldest.fetch_max(keep, Relaxed);
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        Ok(Box::new(self.tables.clone()))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}

impl Reader for Tables {
    fn bounds(&mut self) -> Result<Option<(u64, u64)>> {
        let first = self.events.first_key_value();
        let last = self.events.last_key_value();
        let Some((first, last)) = first.zip(last) else { return Ok(None) };
        Ok(Some((id(&first.key()?)?, id(&last.key()?)?)))
    }

    fn page(&mut self, from: u64, each: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let from = from.max(self.oldest.load(Relaxed)).to_be_bytes();
        for event in self.events.range(from..).take(PAGE) {
            let (key, value) = event.into_inner()?;
            each(id(&key)?, value.get(16..).unwrap_or_default());
        }
        Ok(())
    }

    fn id(&mut self, key: &Key) -> Result<Option<u64>> {
        self.keys.get(key)?.map(|bytes| id(&bytes)).transpose()
    }
}
