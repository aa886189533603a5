//! The log in a file of this machine, for one server: SQLite.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel,
};
use std::thread;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction,
};
use rusqlite::{TransactionBehavior, named_params, params};
use tokio::{sync::oneshot, task::spawn_blocking};

use crate::log::{Event, Failure, Found, Id, Tail};
use crate::{PAGE, Retention};

/// Writes that wait for the disk, 128 MiB at most. When there are more, it is too slow.
const MAX_WAITING: usize = 4_096;
/// Events that are stored together: the disk is asked once for all of them.
const GROUP: usize = 1_024;
/// Old events that are removed at a time, so that nobody waits long for it.
const SWEEP: usize = 2 * GROUP;
/// How often what is too old is looked for when nothing is written.
const REST: Duration = Duration::from_secs(1);

/// What stands in a file of this program, where SQLite has a place for it: `feed`, 1.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"feed");
const VERSION: i32 = 1;

// ANCHOR: schema
const SCHEMA: &str = "
    CREATE TABLE events (
        place INTEGER PRIMARY KEY,
        ms INTEGER NOT NULL, n INTEGER NOT NULL,
        type TEXT NOT NULL, data TEXT NOT NULL,
        key TEXT UNIQUE,
        UNIQUE (ms, n)
    ) STRICT;";
/// Each commit is synced to disk before it returns. Readers go on meanwhile.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;";
// ANCHOR_END: schema

pub struct Disk {
    writes: SyncSender<Write>,
    readers: Arc<Readers>,
}

struct Write {
    event: Event,
    key: Option<String>,
    stored: oneshot::Sender<Result<Id, Failure>>,
}

impl Disk {
    pub fn open(
        dir: &Path,
        retention: Retention,
    ) -> Result<(Self, Arc<Tail>), String> {
        let path = dir.join("feed.sqlite");
        let opened = Writer::open(&path, retention);
        let (writer, tail) =
            opened.map_err(|why| format!("{}: {why}", path.display()))?;
        let (writes, requests) = sync_channel(MAX_WAITING);
        thread::Builder::new()
            .name("writer".into())
            .spawn(move || writer.run(&requests))
            .map_err(|error| error.to_string())?;
        let readers = Arc::new(Readers { path, idle: Mutex::default() });
        Ok((Self { writes, readers }, tail))
    }

    pub async fn append(
        &self,
        event: Event,
        key: Option<String>,
    ) -> Result<Id, Failure> {
        let (stored, answer) = oneshot::channel();
        self.writes.try_send(Write { event, key, stored }).map_err(|error| {
            Failure::Unavailable(match error {
                TrySendError::Full(_) => {
                    "the disk is too slow; nothing was stored".into()
                }
                TrySendError::Disconnected(_) => "the writer has ended".into(),
            })
        })?;
        let ended = || Failure::Unavailable("the writer has ended".into());
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    pub async fn get(&self, id: Id) -> Result<Option<Event>, Failure> {
        self.readers.read(move |connection| event(connection, id)).await
    }

    // ANCHOR: after
    /// One statement reads the event itself and what follows it: so they are both there at
    /// one time, or what lies between may have been removed.
    pub async fn after(&self, after: Id) -> Result<Found, Failure> {
        self.readers
            .read(move |connection| {
                let mut select = connection.prepare_cached(
                    "SELECT ms, n, type, data, place FROM events WHERE place >= (
                        SELECT place FROM events WHERE (ms, n) >= (?, ?)
                        ORDER BY ms, n LIMIT 1
                     ) ORDER BY place LIMIT ?",
                )?;
                let (ms, n) = numbers(after);
                let mut rows = select.query(params![ms, n, PAGE as i64 + 1])?;
                // The newest event is never removed, so a log without events is new.
                let (mut is_known, mut events) =
                    (after == Id::default(), Vec::new());
                while let Some(row) = rows.next()? {
                    let id = id(row)?;
                    if events.is_empty() {
                        let is_first = row.get::<_, i64>("place")? == 1;
                        is_known = is_known && is_first
                            || id == after
                            || id == after.next();
                    }
                    events.push((id, to_event(row)?.encode(id)));
                }
                if !is_known {
                    return Ok(Found::Nothing { kept_after: start(connection)? });
                }
                events.retain(|(id, _)| *id != after);
                Ok(Found::Events(events))
            })
            .await
    }
    // ANCHOR_END: after

