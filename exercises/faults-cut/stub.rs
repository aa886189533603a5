/// The end of a stream that is not whole.
async fn cut() -> Chunk {
    // The server writes when it has to wait. Without this wait, the chunks before the end
    // would come late.
    yield_now().await;
    Ok(Bytes::new())
}
