//! The log in a file of this machine, for one server: redb.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel,
};
use std::time::{Duration, SystemTime};
use std::{process, thread};

use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction,
};
use tokio::sync::oneshot;

use super::log::{
    Encoded, Event, Failure, Id, MAX_CHUNK, Next, PAGE, Retention, Tail,
};
use super::log_file::{EVENTS, FEED, KEYS, LogFile, failure, to_event, to_id};

/// Writes that wait for the disk, 128 MiB at most. When there are more, the disk is too slow.
const MAX_WAITING: usize = 4_096;
/// Events that are stored together: the disk is asked once for all of them.
const GROUP: usize = 1_024;
/// Old events that are removed at a time, so that no writer waits long for it.
const SWEEP: usize = 2 * GROUP;
/// How long the writer waits for a write before it looks for events that are too old.
const REST: Duration = Duration::from_secs(1);

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
        let (file, newest) = LogFile::open(dir)?;
        let tail = Arc::new(Tail::new(newest, retention.keep));
        let writer =
            Writer { file: file.clone(), retention, tail: tail.clone(), newest };
        let (writes, requests) = sync_channel(MAX_WAITING);
        let run = move || {
            let _ends = EndsProcess;
            writer.run(&requests);
        };
        let thread = thread::Builder::new().name("writer".into()).spawn(run);
        thread
            .map_err(|why| format!("cannot start the thread that writes: {why}"))?;
        Ok((Self { writes, file }, tail))
    }

    pub async fn append(
        &self,
        event: Event,
        key: Option<String>,
    ) -> Result<Id, Failure> {
        let (stored, answer) = oneshot::channel();
        let ended = || Failure::Unavailable("the writer has ended".into());
        let sent = self.writes.try_send(Write { event, key, stored });
        sent.map_err(|why| match why {
            TrySendError::Full(_) => {
                Failure::Unavailable("the disk is too slow".into())
            }
            TrySendError::Disconnected(_) => ended(),
        })?;
        answer.await.map_err(|_| ended())?
    }

    pub async fn get(&self, id: Id) -> Result<Option<Event>, Failure> {
        let get = move |log: &ReadTransaction| {
            let event = log.open_table(EVENTS)?.get((id.ms, id.n))?;
            Ok(event.map(|event| to_event(event.value())))
        };
        self.file.read(get).await
    }

    /// One transaction sees one state of the log: the event itself, and what follows it. If
    /// the event is not there, what lay between may have been removed.
    pub async fn after(&self, last: Id) -> Result<Next<Encoded>, Failure> {
        let after = move |log: &ReadTransaction| {
            let mut events = Vec::new();
            let mut bytes = 0;
            // At the start of a log from which nothing was ever removed, nothing is missing.
            let mut is_known = last == Id::default() && removed(log)? == 0;
            for found in log.open_table(EVENTS)?.range((last.ms, last.n)..)? {
                let (id, event) = found?;
                let id = to_id(id.value());
                is_known |= events.is_empty() && (id == last || id == last.next());
                if !is_known || bytes > MAX_CHUNK || events.len() == PAGE {
                    break;
                }
                if id != last {
                    let event = to_event(event.value()).encode(id);
                    bytes += event.len();
                    events.push((id, event));
                }
            }
            if is_known {
                return Ok(events.into());
            }
            Ok(Next::Gap { resume_after: nearest(log, last)? })
        };
        self.file.read(after).await
    }

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

fn removed(log: &ReadTransaction) -> Result<u64, redb::Error> {
    Ok(log.open_table(FEED)?.get("removed")?.map_or(0, |removed| removed.value()))
}

/// Ends the process when the thread of the writer panics: without it nothing can be stored,
/// and a service manager starts another process.
struct EndsProcess;

impl Drop for EndsProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the thread that writes has failed, so this program ends");
            process::exit(1);
        }
    }
}

/// All writes go through one writer, on a thread of its own.
struct Writer {
    file: Arc<LogFile>,
    retention: Retention,
    tail: Arc<Tail>,
    newest: Id,
}

impl Writer {
    fn run(mut self, writes: &Receiver<Write>) {
        loop {
            let first = match writes.recv_timeout(REST) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // Writes that came while the disk was busy are stored together.
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

    /// Stores all or none of a group. Readers get an event when it is durable, no sooner: an
    /// event that they have seen must not be gone after a crash, nor its ID be given again.
    fn store(
        &mut self,
        group: &[Write],
    ) -> Result<Vec<Result<Id, Failure>>, redb::Error> {
        let log = self.file.begin_write()?;
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = now.as_millis() as u64;
        let mut ids = Vec::with_capacity(group.len());
        let mut new = Vec::new();
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
        // ANCHOR: durable
        log.commit()?; // returns when it is on the disk
        self.newest = newest;
        self.tail.push(new);
        // ANCHOR_END: durable
        if let Some(oldest) = oldest {
            self.tail.forget_before(oldest);
        }
        Ok(ids)
    }
}

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

/// Removes events that are too many or too old, with their keys, and returns the oldest event
/// that is left if it was not the oldest before. The newest event stays: a reader that has
/// that one has missed nothing.
fn sweep(
    log: &WriteTransaction,
    Retention { keep, age }: Retention,
    now: u64,
) -> Result<Option<Id>, redb::Error> {
    let mut events = log.open_table(EVENTS)?;
    let mut keys = log.open_table(KEYS)?;
    let since = now.saturating_sub(age.as_millis() as u64);
    let mut removed = 0;
    while removed < SWEEP as u64 && events.len()? > 1 {
        let Some((id, _)) = events.first()? else { break };
        let is_old = id.value().0 < since;
        drop(id);
        if events.len()? <= keep as u64 && !is_old {
            break;
        }
        // ANCHOR: with_its_key
        if let Some((_, event)) = events.pop_first()?
            && let Some(key) = event.value().2
        {
            keys.remove(key)?;
        }
        // ANCHOR_END: with_its_key
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
