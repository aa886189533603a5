//! Waiting with a deadline.

use std::time::Duration;

/// How long anything may take that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Waits for a result, but not for ever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited {PATIENCE:?} for: {what}"))
}

/// Waits until a condition holds, but not for ever.
pub async fn until<F: Future<Output = bool>>(
    what: &str,
    mut holds: impl FnMut() -> F,
) {
    let mut glances = tokio::time::interval(GLANCE);
    within(what, async {
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
