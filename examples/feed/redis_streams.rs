//! The log in Redis, for any number of servers: one Redis Stream, whose IDs are the IDs
//! of the events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, Script,
};
use redis::{Value, cmd};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::log::{Event, Failure, Found, Id, Tail};
use super::{PAGE, Retention};

// ANCHOR: names
/// By what is in braces, a cluster of Redis would keep all three on one node, so that one
/// script may touch them.
const STREAM: &str = "{feed}:events";
/// IDs by idempotency key, and the same in the order in which they came: ID, key, ID, key.
const KEYS: &str = "{feed}:keys";
const KEY_ORDER: &str = "{feed}:keys-in-order";
// ANCHOR_END: names

/// How long Redis may take to answer. Then a write fails.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the connection that waits for events waits at a time.
const BLOCK: Duration = Duration::from_secs(5);
/// The pause after a failure, and the longest, to which it doubles.
const PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// How often what is too old is looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// Appends an event, unless its idempotency key is known, and returns its ID, or nil if the
/// key is another event's. Nothing else runs in between: of two that come at once with the
/// same key, one finds the other.
const APPEND: &str = r"
    -- ANCHOR: script
    local stream, keys, in_order = unpack(KEYS)
    local key, keep, type, data = unpack(ARGV)
    local function event(id)
        local entry = redis.call('XRANGE', stream, id, id)[1]
        return entry and entry[2]
    end

    local id = redis.call('HGET', keys, key)
    local known = id and event(id)
    if known then
        return known[2] == type and known[4] == data and id
    end

    local new = redis.call(
        'XADD', stream, 'MAXLEN', '~', keep, '*', 'type', type, 'data', data)
    redis.call('HSET', keys, key, new)
    redis.call('RPUSH', in_order, new, key)
    -- A key is forgotten with its event: here, a hundred of the oldest at most.
    for _ = 1, 100 do
        local id, key = unpack(redis.call('LRANGE', in_order, 0, 1))
        if event(id) then break end
        redis.call('LTRIM', in_order, 2, -1)
        if redis.call('HGET', keys, key) == id then redis.call('HDEL', keys, key) end
    end
    return new
    -- ANCHOR_END: script
";

pub struct RedisStreams {
    client: Client,
    /// For all that answers at once: requests share it, one behind the other. There is
    /// none while Redis cannot be reached.
    shared: RwLock<Option<Shared>>,
    append: Script,
    retention: Retention,
}

#[derive(Clone)]
struct Shared {
    connection: MultiplexedConnection,
    /// Cancelled when an answer shows that it is of no use any more.
    failed: CancellationToken,
}

type Entry = (String, Vec<(String, Vec<u8>)>);

impl RedisStreams {
    /// Connects, and keeps the tail up to date from now on.
    pub async fn open(
        url: &str,
        retention: Retention,
    ) -> Result<(Arc<Self>, Arc<Tail>), String> {
        let client = Client::open(url).map_err(|error| {
            format!("REDIS_URL is no address, as in redis://127.0.0.1:6379: {error}")
        })?;
        let store = Arc::new(Self {
            client,
            shared: RwLock::default(),
            append: Script::new(APPEND),
            retention,
        });
        // Not the URL: it may have a password in it.
        let addr = store.client.get_connection_info().addr().to_string();
        let opened = async {
            let blocking = store.connect().await?;
            Ok((
                blocking,
                Arc::new(Tail::new(store.newest().await?, retention.keep)),
            ))
        };
        let (blocking, tail) = opened.await.map_err(|failure: Failure| {
            format!("cannot use Redis at {addr}: {failure}")
        })?;
        store.say_what_lasts(&addr).await;
        tokio::spawn(store.clone().follow(blocking, tail.clone()));
        tokio::spawn(store.clone().sweep(tail.clone()));
        Ok((store, tail))
    }

