//! Chapter 6: what Tokio's channels do with a receiver that is too slow.

use tokio::sync::{broadcast, mpsc, watch};

#[tokio::test]
async fn a_broadcast_receiver_learns_how_much_it_missed() {
    use broadcast::error::RecvError::Lagged;
    // ANCHOR: drop
    let (sender, mut slow) = broadcast::channel(4);
    for n in 1..=10 {
        sender.send(n).unwrap();
    }
    assert_eq!(slow.recv().await, Err(Lagged(6)));
    assert_eq!(slow.recv().await, Ok(7));
    // ANCHOR_END: drop
}

#[tokio::test]
async fn a_full_queue_is_a_reason_to_disconnect() {
    // ANCHOR: disconnect
    let (sender, mut slow) = mpsc::channel(4);
    let sent = (1..=10).take_while(|n| sender.try_send(*n).is_ok()).count();
    assert_eq!(sent, 4);
    drop(sender); // the stream ends after what is in the queue
    while let Some(n) = slow.recv().await {
        assert!(n <= 4);
    }
    // ANCHOR_END: disconnect
}

#[tokio::test]
async fn a_watch_receiver_sees_the_latest_value_alone() {
    // ANCHOR: coalesce
    let (sender, mut slow) = watch::channel(0);
    for n in 1..=10 {
        sender.send(n).unwrap();
    }
    slow.changed().await.unwrap();
    assert_eq!(*slow.borrow_and_update(), 10);
    assert!(!slow.has_changed().unwrap());
    // ANCHOR_END: coalesce
}