    /// The ID right before the oldest event that is kept.
    pub async fn start(&self) -> Result<Id, Failure> {
        self.readers.read(start).await
    }
}

fn newest(connection: &Connection) -> rusqlite::Result<Id> {
    end(connection, "SELECT ms, n FROM events ORDER BY place DESC LIMIT 1")
}

fn start(connection: &Connection) -> rusqlite::Result<Id> {
    let oldest = end(connection, "SELECT ms, n FROM events ORDER BY place LIMIT 1")?;
    Ok(if oldest == Id::default() { oldest } else { oldest.previous() })
}

fn end(connection: &Connection, select: &str) -> rusqlite::Result<Id> {
    let end = connection.prepare_cached(select)?.query_row([], id).optional()?;
    Ok(end.unwrap_or_default())
}

fn event(connection: &Connection, id: Id) -> rusqlite::Result<Option<Event>> {
    let select = "SELECT type, data FROM events WHERE (ms, n) = (?, ?)";
    connection.prepare_cached(select)?.query_row(numbers(id), to_event).optional()
}

fn to_event(row: &Row) -> rusqlite::Result<Event> {
    Ok(Event { event_type: row.get("type")?, data: row.get("data")? })
}

fn id(row: &Row) -> rusqlite::Result<Id> {
    let number = |name| row.get(name).map(i64::cast_unsigned);
    Ok(Id { ms: number("ms")?, n: number("n")? })
}

/// As SQLite has them, with a sign. IDs that are larger are no events of this log.
fn numbers(id: Id) -> (i64, i64) {
    let number = |part| i64::try_from(part).unwrap_or(i64::MAX);
    (number(id.ms), number(id.n))
}

// ANCHOR: readers
/// Connections that read, as many as are in use at once.
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Reads on a thread where waiting for the disk stops no stream.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let readers = self.clone();
        let read = spawn_blocking(move || {
            let idle = readers.idle.lock().pop();
            let flags =
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = idle.map_or_else(
                || Connection::open_with_flags(&readers.path, flags),
                Ok,
            )?;
            let read = read(&connection)?;
            readers.idle.lock().push(connection);
            Ok(read)
        });
        let read =
            read.await.map_err(|error| Failure::Unavailable(error.to_string()))?;
        read.map_err(|error| failure(&error))
    }
}
// ANCHOR_END: readers

fn failure(error: &rusqlite::Error) -> Failure {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Failure::Full("the disk is full".into()),
        _ => Failure::Unavailable(error.to_string()),
    }
}

/// The only one that writes, on a thread of its own.
struct Writer {
    connection: Connection,
    retention: Retention,
    tail: Arc<Tail>,
    newest: Id,
    /// Keeps every other process away. It is unlocked when this one ends, however it ends.
    _lock: File,
}