    // ANCHOR: connect
    /// Opens both connections, and returns the one that may wait.
    async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let open = async |response| {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(PATIENCE))
                .set_response_timeout(Some(response));
            self.client.get_multiplexed_async_connection_with_config(&config).await
        };
        let (connection, blocking) =
            tokio::try_join!(open(PATIENCE), open(BLOCK + PATIENCE))?;
        let shared = Shared { connection, failed: CancellationToken::new() };
        // While Redis loads what it has on disk, it answers, but with an error.
        shared.clone().info().await?;
        *self.shared.write() = Some(shared);
        Ok(blocking)
    }
    // ANCHOR_END: connect

    // ANCHOR: follow
    /// The one connection of this server that waits for events. All readers share it.
    async fn follow(
        self: Arc<Self>,
        mut blocking: MultiplexedConnection,
        tail: Arc<Tail>,
    ) {
        loop {
            let lost = self.read(&mut blocking, &tail).await;
            *self.shared.write() = None;
            tracing::warn!("Redis is lost: {lost}");
            let mut pause = PAUSE;
            blocking = loop {
                sleep(pause).await;
                pause = MAX_PAUSE.min(2 * pause);
                match self.connect().await {
                    Ok(blocking) => break blocking,
                    Err(failure) => tracing::debug!("Redis is lost: {failure}"),
                }
            };
            tracing::info!("Redis is back");
            tail.wake(); // for those who wait for the store
        }
    }

    /// Reads what comes into the tail, until one of the connections fails.
    async fn read(
        &self,
        blocking: &mut MultiplexedConnection,
        tail: &Tail,
    ) -> Failure {
        let mut read = async || -> Result<Infallible, Failure> {
            loop {
                let newest = tail.newest();
                // A bell, no more: what it returns may begin after a gap.
                let mut bell = cmd("XREAD");
                bell.arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK.as_millis() as u64);
                bell.arg("STREAMS").arg(STREAM).arg(newest.to_string());
                bell.exec_async(blocking).await?;
                match self.after(newest).await? {
                    Found::Events(events) if events.is_empty() => {}
                    Found::Events(events) => tail.push(events),
                    Found::Nothing { .. } => {
                        tracing::warn!("{newest} is gone, and perhaps more");
                        tail.restart(self.newest().await?);
                    }
                }
            }
        };
        let failed = match self.shared() {
            Ok(shared) => shared.failed,
            Err(failure) => return failure,
        };
        tokio::select! {
            Err(failure) = read() => failure,
            () = failed.cancelled() => Failure::Unavailable("a request failed".into()),
        }
    }
    // ANCHOR_END: follow

    /// What is acknowledged is as durable as Redis is set to make it.
    async fn say_what_lasts(&self, addr: &str) {
        let ask = cmd("CONFIG").arg("GET").arg("append*").arg("maxmemory*").take();
        let set: HashMap<String, String> = self.ask(&ask).await.unwrap_or_default();
        let get = |name| set.get(name).map_or("unknown", String::as_str);
        match (get("appendonly"), get("appendfsync")) {
            ("yes", fsync) => {
                tracing::info!("Redis at {addr}, appendfsync {fsync}")
            }
            ("no", _) => tracing::warn!(
                "Redis at {addr} has appendonly no: what it has acknowledged is lost \
                 when it is killed"
            ),
            _ => {
                tracing::warn!("Redis at {addr} does not say what survives a crash")
            }
        }
        let policy = get("maxmemory-policy");
        if policy.starts_with("allkeys") {
            tracing::warn!(
                "Redis at {addr} has maxmemory-policy {policy}: when its memory is full, \
                 it may remove the whole log"
            );
        }
    }

    // ANCHOR: append
    pub async fn append(
        &self,
        event: Event,
        key: Option<String>,
    ) -> Result<Id, Failure> {
        let Event { event_type, data } = event;
        let keep = self.retention.keep;
        let Some(key) = key else {
            let mut append = cmd("XADD");
            append.arg(STREAM).arg("MAXLEN").arg("~").arg(keep).arg("*");
            append.arg("type").arg(event_type).arg("data").arg(data);
            return self.ask(&append).await.and_then(id);
        };
        let mut append = self.append.key(STREAM);
        append.key(KEYS).key(KEY_ORDER);
        append.arg(key).arg(keep).arg(event_type).arg(data);
        let mut shared = self.shared()?;
        let appended = append.invoke_async(&mut shared.connection).await;
        let appended: Option<String> = shared.seen(appended)?;
        appended.ok_or(Failure::KeyTaken).and_then(id)
    }
    // ANCHOR_END: append

    pub async fn get(&self, id: Id) -> Result<Option<Event>, Failure> {
        let entries = self.range(&id.to_string(), &id.to_string(), 1).await?;
        Ok(entries.into_iter().next().and_then(|(_, fields)| event(fields)))
    }

    // ANCHOR: after
    /// One command reads the event itself and what follows it: so they are both there at
    /// one time, or what lies between may have been trimmed away.
    pub async fn after(&self, after: Id) -> Result<Found, Failure> {
        let from = after.to_string();
        let mut entries = self.range(&from, "+", PAGE + 1).await?;
        if entries.is_empty() {
            if self.newest().await? == after {
                return Ok(Found::Events(Vec::new()));
            }
            entries = self.range(&from, "+", PAGE + 1).await?; // it came in between
        }
        let mut events = Vec::with_capacity(entries.len());
        for (entry, fields) in entries {
            let id = id(entry)?;
            // What something else has added, and no client can read, is an ID alone.
            let bytes = event(fields).map(|event| event.encode(id));
            events
                .push((id, bytes.unwrap_or_else(|| format!("id: {id}\n\n").into())));
        }
        match events.first() {
            Some((first, _)) if *first == after => {
                events.remove(0);
                Ok(Found::Events(events))
            }
            Some((first, _)) if *first == after.next() => Ok(Found::Events(events)),
            // Nothing lies between the start and the first, if nothing was ever trimmed.
            Some(_) if after == Id::default() && self.is_whole().await? => {
                Ok(Found::Events(events))
            }
            _ => Ok(Found::Nothing { kept_after: self.nearest(after).await? }),
        }
    }
    // ANCHOR_END: after

    /// The newest event that is no newer than this ID, or else the start.
    async fn nearest(&self, id: Id) -> Result<Id, Failure> {
        let mut ask = cmd("XREVRANGE");
        ask.arg(STREAM).arg(id.to_string()).arg("-").arg("COUNT").arg(1);
        let entries: Vec<Entry> = self.ask(&ask).await?;
        match entries.into_iter().next() {
            Some((before, _)) => self::id(before),
            None => self.start().await,
        }
    }

    /// The ID right before the oldest event that is kept.
    pub async fn start(&self) -> Result<Id, Failure> {
        // Asked for before the look: an event that comes in between is the oldest then.
        let newest = self.newest().await?;
        match self.range("-", "+", 1).await?.into_iter().next() {
            Some((oldest, _)) => Ok(id(oldest)?.previous()),
            None => Ok(newest),
        }
    }

    /// The ID of the newest event, also where it is no longer kept.
    async fn newest(&self) -> Result<Id, Failure> {
        match self.shared()?.info().await?.remove("last-generated-id") {
            Some(newest) => {
                id(redis::from_redis_value(newest).map_err(RedisError::from)?)
            }
            None => Ok(Id::default()),
        }
    }

    /// Whether the log still has every event that it ever had.
    async fn is_whole(&self) -> Result<bool, Failure> {
        let info = self.shared()?.info().await?;
        Ok(info.get("entries-added") == info.get("length"))
    }

    async fn range(
        &self,
        from: &str,
        to: &str,
        count: usize,
    ) -> Result<Vec<Entry>, Failure> {
        let mut ask = cmd("XRANGE");
        self.ask(ask.arg(STREAM).arg(from).arg(to).arg("COUNT").arg(count)).await
    }

    // ANCHOR: sweep
    /// Now and then removes what is too old. The newest event stays: who has that one has
    /// missed nothing.
    async fn sweep(self: Arc<Self>, tail: Arc<Tail>) {
        loop {
            sleep(SWEEP).await;
            if self.shared().is_ok()
                && let Err(failure) = self.trim(&tail).await
            {
                tracing::warn!("cannot remove old events: {failure}");
            }
        }
    }

    async fn trim(&self, tail: &Tail) -> Result<(), Failure> {
        // By the clock that has made the IDs.
        let (seconds, _): (u64, u64) = self.ask(&cmd("TIME")).await?;
        let age = self.retention.age.as_secs();
        let oldest = Id { ms: seconds.saturating_sub(age) * 1_000, n: 0 };
        let oldest = oldest.min(self.newest().await?);
        let mut trim = cmd("XTRIM");
        trim.arg(STREAM).arg("MINID").arg(oldest.to_string());
        self.ask::<()>(&trim).await?;
        tail.forget_before(oldest);
        Ok(())
    }
    // ANCHOR_END: sweep

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        self.shared()?.ask(command).await
    }

    fn shared(&self) -> Result<Shared, Failure> {
        let lost = || Failure::Unavailable("Redis cannot be reached".into());
        self.shared.read().clone().ok_or_else(lost)
    }
}

