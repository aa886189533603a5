//! SQLite with a write-ahead log, through rusqlite.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Check, Event, Key, PAGE, Reader, Store};

pub struct Sqlite {
    path: PathBuf,
    writer: Mutex<Connection>,
}

/// FULL syncs the log at each commit; NORMAL would leave that to the checkpoints.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cell_size_check = ON;
    PRAGMA busy_timeout = 5000;
";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE,
        bytes BLOB NOT NULL
    ) STRICT;
";

impl Sqlite {
    pub fn open(folder: &Path, check: Check) -> Result<Sqlite> {
        let path = folder.join("store.sqlite");
        let writer = Connection::open(&path)?;
        writer.execute_batch(SETTINGS)?;
        let check = match check {
            Check::None => None,
            Check::Quick => Some("PRAGMA quick_check(1)"),
            Check::Full => Some("PRAGMA integrity_check(1)"),
        };
        if let Some(check) = check {
            let said: String = writer.query_row(check, [], |row| row.get(0))?;
            ensure!(said == "ok", "{said}");
        }
        writer.execute_batch(SCHEMA)?;
        Ok(Sqlite { path, writer: Mutex::new(writer) })
    }
}

impl Store for Sqlite {
    fn commit(&self, first: u64, events: &[Event], keep: u64) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = writer.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO events (id, key, bytes) VALUES (?, ?, ?)",
            )?;
            for (id, event) in (first..).zip(events) {
                insert.execute(params![id.cast_signed(), event.key, event.bytes])?;
            }
            if keep > 0 {
                transaction
                    .prepare_cached("DELETE FROM events WHERE id < ?")?
                    .execute([keep.cast_signed()])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        let connection = Connection::open(&self.path)?;
        connection.execute_batch(
            "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; \
             PRAGMA cell_size_check = ON",
        )?;
        Ok(Box::new(SqliteReader(connection)))
    }

    fn close(self: Box<Self>) -> Result<()> {
        let writer = self.writer.into_inner().ok().context("poisoned")?;
        writer.close().map_err(|(_, error)| error.into())
    }
}

struct SqliteReader(Connection);

impl Reader for SqliteReader {
    fn bounds(&mut self) -> Result<Option<(u64, u64)>> {
        let ends = |row: &rusqlite::Row| {
            Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
        };
        let ends = self.0.query_row(
            "SELECT (SELECT min(id) FROM events), (SELECT max(id) FROM events)",
            [],
            ends,
        )?;
        Ok(ends.0.zip(ends.1).map(|(a, b)| (a.cast_unsigned(), b.cast_unsigned())))
    }

    fn page(&mut self, from: u64, each: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let mut select = self.0.prepare_cached(
            "SELECT id, bytes FROM events WHERE id >= ? ORDER BY id LIMIT ?",
        )?;
        let mut rows = select.query(params![from.cast_signed(), PAGE as i64])?;
        while let Some(row) = rows.next()? {
            each(row.get::<_, i64>(0)?.cast_unsigned(), row.get_ref(1)?.as_blob()?);
        }
        Ok(())
    }

    fn id(&mut self, key: &Key) -> Result<Option<u64>> {
        let mut select =
            self.0.prepare_cached("SELECT id FROM events WHERE key = ?")?;
        let id = select.query_row([key], |row| row.get::<_, i64>(0)).optional()?;
        Ok(id.map(i64::cast_unsigned))
    }
}
