//! Jobs that run by themselves, and the readers that look on. Nothing here knows HTTP, apart
//! from the format of an event.

use tokio::time::{Duration, sleep};

/// Takes one step after the other. Your own work goes here.
pub async fn work(text: &str) -> Result<(), String> {
    for (n, line) in text.lines().enumerate() {
        let time = line.trim().parse().map_err(|_| {
            format!("line {} is not a number of milliseconds", n + 1)
        })?;
        sleep(Duration::from_millis(time)).await;
    }
    Ok(())
}