impl Shared {
    async fn ask<T: FromRedisValue>(mut self, command: &Cmd) -> Result<T, Failure> {
        let answer = command.query_async(&mut self.connection).await;
        self.seen(answer)
    }

    /// What is known about the stream: nothing if there is none yet.
    async fn info(mut self) -> Result<HashMap<String, Value>, Failure> {
        let ask = cmd("XINFO").arg("STREAM").arg(STREAM).take();
        match ask.query_async(&mut self.connection).await {
            Err(error) if error.detail() == Some("no such key") => {
                Ok(HashMap::new())
            }
            info => self.seen(info),
        }
    }

    fn seen<T>(&self, answer: Result<T, RedisError>) -> Result<T, Failure> {
        answer.map_err(|error| {
            if error.is_unrecoverable_error() {
                self.failed.cancel();
            }
            error.into()
        })
    }
}

fn id(text: String) -> Result<Id, Failure> {
    text.parse().map_err(|()| Failure::Unavailable(format!("Redis says ID {text}")))
}

/// Anything may be in a stream that others can write to.
fn event(fields: Vec<(String, Vec<u8>)>) -> Option<Event> {
    let mut fields: HashMap<_, _> = fields.into_iter().collect();
    let mut field = |name| String::from_utf8(fields.remove(name)?).ok();
    let event = Event { event_type: field("type")?, data: field("data")? };
    event.fault().is_none().then_some(event)
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some("OOM") => {
                Self::Full("Redis has used all memory that it may use".into())
            }
            // An answer that Redis would never give is told in many lines.
            _ => Self::Unavailable(error.to_string().replace('\n', "; ")),
        }
    }
}
