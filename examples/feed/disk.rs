//! The log in a file of this machine, for one server: redb.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};
use redb::{ReadableTableMetadata, TableDefinition, WriteTransaction};
use tokio::{sync::oneshot, task::spawn_blocking};

use super::log::{Event, Failure, Found, Id, Tail};
use super::{MAX_CHUNK, PAGE, Retention};

/// Writes that wait for the disk, 128 MiB at most. When there are more, it is too slow.
const MAX_WAITING: usize = 4_096;
/// Events that are stored together: the disk is asked once for all of them.
const GROUP: usize = 1_024;
/// Old events that are removed at a time, so that nobody waits long for it.
const SWEEP: usize = 2 * GROUP;
/// How often what is too old is looked for when nothing is written.
const REST: Duration = Duration::from_secs(1);
/// Bytes of the file in memory, at most.
const CACHE: usize = 64 << 20;

// ANCHOR: tables
type Key = (u64, u64);

/// Type, data and idempotency key by ID.
const EVENTS: TableDefinition<Key, (&str, &str, Option<&str>)> =
    TableDefinition::new("events");
/// IDs by idempotency key.
const KEYS: TableDefinition<&str, Key> = TableDefinition::new("keys");
/// `version` of all this, and how many events have been `removed`.
const FEED: TableDefinition<&str, u64> = TableDefinition::new("feed");
const VERSION: u64 = 1;
// ANCHOR_END: tables

pub struct Disk {
    writes: SyncSender<Write>,
    file: Arc<LogFile>,
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
        let path = dir.join("feed.redb");
        let fault = |why: redb::Error| {
            let why = say(&why);
            format!("cannot use {}: {why}; it is not overwritten", path.display())
        };
        fs::create_dir_all(dir)
            .map_err(|why| format!("{}: {why}", dir.display()))?;
        let database = open(&path).map_err(fault)?;
        let newest = (|| newest(&database.begin_read()?))().map_err(fault)?;
        let tail = Arc::new(Tail::new(newest, retention.keep));
        let file = Arc::new(LogFile { path, database: RwLock::new(Some(database)) });
        let writer =
            Writer { file: file.clone(), retention, tail: tail.clone(), newest };
        let (writes, requests) = sync_channel(MAX_WAITING);
        thread::spawn(move || writer.run(&requests));
        Ok((Self { writes, file }, tail))
    }

    // ANCHOR: append
    pub async fn append(
        &self,
        event: Event,
        key: Option<String>,
    ) -> Result<Id, Failure> {
        let (stored, answer) = oneshot::channel();
        let slow = |_| Failure::Unavailable("the disk is too slow".into());
        self.writes.try_send(Write { event, key, stored }).map_err(slow)?;
        let ended = |_| Failure::Unavailable("the writer has ended".into());
        answer.await.map_err(ended)?
    }
    // ANCHOR_END: append

    pub async fn get(&self, id: Id) -> Result<Option<Event>, Failure> {
        let get = move |log: &ReadTransaction| {
            let event = log.open_table(EVENTS)?.get((id.ms, id.n))?;
            Ok(event.map(|event| to_event(event.value())))
        };
        self.file.read(get).await
    }

    // ANCHOR: after
    /// A transaction sees one state of the log: the event itself, and what follows it. If
    /// it is not there, what lay between may have been removed.
    pub async fn after(&self, after: Id) -> Result<Found, Failure> {
        let after = move |log: &ReadTransaction| {
            let (mut events, mut bytes) = (Vec::new(), 0);
            // At the start of a log from which nothing was ever removed, nothing is missing.
            let mut is_known = after == Id::default() && removed(log)? == 0;
            for found in log.open_table(EVENTS)?.range((after.ms, after.n)..)? {
                let (id, event) = found?;
                let id = to_id(id.value());
                is_known |= events.is_empty() && (id == after || id == after.next());
                if !is_known || bytes > MAX_CHUNK || events.len() == PAGE {
                    break;
                }
                if id != after {
                    let event = to_event(event.value()).encode(id);
                    bytes += event.len();
                    events.push((id, event));
                }
            }
            if is_known {
                return Ok(Found::Events(events));
            }
            Ok(Found::Nothing { kept_after: nearest(log, after)? })
        };
        self.file.read(after).await
    }
    // ANCHOR_END: after

    /// The ID right before the oldest event that is kept.
    pub async fn start(&self) -> Result<Id, Failure> {
        self.file.read(start).await
    }
}