impl Writer {
    // ANCHOR: open
    fn open(
        path: &Path,
        retention: Retention,
    ) -> Result<(Self, Arc<Tail>), Box<dyn std::error::Error>> {
        let dir = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let lock =
            File::options().create(true).append(true).open(dir.join("lock"))?;
        lock.try_lock().map_err(|_| "another process uses it")?;
        if !path.try_exists()? {
            create(path)?;
        }
        let connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let say =
            |pragma| connection.query_row(pragma, [], |row| row.get::<_, i32>(0));
        let (application, version) =
            (say("PRAGMA application_id")?, say("PRAGMA user_version")?);
        if application != APPLICATION_ID {
            return Err("this is not a log of feed; it is left as it is".into());
        }
        if version != VERSION {
            return Err(
                format!("this is a log of another version, {version}").into()
            );
        }
        let found: String =
            connection
                .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            return Err(format!(
                "this log is damaged ({found}); it is left as it is"
            )
            .into());
        }
        connection.execute_batch(SETTINGS)?;
        let newest = newest(&connection)?;
        let tail = Arc::new(Tail::new(newest));
        let writer =
            Self { connection, retention, tail: tail.clone(), newest, _lock: lock };
        Ok((writer, tail))
    }
    // ANCHOR_END: open

    // ANCHOR: run
    fn run(mut self, writes: &Receiver<Write>) {
        loop {
            let first = match writes.recv_timeout(REST) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // What has come while the disk was busy is stored together.
            let group: Vec<Write> =
                first.into_iter().chain(writes.try_iter().take(GROUP)).collect();
            match self.store(&group) {
                Ok(ids) => {
                    for (write, id) in group.into_iter().zip(ids) {
                        drop(write.stored.send(id)); // its client may be gone
                    }
                }
                Err(error) => {
                    tracing::error!("nothing could be stored: {error}");
                    for write in group {
                        drop(write.stored.send(Err(failure(&error))));
                    }
                }
            }
        }
    }
    // ANCHOR_END: run

    // ANCHOR: group
    /// Stores all or none. Readers get them when they are durable, no sooner: what they
    /// have seen must not be gone after a crash, nor its ID be given again.
    fn store(
        &mut self,
        group: &[Write],
    ) -> rusqlite::Result<Vec<Result<Id, Failure>>> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = now.as_millis() as u64;
        let (mut newest, mut new) = (self.newest, Vec::new());
        let mut ids = Vec::with_capacity(group.len());
        for Write { event, key, .. } in group {
            let known =
                key.as_ref().map(|key| known(&transaction, key)).transpose()?;
            ids.push(match known.flatten() {
                Some((id, known)) if known == *event => Ok(id),
                Some(_) => Err(Failure::KeyTaken),
                None => {
                    let first = Id { ms: now, n: 0 };
                    newest = newest.next().max(first);
                    insert(&transaction, newest, event, key.as_deref())?;
                    new.push((newest, event.encode(newest)));
                    Ok(newest)
                }
            });
        }
        sweep(&transaction, self.retention, now)?;
        transaction.commit()?;
        self.newest = newest;
        if !new.is_empty() {
            self.tail.push(new);
        }
        Ok(ids)
    }
    // ANCHOR_END: group
}

/// Made under another name first: what is found under its own name later is complete.
fn create(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    if path.with_extension("sqlite-wal").try_exists()? {
        return Err("it is gone, and its feed.sqlite-wal is still there".into());
    }
    let new = path.with_extension("new");
    if new.try_exists()? {
        fs::remove_file(&new)?; // from a start that was killed
    }
    let connection = Connection::open(&new)?;
    connection.execute_batch(SCHEMA)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.close().map_err(|(_, error)| error)?;
    fs::rename(&new, path)?;
    #[cfg(unix)] // so that the name is on disk, too
    path.parent()
        .map(File::open)
        .transpose()?
        .map(|dir| dir.sync_all())
        .transpose()?;
    Ok(())
}

fn known(
    transaction: &Transaction,
    key: &str,
) -> rusqlite::Result<Option<(Id, Event)>> {
    let select = "SELECT ms, n, type, data FROM events WHERE key = ?";
    let found = |row: &Row| Ok((id(row)?, to_event(row)?));
    transaction.prepare_cached(select)?.query_row([key], found).optional()
}

fn insert(
    transaction: &Transaction,
    id: Id,
    event: &Event,
    key: Option<&str>,
) -> rusqlite::Result<()> {
    let insert =
        "INSERT INTO events (ms, n, type, data, key) VALUES (?, ?, ?, ?, ?)";
    let (ms, n) = numbers(id);
    let values = params![ms, n, event.event_type, event.data, key];
    transaction.prepare_cached(insert)?.execute(values).map(drop)
}

// ANCHOR: sweep
/// Removes what is too much or too old, with its keys. The newest event stays: who has
/// that one has missed nothing.
fn sweep(
    transaction: &Transaction,
    Retention { keep, age }: Retention,
    now: u64,
) -> rusqlite::Result<()> {
    let mut surplus = transaction.prepare_cached(
        "DELETE FROM events WHERE place < (SELECT max(place) FROM events) AND place IN (
            SELECT place FROM events ORDER BY place LIMIT :some
         ) AND (place <= (SELECT max(place) FROM events) - :keep OR ms < :oldest)",
    )?;
    let oldest = now.saturating_sub(age.as_millis() as u64) as i64;
    let (some, keep) = (SWEEP as i64, keep as i64);
    surplus.execute(
        named_params! { ":some": some, ":keep": keep, ":oldest": oldest },
    )?;
    Ok(())
}
// ANCHOR_END: sweep
