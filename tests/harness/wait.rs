//! Waiting with a deadline.

use std::time::Duration;

/// How long anything may take that a test waits for. It decides when a test gives up, and
/// never whether one passes: eight tests that build a book at once take half of it.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// How long a browser may take to start, or the book to build and listen. It is not what a
/// test is about, and on a busy machine it takes its time.
const START: Duration = Duration::from_secs(90);
/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Waits for a result, but not forever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    waited(PATIENCE, what, future).await
}

/// Waits for something to start.
pub(crate) async fn started<T>(what: &str, future: impl Future<Output = T>) -> T {
    waited(START, what, future).await
}

async fn waited<T>(
    time: Duration,
    what: &str,
    future: impl Future<Output = T>,
) -> T {
    let result = tokio::time::timeout(time, future).await;
    result.unwrap_or_else(|_| panic!("waited {time:?} for: {what}"))
}

/// Waits until a condition holds, but not forever.
pub async fn until<F: Future<Output = bool>>(what: &str, holds: impl FnMut() -> F) {
    until_at_most(PATIENCE, what, holds).await;
}

/// Waits until a condition holds, and has more or less time: for what a program's own limit
/// brings about.
pub async fn until_at_most<F: Future<Output = bool>>(
    time: Duration,
    what: &str,
    mut holds: impl FnMut() -> F,
) {
    let mut glances = tokio::time::interval(GLANCE);
    waited(time, what, async {
        while !holds().await {
            glances.tick().await;
        }
    })
    .await;
}

/// Waits this long. Use it only to show that something does *not* happen; to wait for
/// something that does, use [`until`] or [`within`].
pub async fn pause(time: Duration) {
    drop(tokio::time::timeout(time, std::future::pending::<()>()).await);
}