fn start(log: &ReadTransaction) -> Result<Id, redb::Error> {
    let oldest = log.open_table(EVENTS)?.first()?.map(|(id, _)| to_id(id.value()));
    Ok(oldest.map_or(Id::default(), Id::previous))
}

/// The newest event that is no newer than this ID, or else the start.
fn nearest(log: &ReadTransaction, id: Id) -> Result<Id, redb::Error> {
    let events = log.open_table(EVENTS)?;
    match events.range(..=(id.ms, id.n))?.next_back().transpose()? {
        Some((id, _)) => Ok(to_id(id.value())),
        None => start(log),
    }
}

fn newest(log: &ReadTransaction) -> Result<Id, redb::Error> {
    let newest = log.open_table(EVENTS)?.last()?.map(|(id, _)| to_id(id.value()));
    Ok(newest.unwrap_or_default())
}

fn removed(log: &ReadTransaction) -> Result<u64, redb::Error> {
    Ok(log.open_table(FEED)?.get("removed")?.map_or(0, |removed| removed.value()))
}

fn to_id((ms, n): Key) -> Id {
    Id { ms, n }
}

fn to_event((event_type, data, _): (&str, &str, Option<&str>)) -> Event {
    Event { event_type: event_type.into(), data: data.into() }
}

/// The file, which has to be opened again after a write has failed.
struct LogFile {
    path: PathBuf,
    database: RwLock<Option<Database>>,
}

impl LogFile {
    /// Reads on a thread where waiting for the disk stops no stream.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let file = self.clone();
        let read = spawn_blocking(move || {
            let database = file.database.read();
            let database = database.as_ref().ok_or_else(closed)?;
            read(&database.begin_read()?)
        });
        let read =
            read.await.map_err(|error| Failure::Unavailable(error.to_string()))?;
        read.map_err(|error| failure(&error))
    }

    /// After a failure, redb refuses to write until the file is opened again. Returns the
    /// newest ID in it: what failed may have been stored all the same.
    fn reopen(&self) -> Result<Id, redb::Error> {
        let mut database = self.database.write();
        *database = None; // closes it: nobody else can have it open
        newest(&database.insert(open(&self.path)?).begin_read()?)
    }
}

fn closed() -> redb::Error {
    redb::Error::DatabaseClosed
}

fn failure(error: &redb::Error) -> Failure {
    match error {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
            Failure::Full("the disk is full".into())
        }
        error => Failure::Unavailable(say(error)),
    }
}

/// In our words, where there are better ones than redb's.
fn say(error: &redb::Error) -> String {
    match error {
        redb::Error::DatabaseAlreadyOpen => "another process uses it".into(),
        error => error.to_string(),
    }
}

// ANCHOR: open
/// Opens a log, or makes a new one where there is no file. Every page has a checksum: all
/// of them are looked at, so that nobody reads what was never written.
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

/// Made under another name first: what is found under its own name later is complete.
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
    #[cfg(unix)] // so that its name is on the disk, too
    path.parent()
        .map(File::open)
        .transpose()?
        .map_or(Ok(()), |dir| dir.sync_all())?;
    Ok(())
}
// ANCHOR_END: open

/// The only one that writes, on a thread of its own.
struct Writer {
    file: Arc<LogFile>,
    retention: Retention,
    tail: Arc<Tail>,
    newest: Id,
}

