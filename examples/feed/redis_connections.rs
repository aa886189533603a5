//! The connections of one server to Redis: one that all requests share, and one that waits.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::RwLock;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError};
use redis::{ScriptInvocation, Value, cmd};
use tokio_util::sync::CancellationToken;

use super::log::Failure;

/// The log: a stream under this key.
pub const STREAM: &str = "{feed}:events";

/// How long Redis may take to answer. Then a write fails.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the connection that waits for events waits at a time.
pub const BLOCK: Duration = Duration::from_secs(5);

pub struct Connections {
    client: Client,
    /// All requests share this connection, one behind the other, because Redis answers each
    /// of them at once. There is none while Redis cannot be reached.
    shared: RwLock<Option<Shared>>,
}

#[derive(Clone)]
pub struct Shared {
    connection: MultiplexedConnection,
    /// Cancelled when an answer shows that the connection is of no use any more.
    pub failed: CancellationToken,
}

impl Connections {
    pub fn new(url: &str) -> Result<Self, String> {
        let client = Client::open(url).map_err(|error| {
            format!("REDIS_URL is no address, as in redis://127.0.0.1:6379: {error}")
        })?;
        Ok(Self { client, shared: RwLock::default() })
    }

    /// The address alone: the URL may have a password in it.
    pub fn addr(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    // ANCHOR: connect
    /// Opens both connections, and returns the one that may wait.
    pub async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        let open = async |response| {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(PATIENCE))
                .set_response_timeout(Some(response));
            self.client.get_multiplexed_async_connection_with_config(&config).await
        };
        let (connection, blocking) =
            tokio::try_join!(open(PATIENCE), open(BLOCK + PATIENCE))?;
        let shared = Shared { connection, failed: CancellationToken::new() };
        // While Redis loads its log from disk, it answers, but with an error.
        shared.clone().info().await?;
        *self.shared.write() = Some(shared);
        Ok(blocking)
    }
    // ANCHOR_END: connect

    /// Gives the shared connection up, until the next `connect`.
    pub fn give_up(&self) {
        *self.shared.write() = None;
    }

    pub fn shared(&self) -> Result<Shared, Failure> {
        let lost = || Failure::Unavailable("Redis cannot be reached".into());
        self.shared.read().clone().ok_or_else(lost)
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
            if error.is_unrecoverable_error() {
                self.failed.cancel();
            }
            error.into()
        })
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some("OOM") => {
                Self::Full("Redis has used all memory that it may use".into())
            }
            // An error about a malformed answer has several lines; a log line is one.
            _ => Self::Unavailable(error.to_string().replace('\n', "; ")),
        }
    }
}
