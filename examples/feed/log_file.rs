//! The file of the log: its tables, how it is opened and checked, and how it is opened again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};
use redb::{TableDefinition, WriteTransaction};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::log::{Event, Failure, Id};
use super::store::MAX_READS;

/// Bytes of the file in memory, at most.
const CACHE: usize = 64 << 20;

pub type Key = (u64, u64);

/// Type, data and idempotency key by ID.
pub const EVENTS: TableDefinition<Key, (&str, &str, Option<&str>)> =
    TableDefinition::new("events");
/// IDs by idempotency key.
pub const KEYS: TableDefinition<&str, Key> = TableDefinition::new("keys");
/// The `version` of these tables, and how many events have been `removed`.
pub const FEED: TableDefinition<&str, u64> = TableDefinition::new("feed");
const VERSION: u64 = 1;

/// The file, which has to be opened again after a write has failed.
pub struct LogFile {
    path: PathBuf,
    database: RwLock<Option<Database>>,
    turns: Arc<Semaphore>,
}

impl LogFile {
    /// Opens the log in this folder, and returns it with the newest ID in it.
    pub fn open(dir: &Path) -> Result<(Arc<Self>, Id), String> {
        let path = dir.join("feed.redb");
        let fault = |why: redb::Error| {
            let why = say(&why);
            format!("cannot use {}: {why}; it is not overwritten", path.display())
        };
        create_dir(dir).map_err(|why| format!("{}: {why}", dir.display()))?;
        let database = open(&path).map_err(fault)?;
        let newest = (|| newest(&database.begin_read()?))().map_err(fault)?;
        let database = RwLock::new(Some(database));
        let turns = Arc::new(Semaphore::new(MAX_READS));
        Ok((Arc::new(Self { path, database, turns }), newest))
    }

    /// Reads on a thread where waiting for the disk stops no stream. The thread has a turn
    /// until it has read, though whoever asked may be gone.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let file = self.clone();
        let turn = self.turns.clone().acquire_owned().await;
        let read = spawn_blocking(move || {
            let _turn = turn;
            let database = file.database.read();
            let database = database.as_ref().ok_or_else(closed)?;
            read(&database.begin_read()?)
        });
        let read =
            read.await.map_err(|error| Failure::Unavailable(error.to_string()))?;
        read.map_err(|error| failure(&error))
    }

    pub fn begin_write(&self) -> Result<WriteTransaction, redb::Error> {
        let database = self.database.read();
        Ok(database.as_ref().ok_or_else(closed)?.begin_write()?)
    }

    /// After a failure, redb refuses to write until the file is opened again. Returns the
    /// newest ID in it: a write that failed may have been stored all the same.
    pub fn reopen(&self) -> Result<Id, redb::Error> {
        let mut database = self.database.write();
        *database = None; // closes it: nobody else can have it open
        newest(&database.insert(open(&self.path)?).begin_read()?)
    }
}

fn closed() -> redb::Error {
    redb::Error::DatabaseClosed
}

pub fn failure(error: &redb::Error) -> Failure {
    match error {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
            Failure::Full("the disk is full".into())
        }
        error => Failure::Unavailable(say(error)),
    }
}

/// Says an error in our words, where there are better ones than redb's.
fn say(error: &redb::Error) -> String {
    match error {
        redb::Error::DatabaseAlreadyOpen => "another process uses it".into(),
        error => error.to_string(),
    }
}

/// Opens a log, or makes a new one where there is no file. Every page has a checksum. All of
/// them are checked, so that a damaged page is refused at the start instead of being sent to
/// readers.
fn open(path: &Path) -> Result<Database, redb::Error> {
    if !path.try_exists()? {
        create(path)?;
    }
    let database = Database::builder()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true)
        .open(path)?;
    let version = database.begin_read()?.open_table(FEED)?.get("version")?;
    match version.map(|version| version.value()) {
        Some(VERSION) => Ok(database),
        other => Err(redb::Error::Corrupted(format!("a log of version {other:?}"))),
    }
}

/// Makes the file under another name first: a file that has the right name is complete.
fn create(path: &Path) -> Result<(), redb::Error> {
    let new = path.with_extension("new");
    if new.try_exists()? {
        fs::remove_file(&new)?; // from a start that was killed
    }
    let database = Database::create(&new)?;
    let log = database.begin_write()?;
    log.open_table(FEED)?.insert("version", VERSION)?;
    log.open_table(EVENTS)?;
    log.open_table(KEYS)?;
    log.commit()?;
    database.close()?;
    fs::rename(&new, path)?;
    Ok(sync_parent(path)?)
}

/// Makes a folder, and those that it is in.
fn create_dir(dir: &Path) -> io::Result<()> {
    let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let missing: Vec<_> = dir.ancestors().take_while(is_missing).collect();
    fs::create_dir_all(dir)?;
    missing.into_iter().try_for_each(sync_parent)
}

/// Returns when the name of a new file or folder is on the disk, too.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if cfg!(unix) {
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn newest(log: &ReadTransaction) -> Result<Id, redb::Error> {
    let newest = log.open_table(EVENTS)?.last()?.map(|(id, _)| to_id(id.value()));
    Ok(newest.unwrap_or_default())
}

pub fn to_id((ms, n): Key) -> Id {
    Id { ms, n }
}

pub fn to_event((event_type, data, _): (&str, &str, Option<&str>)) -> Event {
    Event { event_type: event_type.into(), data: data.into() }
}
