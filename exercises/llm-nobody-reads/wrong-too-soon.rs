/// Waits until there has been no reader for a while.
async fn abandoned(answer: &Answer) {
    while answer.is_closed() {
        sleep(Duration::from_millis(10)).await; // until the first reader is there
    }
    answer.closed().await;
}