impl Writer {
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
                first.into_iter().chain(writes.try_iter().take(GROUP - 1)).collect();
            match self.store(&group) {
                Ok(ids) => {
                    for (write, id) in group.into_iter().zip(ids) {
                        drop(write.stored.send(id)); // its client may be gone
                    }
                }
                Err(error) => {
                    tracing::error!("not known to be stored: {error}");
                    match self.file.reopen() {
                        Ok(newest) => {
                            self.newest = newest;
                            self.tail.restart(newest); // readers look into the file
                        }
                        Err(error) => {
                            tracing::error!("cannot open the log: {error}")
                        }
                    }
                    for write in group {
                        drop(write.stored.send(Err(failure(&error))));
                    }
                }
            }
        }
    }
    // ANCHOR_END: run

    // ANCHOR: store
    /// Stores all or none. Readers get them when they are durable, no sooner: what they
    /// have seen must not be gone after a crash, nor its ID be given again.
    fn store(
        &mut self,
        group: &[Write],
    ) -> Result<Vec<Result<Id, Failure>>, redb::Error> {
        let database = self.file.database.read();
        let log = database.as_ref().ok_or_else(closed)?.begin_write()?;
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = now.as_millis() as u64;
        let (mut ids, mut new) = (Vec::with_capacity(group.len()), Vec::new());
        let mut newest = self.newest;
        for Write { event, key, .. } in group {
            let key = key.as_deref();
            ids.push(match known(&log, key)? {
                Some((id, known)) if known == *event => Ok(id),
                Some(_) => Err(Failure::KeyTaken),
                None => {
                    newest = newest.next().max(Id { ms: now, n: 0 });
                    insert(&log, newest, event, key)?;
                    new.push((newest, event.encode(newest)));
                    Ok(newest)
                }
            });
        }
        let oldest = sweep(&log, self.retention, now)?;
        if new.is_empty() && oldest.is_none() {
            return Ok(ids); // without a commit, it is as if nothing had happened
        }
        log.commit()?; // returns when it is on the disk
        self.newest = newest;
        self.tail.push(new);
        if let Some(oldest) = oldest {
            self.tail.forget_before(oldest);
        }
        Ok(ids)
    }
    // ANCHOR_END: store
}

// ANCHOR: known
/// The event that has this idempotency key.
fn known(
    log: &WriteTransaction,
    key: Option<&str>,
) -> Result<Option<(Id, Event)>, redb::Error> {
    let Some(key) = key else { return Ok(None) };
    let Some(id) = log.open_table(KEYS)?.get(key)?.map(|id| id.value()) else {
        return Ok(None);
    };
    let event =
        log.open_table(EVENTS)?.get(id)?.map(|event| to_event(event.value()));
    Ok(event.map(|event| (to_id(id), event)))
}
// ANCHOR_END: known

fn insert(
    log: &WriteTransaction,
    id: Id,
    Event { event_type, data }: &Event,
    key: Option<&str>,
) -> Result<(), redb::Error> {
    let id = (id.ms, id.n);
    log.open_table(EVENTS)?.insert(id, (event_type.as_str(), data.as_str(), key))?;
    if let Some(key) = key {
        log.open_table(KEYS)?.insert(key, id)?;
    }
    Ok(())
}

// ANCHOR: sweep
/// Removes what is too much or too old, with its key, and returns the oldest event that is
/// left if it was not the oldest before. The newest event stays: who has that one has missed
/// nothing.
fn sweep(
    log: &WriteTransaction,
    Retention { keep, age }: Retention,
    now: u64,
) -> Result<Option<Id>, redb::Error> {
    let (mut events, mut keys) = (log.open_table(EVENTS)?, log.open_table(KEYS)?);
    let since = now.saturating_sub(age.as_millis() as u64);
    let mut removed = 0;
    while removed < SWEEP as u64 && events.len()? > 1 {
        let Some((id, _)) = events.first()? else { break };
        let is_old = id.value().0 < since;
        drop(id);
        if events.len()? <= keep as u64 && !is_old {
            break;
        }
        if let Some((_, event)) = events.pop_first()?
            && let Some(key) = event.value().2
        {
            keys.remove(key)?;
        }
        removed += 1;
    }
    if removed == 0 {
        return Ok(None);
    }
    let mut feed = log.open_table(FEED)?;
    let before = feed.get("removed")?.map_or(0, |removed| removed.value());
    feed.insert("removed", before + removed)?;
    Ok(events.first()?.map(|(id, _)| to_id(id.value())))
}
// ANCHOR_END: sweep
