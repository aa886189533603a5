//! The log in Redis, for any number of servers: one Redis Stream, whose IDs are the IDs
//! of the events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Script, cmd};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::log::{
    Encoded, Event, Failure, Id, MAX_CHUNK, Next, PAGE, Retention, Tail,
};
use super::redis_connections::{BLOCK, Connections, STREAM};
use super::store::MAX_READS;

/// IDs by idempotency key, and the same in the order in which they came: ID, key, ID, key.
/// The word in braces is that of `STREAM`, so a cluster of Redis would keep all three on one
/// node, and one script may touch them.
const KEYS: &str = "{feed}:keys";
const KEY_ORDER: &str = "{feed}:keys-in-order";

/// The pause after a failure. It doubles with each further failure, up to `MAX_PAUSE`.
const PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// How often the server looks for events that are too old.
const SWEEP: Duration = Duration::from_secs(10);

pub struct RedisStreams {
    redis: Connections,
    append: Script,
    read: Script,
    retention: Retention,
    turns: Semaphore,
}

type Entry = (String, Vec<(String, Vec<u8>)>);

impl RedisStreams {
    /// Connects, and keeps the tail up to date from now on.
    pub async fn open(
        url: &str,
        retention: Retention,
    ) -> Result<(Arc<Self>, Arc<Tail>), String> {
        let redis = Connections::new(url)?;
        let addr = redis.addr();
        let append = Script::new(include_str!("append.lua"));
        let read = Script::new(include_str!("page.lua"));
        let turns = Semaphore::new(MAX_READS);
        let store = Arc::new(Self { redis, append, read, retention, turns });
        let opened = async {
            let blocking = store.redis.connect().await?;
            Ok((blocking, store.newest().await?))
        };
        let (blocking, newest) = opened.await.map_err(|failure: Failure| {
            format!("cannot use Redis at {addr}: {failure}")
        })?;
        let tail = Arc::new(Tail::new(newest, retention.keep));
        store.redis.say_what_lasts(&addr).await;
        tokio::spawn(store.clone().follow(blocking, tail.clone()));
        tokio::spawn(store.clone().sweep(tail.clone()));
        Ok((store, tail))
    }

    /// Keeps the one connection of this server that waits for events. All readers share it.
    async fn follow(
        self: Arc<Self>,
        mut blocking: MultiplexedConnection,
        tail: Arc<Tail>,
    ) {
        let mut pause = PAUSE;
        loop {
            let connected = Instant::now();
            let lost = self.read(&mut blocking, &tail).await;
            self.redis.give_up(&lost);
            tracing::warn!("Redis is lost: {lost}");
            if connected.elapsed() > MAX_PAUSE {
                pause = PAUSE;
            }
            // ANCHOR: again
            blocking = loop {
                sleep(pause).await;
                pause = MAX_PAUSE.min(2 * pause);
                match self.redis.connect().await {
                    Ok(blocking) => break blocking,
                    Err(failure) => self.redis.give_up(&failure),
                }
            };
            // ANCHOR_END: again
            if self.redis.shared().is_ok_and(|shared| !shared.is_replica) {
                tracing::info!("Redis is back");
            }
            tail.wake(); // for readers that wait for the store
        }
    }

