/// Waits until there has been no reader for a while.
async fn abandoned(_: &Answer) {
    loop {
        sleep(GRACE).await;
    }
}
