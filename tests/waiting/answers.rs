//! The answers to the questions of the three pages, where no program shows them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tests::within;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{interval, sleep, timeout};

const MOMENT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_future_that_nobody_awaits_does_nothing() {
    let (sender, receiver) = oneshot::channel();
    let work = async { sender.send(()).unwrap() };
    drop(work);
    assert!(receiver.await.is_err(), "it is dropped, and has sent nothing");
}

#[tokio::test]
async fn an_aborted_task_ends_at_its_await() {
    let (sender, receiver) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        sleep(Duration::MAX).await;
        drop(sender);
    });
    yield_now().await;
    task.abort();
    assert!(within("the end", receiver).await.is_err());
    assert!(task.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_sender_that_waits_gets_its_value_back_when_the_receiver_has_gone() {
    let (sender, mut receiver) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        let mut n = 1;
        loop {
            if let Err(error) = sender.send(n).await {
                return error.0;
            }
            n += 1;
        }
    });
    assert_eq!(receiver.recv().await, Some(1));
    yield_now().await;
    drop(receiver);
    assert!(within("the end", task).await.unwrap() > 1);
}

#[tokio::test]
async fn a_new_receiver_of_a_watch_counts_the_present_value_as_seen() {
    let (sender, _) = watch::channel(0);
    sender.send_replace(100);
    let mut receiver = sender.subscribe();
    assert!(timeout(MOMENT, receiver.changed()).await.is_err());
    receiver.mark_changed();
    within("a change", receiver.changed()).await.unwrap();
    assert_eq!(*receiver.borrow_and_update(), 100);
    drop(sender);
    assert!(within("the end", receiver.changed()).await.is_err());
}

/// A sleep in a branch begins again in each round; one that is lent, and an interval, do not.
#[tokio::test]
async fn a_sleep_in_a_branch_never_ends_while_messages_come() {
    let mut messages = interval(MOMENT);
    let mut beat = interval(MOMENT * 3);
    beat.tick().await;
    let mut lent = Box::pin(sleep(MOMENT * 3));
    let mut beats = 0;
    let mut deadlines = 0;
    while beats == 0 || deadlines == 0 {
        tokio::select! {
            biased;
            _ = messages.tick() => {}
            _ = beat.tick() => beats += 1,
            () = &mut lent, if deadlines == 0 => deadlines += 1,
            () = sleep(MOMENT * 3) => panic!("a message comes before it is over"),
        }
    }
}

struct Guard(Arc<AtomicU32>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_guard_that_is_made_again_in_each_round_is_dropped_in_each_round() {
    let drops = Arc::new(AtomicU32::new(0));
    let again = drops.clone();
    let first = (1, Guard(drops.clone()));
    let events = stream::unfold(first, move |(n, _guard)| {
        let guard = Guard(again.clone());
        async move { Some((n, (n + 1, guard))) }
    });
    let mut events = Box::pin(events);
    assert_eq!(events.next().await, Some(1));
    assert_eq!(drops.load(Ordering::Relaxed), 1, "at the first event already");
    assert_eq!(events.next().await, Some(2));
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_task_goes_on_when_its_handle_is_dropped() {
    let (sender, receiver) = oneshot::channel();
    drop(tokio::spawn(async move {
        yield_now().await;
        sender.send(()).unwrap();
    }));
    within("the end of its work", receiver).await.unwrap();
}
