/// An EventSource sends the header when it comes back. A page that makes a new one can
/// only write the id into the URL. Two libraries call it `lastEventId`.
fn last_event_id(req: &Request) -> Option<&[u8]> {
    let header = req.headers().get("last-event-id").map(HeaderValue::as_bytes);
    let query = |name| req.queries().get(name).map(|id: &String| id.as_bytes());
    let ids = [query("after"), query("lastEventId"), header];
    ids.into_iter().flatten().find(|id| !id.is_empty())
}
