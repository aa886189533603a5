//! The connections of one server to Redis: one that all requests share, and one that waits.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::RwLock;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError};
use redis::{ScriptInvocation, Value, cmd};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::log::Failure;

/// The log: a stream under this key.
pub const STREAM: &str = "{feed}:events";

/// How long Redis may take to answer. Then a write fails.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the connection that waits for events waits at a time.
pub const BLOCK: Duration = Duration::from_secs(5);
/// How often a server on a replica looks whether the address now leads to a primary.
const LOOK: Duration = Duration::from_secs(2);
/// Refusals after which a new connection may lead to a Redis that does not refuse.
// ANCHOR: elsewhere
const ELSEWHERE: [&str; 5] =
    ["READONLY", "LOADING", "MASTERDOWN", "MOVED", "CLUSTERDOWN"];
// ANCHOR_END: elsewhere

pub struct Connections {
    client: Client,
    /// All requests share this connection, one behind the other, because Redis answers each
    /// of them at once. There is none while Redis cannot be reached, only the reason.
    shared: RwLock<Result<Shared, String>>,
}

#[derive(Clone)]
pub struct Shared {
    connection: MultiplexedConnection,
    /// Cancelled when an answer shows that the connection is of no use any more.
    pub failed: CancellationToken,
    /// Whether this is a Redis that can be read only.
    pub is_replica: bool,
}

impl Connections {
    pub fn new(url: &str) -> Result<Self, String> {
        let client = Client::open(url).map_err(|error| {
            format!("REDIS_URL is no address, as in redis://127.0.0.1:6379: {error}")
        })?;
        Ok(Self { client, shared: RwLock::new(Err("not yet".into())) })
    }

    /// The address alone: the URL may have a password in it.
    pub fn addr(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// Opens both connections, and returns the one that may wait.
    pub async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        // ANCHOR: two
        let (shared, blocking) =
            tokio::try_join!(self.share(), self.open(BLOCK + PATIENCE))?;
        // ANCHOR_END: two
        // While Redis loads its log from disk, it answers, but with an error.
        shared.clone().info().await?;
        if shared.is_replica {
            tracing::warn!(
                "Redis at {} is a replica: events can be read, but none is stored until \
                 the address leads to a primary",
                self.addr()
            );
        }
        *self.shared.write() = Ok(shared);
        Ok(blocking)
    }

    /// Returns when the address of a replica leads to a primary.
    pub async fn primary(&self) {
        loop {
            sleep(LOOK).await;
            if self.share().await.is_ok_and(|shared| !shared.is_replica) {
                return;
            }
        }
    }

    async fn share(&self) -> Result<Shared, Failure> {
        let connection = self.open(PATIENCE).await?;
        let failed = CancellationToken::new();
        let mut shared = Shared { connection, failed, is_replica: false };
        shared.is_replica = shared.clone().says_replica().await?;
        Ok(shared)
    }

    async fn open(
        &self,
        patience: Duration,
    ) -> Result<MultiplexedConnection, Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(patience));
        let opened =
            self.client.get_multiplexed_async_connection_with_config(&config);
        Ok(opened.await?)
    }

    /// Gives the shared connection up, until the next `connect`, and remembers why.
    pub fn give_up(&self, why: &Failure) {
        *self.shared.write() = Err(why.to_string());
    }

    pub fn shared(&self) -> Result<Shared, Failure> {
        self.shared.read().clone().map_err(|why| {
            Failure::Unavailable(format!("Redis cannot be reached: {why}"))
        })
    }

    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        self.shared()?.ask(command).await
    }

    /// Writes to the log how durable an acknowledged event is, which depends on how Redis is
    /// set up.
    pub async fn say_what_lasts(&self, addr: &str) {
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
}

impl Shared {
    pub async fn run<T: FromRedisValue>(
        mut self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Failure> {
        let answer = script.invoke_async(&mut self.connection).await;
        self.seen(answer)
    }

    async fn ask<T: FromRedisValue>(mut self, command: &Cmd) -> Result<T, Failure> {
        let answer = command.query_async(&mut self.connection).await;
        self.seen(answer)
    }

    /// Asks whether this is a replica. Where the question is not allowed, a write finds out.
    async fn says_replica(mut self) -> Result<bool, Failure> {
        let ask = cmd("INFO").arg("replication").take();
        let answer: Result<String, _> = ask.query_async(&mut self.connection).await;
        match answer {
            Err(error) if error.code().is_some() => Ok(false),
            said => Ok(self.seen(said)?.contains("role:slave")),
        }
    }

    /// Asks Redis about the stream. The answer is empty if there is none yet.
    pub async fn info(mut self) -> Result<HashMap<String, Value>, Failure> {
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
            let refusal = error.code().filter(|code| ELSEWHERE.contains(code));
            // `primary` waits for the end of a replica that is known to be one.
            let is_known = refusal == Some("READONLY") && self.is_replica;
            if error.is_unrecoverable_error() || refusal.is_some() && !is_known {
                self.failed.cancel();
            }
            error.into()
        })
    }
}

impl From<RedisError> for Failure {
    /// Each reason has the word of Redis, for those who search, and then what it means.
    fn from(error: RedisError) -> Self {
        let code = error.code().unwrap_or_default();
        let why = match code {
            "OOM" => {
                return Self::Full(
                    "Redis has used all memory that it may use".into(),
                );
            }
            "READONLY" => "this Redis is a replica, where nothing can be written",
            "UNBLOCKED" => "this Redis has become a replica, or a primary",
            "LOADING" => "Redis is reading its data from disk",
            "MASTERDOWN" => "this Redis is a replica that has lost its primary",
            "NOREPLICAS" => "Redis has fewer replicas than it must have to write",
            "MISCONF" => "Redis cannot write to its disk",
            "CLUSTERDOWN" => {
                "this Redis is of a cluster, a part of which is missing"
            }
            "MOVED" | "ASK" => {
                let node =
                    error.redirect_node().map_or("another node", |(node, _)| node);
                return Self::Unavailable(format!(
                    "{code}: this Redis is of a cluster, in which {node} has the log"
                ));
            }
            // An error about a malformed answer has several lines; a log line is one.
            _ => return Self::Unavailable(error.to_string().replace('\n', "; ")),
        };
        Self::Unavailable(format!("{code}: {why}"))
    }
}
