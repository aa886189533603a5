//! Where the log is kept: in a file of this machine, or in Redis. Both stores answer the
//! same four questions.

use std::sync::Arc;

use super::disk::Disk;
use super::log::{Encoded, Event, Failure, Id, Next};
use super::redis_streams::RedisStreams;

/// Reads of a store at once; the others wait for their turn.
pub const MAX_READS: usize = 16;

// ANCHOR: store
pub enum Store {
    Disk(Disk),
    Redis(Arc<RedisStreams>),
}
// ANCHOR_END: store

impl Store {
    /// Returns when the event is durable: on disk, or as durable as Redis makes it.
    pub async fn append(
        &self,
        event: Event,
        key: Option<String>,
    ) -> Result<Id, Failure> {
        match self {
            Self::Disk(disk) => disk.append(event, key).await,
            Self::Redis(redis) => redis.append(event, key).await,
        }
    }

    /// Some of the events after this one, from the first on.
    pub async fn after(&self, id: Id) -> Result<Next<Encoded>, Failure> {
        match self {
            Self::Disk(disk) => disk.after(id).await,
            Self::Redis(redis) => redis.after(id).await,
        }
    }

    /// The ID right before the oldest event that is kept.
    pub async fn start(&self) -> Result<Id, Failure> {
        match self {
            Self::Disk(disk) => disk.start().await,
            Self::Redis(redis) => redis.start().await,
        }
    }

    pub async fn get(&self, id: Id) -> Result<Option<Event>, Failure> {
        match self {
            Self::Disk(disk) => disk.get(id).await,
            Self::Redis(redis) => redis.get(id).await,
        }
    }
}