    /// Reads new events into the tail, until one of the connections fails.
    async fn read(
        &self,
        blocking: &mut MultiplexedConnection,
        tail: &Tail,
    ) -> Failure {
        // ANCHOR: read
        let mut read = async || -> Result<Infallible, Failure> {
            loop {
                let newest = tail.newest();
                // XREAD only wakes us. We do not use its reply, which may begin after a gap;
                // `after` checks for one.
                // ANCHOR: bell
                let mut bell = cmd("XREAD");
                bell.arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK.as_millis() as u64);
                bell.arg("STREAMS").arg(STREAM).arg(newest.to_string());
                bell.exec_async(blocking).await?;
                // ANCHOR_END: bell
                match self.page(newest).await? {
                    Next::Events(events) => tail.push(events),
                    Next::UpToDate => {}
                    Next::Gap { .. } => {
                        tracing::warn!("{newest} is gone, and perhaps more");
                        tail.restart(self.newest().await?);
                    }
                }
            }
        };
        // ANCHOR_END: read
        let shared = match self.redis.shared() {
            Ok(shared) => shared,
            Err(failure) => return failure,
        };
        let lost = |why: &str| Failure::Unavailable(why.into());
        // ANCHOR: race
        tokio::select! {
            Err(failure) = read() => failure,
            () = shared.failed.cancelled() => lost("a request failed"),
            () = self.redis.primary(), if shared.is_replica => {
                lost("its address leads to a primary by now")
            }
        }
        // ANCHOR_END: race
    }

    pub async fn append(
        &self,
        event: Event,
        key: Option<String>,
    ) -> Result<Id, Failure> {
        let Event { event_type, data } = event;
        let keep = self.retention.keep;
        let Some(key) = key else {
            // ANCHOR: xadd
            let mut append = cmd("XADD");
            append.arg(STREAM).arg("MAXLEN").arg("~").arg(keep).arg("*");
            append.arg("type").arg(event_type).arg("data").arg(data);
            // ANCHOR_END: xadd
            return self.redis.ask(&append).await.and_then(id);
        };
        let mut append = self.append.key(STREAM);
        append.key(KEYS).key(KEY_ORDER);
        append.arg(key).arg(keep).arg(event_type).arg(data);
        let appended: Option<String> = self.redis.shared()?.run(&append).await?;
        appended.ok_or(Failure::KeyTaken).and_then(id)
    }

    pub async fn get(&self, id: Id) -> Result<Option<Event>, Failure> {
        let _turn = self.turns.acquire().await;
        let entries = self.range(&id.to_string(), &id.to_string(), 1).await?;
        Ok(entries.into_iter().next().and_then(|(_, fields)| event(fields)))
    }

    /// Some of the events after this one, for a reader, who waits for a turn.
    pub async fn after(&self, last: Id) -> Result<Next<Encoded>, Failure> {
        let _turn = self.turns.acquire().await;
        self.page(last).await
    }

    /// One script reads the event itself and what follows it, so both are there at one
    /// time. Asked one after the other, what lies between might have been trimmed away.
    async fn page(&self, last: Id) -> Result<Next<Encoded>, Failure> {
        let mut read = self.read.key(STREAM);
        read.arg(last.to_string()).arg(PAGE).arg(MAX_CHUNK);
        let mut entries: Vec<Entry> = self.redis.shared()?.run(&read).await?;
        if entries.is_empty() {
            if self.newest().await? == last {
                return Ok(Next::UpToDate);
            }
            entries = self.redis.shared()?.run(&read).await?; // it came in between
        }
        let mut events = Vec::with_capacity(entries.len());
        for (entry, fields) in entries {
            let id = id(entry)?;
            // An entry that is not an event of ours (another program added it) is sent without
            // its data, so that readers move past it.
            let event = event(fields).unwrap_or_else(Event::foreign);
            events.push((id, event.encode(id)));
        }
        // ANCHOR: look
        match events.first() {
            // ANCHOR: is_there
            Some((first, _)) if *first == last => {
                events.remove(0);
                Ok(events.into())
            }
            // ANCHOR_END: is_there
            Some((first, _)) if *first == last.next() => Ok(events.into()),
            // Nothing lies between the start and the first, if nothing was ever trimmed.
            Some(_) if last == Id::default() && self.is_whole().await? => {
                Ok(events.into())
            }
            // ANCHOR: gap
            _ => Ok(Next::Gap { resume_after: self.nearest(last).await? }),
            // ANCHOR_END: gap
        }
        // ANCHOR_END: look
    }

    /// The newest event that is no newer than this ID, or else the start.
    async fn nearest(&self, id: Id) -> Result<Id, Failure> {
        let mut ask = cmd("XREVRANGE");
        ask.arg(STREAM).arg(id.to_string()).arg("-").arg("COUNT").arg(1);
        let entries: Vec<Entry> = self.redis.ask(&ask).await?;
        match entries.into_iter().next() {
            Some((before, _)) => self::id(before),
            None => self.before_all().await,
        }
    }

    /// The ID right before the oldest event that is kept.
    pub async fn start(&self) -> Result<Id, Failure> {
        let _turn = self.turns.acquire().await;
        self.before_all().await
    }

    async fn before_all(&self) -> Result<Id, Failure> {
        // Ask for the newest ID first: if an event comes after that, it is the oldest.
        let newest = self.newest().await?;
        match self.range("-", "+", 1).await?.into_iter().next() {
            Some((oldest, _)) => Ok(id(oldest)?.previous()),
            None => Ok(newest),
        }
    }

    /// The ID of the newest event, also where it is no longer kept.
    async fn newest(&self) -> Result<Id, Failure> {
        match self.redis.shared()?.info().await?.remove("last-generated-id") {
            Some(newest) => {
                id(redis::from_redis_value(newest).map_err(RedisError::from)?)
            }
            None => Ok(Id::default()),
        }
    }

    /// Whether the log still has every event that it ever had.
    async fn is_whole(&self) -> Result<bool, Failure> {
        let info = self.redis.shared()?.info().await?;
        Ok(info.get("entries-added") == info.get("length"))
    }

    async fn range(
        &self,
        from: &str,
        to: &str,
        count: usize,
    ) -> Result<Vec<Entry>, Failure> {
        let mut ask = cmd("XRANGE");
        self.redis
            .ask(ask.arg(STREAM).arg(from).arg(to).arg("COUNT").arg(count))
            .await
    }

    /// Removes, now and then, events that are too old. The newest event stays: a reader that
    /// has that one has missed nothing.
    async fn sweep(self: Arc<Self>, tail: Arc<Tail>) {
        loop {
            sleep(SWEEP).await;
            if self.redis.shared().is_ok()
                && let Err(failure) = self.trim(&tail).await
            {
                tracing::warn!("cannot remove old events: {failure}");
            }
        }
    }

    async fn trim(&self, tail: &Tail) -> Result<(), Failure> {
        // Use the clock of Redis, which also makes the IDs.
        let (seconds, _): (u64, u64) = self.redis.ask(&cmd("TIME")).await?;
        let age = self.retention.age.as_secs();
        let oldest = Id { ms: seconds.saturating_sub(age) * 1_000, n: 0 };
        let oldest = oldest.min(self.newest().await?);
        let mut trim = cmd("XTRIM");
        trim.arg(STREAM).arg("MINID").arg(oldest.to_string());
        self.redis.ask::<()>(&trim).await?;
        tail.forget_before(oldest);
        Ok(())
    }
}

fn id(text: String) -> Result<Id, Failure> {
    text.parse().map_err(|()| Failure::Unavailable(format!("Redis says ID {text}")))
}

/// An entry as an event, if it is one: others can write anything to the stream.
fn event(fields: Vec<(String, Vec<u8>)>) -> Option<Event> {
    let mut fields: HashMap<_, _> = fields.into_iter().collect();
    let mut field = |name| String::from_utf8(fields.remove(name)?).ok();
    let event = Event { event_type: field("type")?, data: field("data")? };
    event.fault().is_none().then_some(event)
}
