#[handler]
async fn ticks(res: &mut Response) {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let events = IntervalStream::new(interval(PERIOD)).map(|_| {
        let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        Ok::<_, Infallible>(SseEvent::default().text(n.to_string()))
    });
    // nginx holds a response back until a buffer is full, unless it is told not to.
    res.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    sse::stream(res, events);
}
