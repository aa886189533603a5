async fn in_one_step(count: Arc<Mutex<u32>>) {
    let seen = *count.lock();
    yield_now().await;
    *count.lock() = seen + 1;
}
