//! redb: a B-tree in one file, each commit to new pages.

use std::path::Path;
use std::sync::Arc;

use ::redb::{
    Builder, Database, Error, ReadableDatabase, ReadableTable, TableDefinition,
};
use anyhow::Result;

use super::{Check, Event, Key, PAGE, Reader, Store};

const CACHE: usize = 64 << 20;

/// A key and its event's bytes by id.
const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
const KEYS: TableDefinition<&Key, u64> = TableDefinition::new("keys");

pub struct Redb {
    database: Arc<Database>,
    quick: bool,
}

impl Redb {
    pub fn open(folder: &Path, check: Check, quick: bool) -> Result<Redb> {
        Ok(Redb::create(folder, check, quick)?)
    }

    fn create(folder: &Path, check: Check, quick: bool) -> Result<Redb, Error> {
        let database = Builder::new()
            .set_cache_size(CACHE)
            .set_check_integrity_on_open(check == Check::Full)
            .create(folder.join("store.redb"))?;
        // Readers find no table otherwise.
        let has_tables = {
            let transaction = database.begin_read()?;
            transaction.open_table(EVENTS).is_ok()
                && transaction.open_table(KEYS).is_ok()
        };
        if !has_tables {
            let transaction = database.begin_write()?;
            transaction.open_table(EVENTS)?;
            transaction.open_table(KEYS)?;
            transaction.commit()?;
        }
        Ok(Redb { database: Arc::new(database), quick })
    }

    fn write(&self, first: u64, new: &[Event], keep: u64) -> Result<(), Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_quick_repair(self.quick);
        {
            let mut events = transaction.open_table(EVENTS)?;
            let mut keys = transaction.open_table(KEYS)?;
            let mut value = Vec::new();
            for (id, event) in (first..).zip(new) {
                value.clear();
                value.extend_from_slice(&event.key);
                value.extend_from_slice(&event.bytes);
                events.insert(id, value.as_slice())?;
                keys.insert(&event.key, id)?;
            }
            if keep > 0 {
                for old in events.extract_from_if(..keep, |_, _| true)? {
                    if let Some(key) = old?.1.value().first_chunk() {
                        keys.remove(key)?;
                    }
                }
            }
        }
        Ok(transaction.commit()?)
    }
}

impl Store for Redb {
    fn commit(&self, first: u64, events: &[Event], keep: u64) -> Result<()> {
        Ok(self.write(first, events, keep)?)
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        Ok(Box::new(RedbReader(self.database.clone())))
    }

    fn close(self: Box<Self>) -> Result<()> {
        match Arc::try_unwrap(self.database) {
            Ok(database) => Ok(database.close().map_err(Error::from)?),
            Err(_) => anyhow::bail!("a reader is left"),
        }
    }
}

struct RedbReader(Arc<Database>);

impl RedbReader {
    fn read(
        &self,
        from: u64,
        each: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<(), Error> {
        let events = self.0.begin_read()?.open_table(EVENTS)?;
        for event in ReadableTable::range(&events, from..)?.take(PAGE) {
            let (id, value) = event?;
            each(id.value(), value.value().get(16..).unwrap_or_default());
        }
        Ok(())
    }

    fn ends(&self) -> Result<Option<(u64, u64)>, Error> {
        let events = self.0.begin_read()?.open_table(EVENTS)?;
        let first = events.first()?.map(|(id, _)| id.value());
        let last = events.last()?.map(|(id, _)| id.value());
        Ok(first.zip(last))
    }

    fn find(&self, key: &Key) -> Result<Option<u64>, Error> {
        let keys = self.0.begin_read()?.open_table(KEYS)?;
        Ok(ReadableTable::get(&keys, key)?.map(|id| id.value()))
    }
}

impl Reader for RedbReader {
    fn bounds(&mut self) -> Result<Option<(u64, u64)>> {
        Ok(self.ends()?)
    }

    fn page(&mut self, from: u64, each: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        Ok(self.read(from, each)?)
    }

    fn id(&mut self, key: &Key) -> Result<Option<u64>> {
        Ok(self.find(key)?)
    }
}
