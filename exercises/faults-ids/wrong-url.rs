/// An EventSource sends the header when it comes back.
fn last_event_id(req: &Request) -> Option<&[u8]> {
    req.headers().get("last-event-id").map(HeaderValue::as_bytes)
}
