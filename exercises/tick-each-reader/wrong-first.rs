#[handler]
async fn ticks(res: &mut Response) {
    let mut n = 0_u64;
    let events = IntervalStream::new(interval(PERIOD)).map(move |_| {
        let event = SseEvent::default().text(n.to_string());
        n += 1;
        Ok::<_, Infallible>(event)
    });
    sse::stream(res, events);
}
