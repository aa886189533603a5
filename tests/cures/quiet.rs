//! Streams without events: the heartbeat.

use std::time::Duration;

use tests::{Program, within};

/// A proxy with little patience.
const PATIENCE: Duration = Duration::from_secs(18);

#[tokio::test]
async fn a_heartbeat_keeps_a_silent_stream_from_being_cut() {
    let quiet = Program::start("cure_heartbeat").await;
    let proxy = reqwest::Client::builder().read_timeout(PATIENCE).build().unwrap();
    let mut answer = quiet.send(proxy.get(&quiet.url)).await;
    let comment = within("a comment", answer.chunk()).await.expect("it is not cut");
    assert_eq!(comment.unwrap(), ":\n\n");
}
